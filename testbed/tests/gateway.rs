//! The gateway as its clients see it, through requests signed by hand.

// Clippy takes only functions marked as tests for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};
use sessionkill::oceanbase::signature::{enc, v1, v3};
use testbed::gateway::{
    AccessKey, Backend, Fault, FaultKind, Gateway, GatewayOptions, Quota, Session, backend::memory,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SERVER: &str = "192.168.13.119";
const ID: i64 = 3_221_614_618;
const OTHER_ID: i64 = 3_221_614_619;

/// A request before it is signed. The default is a good one.
#[derive(Clone)]
struct Request {
    style: Style,
    action: &'static str,
    version: &'static str,
    params: Vec<(String, String)>,
    key: (&'static str, &'static str),
    token: Option<&'static str>,
    nonce: String,
    time_stamp: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Style {
    V3,
    V1QueryAndForm,
    V1Form,
    V1Query,
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn code(&self) -> String {
        self.json()["Code"].as_str().unwrap_or("OK").to_owned()
    }

    fn data(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()["Data"].clone()
    }
}

impl Request {
    fn new(action: &'static str, params: &[(&str, &str)]) -> Self {
        let common = [("InstanceId", "ob317v4uif0001"), ("TenantId", "t4louaeei0001")];
        Self {
            style: Style::V3,
            action,
            version: "2019-09-01",
            params: common.iter().chain(params).map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            key: ("testbed", "testbed-secret"),
            token: None,
            nonce: uuid::Uuid::new_v4().simple().to_string(),
            time_stamp: at(SignedDuration::ZERO),
        }
    }

    fn kill(ids: &[i64]) -> Self {
        Self::new("KillProcessList", &[("SessionList", &session_list(ids))])
    }

    fn describe() -> Self {
        Self::new("DescribeProcessStatsComposition", &[])
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn set(self, name: &str, value: &str) -> Self {
        self.with(|it| {
            it.params.retain(|(present, _)| present != name);
            it.params.push((name.into(), value.into()));
        })
    }

    async fn send(&self, gateway: &Gateway) -> Answer {
        self.try_send(gateway).await.unwrap()
    }

    async fn code(&self, gateway: &Gateway) -> String {
        self.send(gateway).await.code()
    }

    async fn try_send(&self, gateway: &Gateway) -> reqwest::Result<Answer> {
        let request = match self.style {
            Style::V3 => self.signed_v3(gateway),
            _ => self.signed_v1(gateway),
        };
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { status, headers, text: response.text().await? })
    }

    fn signed_v3(&self, gateway: &Gateway) -> reqwest::RequestBuilder {
        let headers = self.headers_v3(gateway, &encoded(&self.params));
        let request = client().post(gateway.url()).body(encoded(&self.params));
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    fn headers_v3(&self, gateway: &Gateway, body: &str) -> Vec<(&'static str, String)> {
        let payload_hash = v3::payload_hash(body.as_bytes());
        let mut headers = vec![
            ("host", gateway.address().to_string()),
            ("content-type", "application/x-www-form-urlencoded".into()),
            ("x-acs-action", self.action.into()),
            ("x-acs-version", self.version.into()),
            ("x-acs-date", self.time_stamp.clone()),
            ("x-acs-signature-nonce", self.nonce.clone()),
            ("x-acs-content-sha256", payload_hash.clone()),
        ];
        headers.extend(self.token.map(|token| ("x-acs-security-token", token.to_owned())));
        headers.retain(|(_, value)| !value.is_empty());
        let signed: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request =
            v3::Request { method: "POST", path: "/", query: &[], headers: &signed, payload_hash: &payload_hash };
        let authorization = request.authorization(self.key.0, &SecretString::from(self.key.1));
        headers.push(("authorization", authorization));
        headers
    }

    fn signed_v1(&self, gateway: &Gateway) -> reqwest::RequestBuilder {
        let common = [
            ("AccessKeyId", self.key.0),
            ("Action", self.action),
            ("Version", self.version),
            ("Timestamp", &self.time_stamp),
            ("SignatureNonce", &self.nonce),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("SignatureType", ""),
            ("RegionId", "cn-hangzhou"),
            ("SecurityToken", self.token.unwrap_or_default()),
        ];
        let sent = |(name, value): &(&str, &str)| *name == "SignatureType" || !value.is_empty();
        let common = common.into_iter().filter(sent).map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut common: Vec<_> = common.collect();
        let method = if self.style == Style::V1Query { "GET" } else { "POST" };
        let all = common.iter().chain(&self.params).map(|(name, value)| (name.as_str(), value.as_str()));
        let signature = v1::signature(method, all, &SecretString::from(self.key.1));
        common.push(("Signature".into(), signature));
        let both = encoded(&[common.clone(), self.params.clone()].concat());
        match self.style {
            Style::V1Query => client().get(format!("{}/?{both}", gateway.url())),
            Style::V1Form => client().post(gateway.url()).body(both),
            _ => client().post(format!("{}/?{}", gateway.url(), encoded(&common))).body(encoded(&self.params)),
        }
    }
}

fn at(offset: SignedDuration) -> String {
    (Timestamp::now() + offset).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn encoded(pairs: &[(String, String)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", enc(name), enc(value))).collect();
    pairs.join("&")
}

fn session_list(ids: &[i64]) -> String {
    let rows: Vec<_> = ids.iter().map(|id| json!({"ServerIp": SERVER, "SessionId": id.to_string()})).collect();
    Value::from(rows).to_string()
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().retry(reqwest::retry::never()).build().unwrap()
}

async fn gateway() -> Gateway {
    let temporary = AccessKey { id: "STS.temporary".into(), secret: "sts-secret".into(), token: Some("t+/=".into()) };
    let mut options = GatewayOptions::default();
    options.access_keys.push(temporary);
    Gateway::start(options).await.unwrap()
}

fn killed(ids: &[i64]) -> BTreeMap<(String, i64), u32> {
    ids.iter().map(|id| ((SERVER.to_owned(), *id), 1)).collect()
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_kill_ends_the_session_and_describes_it_as_it_was() {
    let gateway = gateway().await;
    let answer = Request::kill(&[ID, 77]).send(&gateway).await;

    let request_id = answer.json()["RequestId"].as_str().unwrap().to_owned();
    assert_eq!(request_id, request_id.to_uppercase());
    assert!(answer.headers.contains_key("date"));
    let expected = json!([
        {
            "SessionId": ID, "ServerIp": SERVER, "Status": "ACTIVE", "ErrorMessage": "", "ClientIp": "10.2.3.4",
            "TenantId": "t4louaeei0001", "User": "report_ro", "Database": "reports", "Command": "Query",
            "SqlText": "SELECT region, SUM(amount) FROM orders GROUP BY region", "ExecuteTime": "742",
        },
        {"SessionId": 77, "ServerIp": SERVER, "ErrorMessage": "Unknown thread id: 77"},
    ]);
    assert_eq!(answer.data(), expected);
    assert!(gateway.sessions().await.unwrap().iter().all(|session| session.session_id != ID));
    assert_eq!(gateway.kills_per_session(), killed(&[ID]));

    let call = &gateway.calls()[0];
    assert_eq!((call.result.as_deref(), call.http_status, &call.request_id), (Some("OK"), Some(200), &request_id));
    assert_eq!(
        call.sessions.iter().map(|it| (it.session_id, it.executed)).collect::<Vec<_>>(),
        [(ID, true), (77, false)]
    );
}

#[tokio::test]
async fn every_placement_of_the_parameters_is_accepted() {
    let gateway = gateway().await;
    for (style, placement) in
        [(Style::V3, "form"), (Style::V1QueryAndForm, "query+form"), (Style::V1Form, "form"), (Style::V1Query, "query")]
    {
        for (key, token) in [(("testbed", "testbed-secret"), None), (("STS.temporary", "sts-secret"), Some("t+/="))] {
            let request = Request::describe().set("Users", r#"["report_ro","用户 *~+"]"#);
            let request = request.with(|it| (it.style, it.key, it.token) = (style, key, token));
            assert_eq!(request.send(&gateway).await.data()["TotalSessionCount"], 2, "{style:?}");
            let call = serde_json::to_value(gateway.calls().last().unwrap()).unwrap();
            assert_eq!((&call["placement"], &call["accessKeyId"]), (&json!(placement), &json!(key.0)));
        }
    }
}

#[tokio::test]
async fn a_chunked_body_is_read_like_any_other() {
    let gateway = gateway().await;
    let request = Request::kill(&[ID]);
    let body = encoded(&request.params);
    let headers = request.headers_v3(&gateway, &body).into_iter();
    let headers: String = headers.flat_map(|(name, value)| [name.into(), ": ".into(), value, "\r\n".into()]).collect();
    let (first, second) = body.split_at(20);
    let chunks: String = [first, second, ""].map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).concat();

    let mut connection = TcpStream::connect(gateway.address()).await.unwrap();
    let text = format!("POST / HTTP/1.1\r\n{headers}transfer-encoding: chunked\r\nconnection: close\r\n\r\n{chunks}");
    connection.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(gateway.kills_per_session(), killed(&[ID]));
}

#[tokio::test]
async fn each_refusal_has_its_code_and_kills_nothing() {
    let gateway = gateway().await;
    let kill = || Request::kill(&[ID]);
    let temporary = || kill().with(|it| it.key = ("STS.temporary", "sts-secret"));
    let cases = [
        (404, "InvalidAccessKeyId.NotFound", kill().with(|it| it.key.0 = "nobody")),
        (400, "SignatureDoesNotMatch", kill().with(|it| it.key.1 = "wrong")),
        (400, "MissingSecurityToken", temporary()),
        (400, "InvalidSecurityToken.MismatchWithAccessKey", temporary().with(|it| it.token = Some("other"))),
        (400, "InvalidSecurityToken.MismatchWithAccessKey", kill().with(|it| it.token = Some("t+/="))),
        (400, "InvalidTimeStamp.Expired", kill().with(|it| it.time_stamp = at(minutes(-16)))),
        (400, "InvalidTimeStamp.Expired", kill().with(|it| it.time_stamp = at(minutes(16)))),
        (400, "InvalidTimeStamp.Format", kill().with(|it| it.time_stamp = "2026-11-24 02:00:24".into())),
        (400, "MissingTimestamp", kill().with(|it| it.time_stamp.clear())),
        (400, "MissingSignatureNonce", kill().with(|it| it.nonce.clear())),
        (400, "MissingAction", kill().with(|it| it.action = "")),
        (404, "InvalidAction.NotFound", kill().with(|it| it.action = "DropEverything")),
        (400, "MissingVersion", kill().with(|it| it.version = "")),
        (404, "NoSuchVersion", kill().with(|it| it.version = "2014-05-26")),
        (400, "MissingInstanceId", kill().set("InstanceId", "")),
        (400, "MissingTenantId", kill().set("TenantId", "")),
        (400, "MissingSessionList", kill().set("SessionList", "")),
        (400, "InvalidSessionList", kill().set("SessionList", "[]")),
        (400, "InvalidSessionList", kill().set("SessionList", "3221614618")),
        (400, "InvalidSessionList", kill().set("SessionList", r#"[{"ServerIp":"a","SessionId":"x"}]"#)),
        (400, "InvalidSessionList", kill().set("SessionList", r#"[{"SessionId":1}]"#)),
        (400, "InvalidByObSessionId", kill().set("ByObSessionId", "1").with(|it| it.action = "BatchKillProcessList")),
        (400, "InvalidUsers", Request::describe().set("Users", "root")),
        (404, "IllegalOperation.Resource", kill().set("InstanceId", "ob0")),
        (404, "IllegalOperation.Resource", kill().set("TenantId", "t0")),
    ];
    for (status, code, request) in cases {
        for style in [Style::V3, Style::V1QueryAndForm] {
            let request = request.clone().with(|it| it.style = style);
            let request =
                request.with(|it| it.nonce += if style == Style::V3 || it.nonce.is_empty() { "" } else { "x" });
            let answer = request.send(&gateway).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{style:?}: {}", answer.text);
            let body = answer.json();
            for field in ["RequestId", "HostId", "Message", "Recommend"] {
                assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {body}");
            }
            assert_eq!(gateway.calls().last().unwrap().result.as_deref(), Some(code));
        }
    }
    assert!(gateway.kills_per_session().is_empty());
}

#[tokio::test]
async fn a_wrong_signature_is_answered_with_the_string_to_sign() {
    let gateway = gateway().await;
    let wrong = Request::kill(&[ID]).with(|it| it.key.1 = "wrong");
    let message = |answer: &Answer| answer.json()["Message"].as_str().unwrap().to_owned();

    let v1 = wrong.clone().with(|it| it.style = Style::V1Form).send(&gateway).await;
    let (_, echoed) = message(&v1).split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(echoed.starts_with("POST&%2F&AccessKeyId%3Dtestbed%26Action%3DKillProcessList"), "{echoed}");
    let v3 = message(&wrong.send(&gateway).await);
    assert!(v3.contains("server StringToSign is [ACS3-HMAC-SHA256\n"), "{v3}");
    assert!(v3.contains("server CanonicalRequest is [POST\n/\n"), "{v3}");
}

#[tokio::test]
async fn a_header_changed_or_added_after_signing_is_refused() {
    let gateway = gateway().await;
    let request = || Request::describe().signed_v3(&gateway);
    for (request, code) in [
        (request().header("x-acs-security-token", "t"), "IncompleteSignature"),
        (request().body("InstanceId=other"), "IncompleteSignature"),
        (request().header("x-acs-action", "KillProcessList"), "SignatureDoesNotMatch"),
    ] {
        let text = request.send().await.unwrap().text().await.unwrap();
        assert!(text.contains(&format!(r#""Code":"{code}""#)), "{text}");
    }
}

#[tokio::test]
async fn what_is_checked_first_is_reported_first() {
    let gateway = gateway().await;
    let mut wrong = Request::new("Nonsense", &[]).set("InstanceId", "ob0");
    wrong.key.1 = "wrong";
    wrong.time_stamp = at(minutes(-20));
    assert_eq!(wrong.code(&gateway).await, "SignatureDoesNotMatch");
    wrong.key.1 = "testbed-secret";
    assert_eq!(wrong.code(&gateway).await, "InvalidTimeStamp.Expired");
    wrong.time_stamp = at(minutes(0));
    assert_eq!(wrong.code(&gateway).await, "InvalidAction.NotFound");
    assert_eq!(wrong.code(&gateway).await, "SignatureNonceUsed");
}

#[tokio::test]
async fn a_nonce_is_remembered_as_long_as_its_time_stamp_is_accepted() {
    let gateway = gateway().await;
    let request = Request::kill(&[ID]).with(|it| it.time_stamp = at(minutes(14)));
    assert_eq!(request.code(&gateway).await, "OK");
    gateway.inject(Fault::new(FaultKind::ClockSkew).skewed(minutes(20)));
    assert_eq!(request.code(&gateway).await, "SignatureNonceUsed");
    gateway.clear_faults();
    gateway.inject(Fault::new(FaultKind::ClockSkew).skewed(minutes(30)));
    assert_eq!(request.code(&gateway).await, "InvalidTimeStamp.Expired");
    assert_eq!(gateway.kills_per_session(), killed(&[ID]));
}

#[tokio::test]
async fn rotated_keys_and_expired_tokens_are_refused() {
    let gateway = gateway().await;
    let temporary =
        || Request::describe().with(|it| (it.key, it.token) = (("STS.temporary", "sts-secret"), Some("t+/=")));
    assert_eq!(temporary().code(&gateway).await, "OK");
    gateway.inject(Fault::new(FaultKind::ExpireTokens));
    assert_eq!(temporary().code(&gateway).await, "InvalidSecurityToken.Expired");
    gateway.set_access_keys(vec![]);
    assert_eq!(temporary().code(&gateway).await, "InvalidAccessKeyId.NotFound");
}

#[tokio::test]
async fn protected_sessions_survive_and_lingering_ones_stay_visible() {
    let gateway = gateway().await;
    let session = |session_id| Session { server_ip: SERVER.into(), session_id, ..Session::default() };
    let lingering = Session { lingering: true, ..session(1) };
    gateway.set_sessions(vec![lingering, Session { protected: true, ..session(2) }]).unwrap();

    let rows = Request::kill(&[1, 2]).send(&gateway).await.data();
    assert_eq!(rows[0]["ErrorMessage"], "");
    assert_eq!(rows[1]["ErrorMessage"], "You are not owner of thread 2");
    assert_eq!(Request::describe().send(&gateway).await.data()["TotalSessionCount"], 2);
    assert_eq!(gateway.kills_per_session(), killed(&[1]));
    Request::kill(&[1]).send(&gateway).await;
    assert_eq!(gateway.kills_per_session()[&(SERVER.to_owned(), 1)], 2);
}

#[tokio::test]
async fn a_batch_kill_takes_all_sessions_of_the_proxy_unless_told_otherwise() {
    let batch = |flag: &str| {
        let list = json!([{"ServerIp": SERVER, "SessionId": ID, "ProxySessionId": "12402504630519660553"},
                          {"ServerIp": SERVER, "SessionId": 77}]);
        Request::new("BatchKillProcessList", &[("SessionList", &list.to_string()), ("ByObSessionId", flag)])
    };
    for (flag, expected) in
        [("True", vec![ID]), ("true", vec![ID]), ("False", vec![ID, OTHER_ID]), ("", vec![ID, OTHER_ID])]
    {
        let gateway = gateway().await;
        assert_eq!(batch(flag).send(&gateway).await.data(), json!([{"Success": true}, {"Success": false}]), "{flag}");
        assert_eq!(gateway.kills_per_session(), killed(&expected), "{flag}");
    }
}

#[tokio::test]
async fn the_process_list_is_filtered_and_counted() {
    let gateway = gateway().await;
    let total = async |name: &str, value: &str| {
        Request::describe().set(name, value).send(&gateway).await.data()["TotalSessionCount"].as_u64().unwrap()
    };
    assert_eq!(total("ServerIp", "192.168.13.120:2881").await, 1);
    assert_eq!(total("ServerIp", SERVER).await, 3);
    assert_eq!(total("ClientIp", "10.9.9.9").await, 0);
    assert_eq!(total("SqlText", "sum(AMOUNT)").await, 1);
    assert_eq!(total("Status", "SLEEP").await, 2);
    assert_eq!(total("Users", r#"["app","nobody"]"#).await, 2);
    assert_eq!(total("TenantId", "").await, 4);

    let data = Request::describe().send(&gateway).await.data();
    assert_eq!((&data["ActiveSessionCount"], &data["IdleSessionCount"]), (&json!(2), &json!(2)));
    let users = json!([{"MetricValue": "app", "ActiveCount": 0, "TotalCount": 2, "Type": "user"},
                       {"MetricValue": "report_ro", "ActiveCount": 2, "TotalCount": 2, "Type": "user"}]);
    assert_eq!(data["SessionStatistics"]["UserStatistics"], users);
    let row = &data["AllProcessList"][0];
    assert_eq!((&row["ExecuteTime"], &row["ProxySessId"]), (&json!(742), &json!("12402504630519660553")));
}

#[tokio::test]
async fn faults_before_executing_answer_as_ordered_and_kill_nothing() {
    let pause = Duration::from_millis(1500);
    let cases = [
        (Fault::new(FaultKind::Throttle).retry_after(pause), 400, "Throttling.User"),
        (Fault::new(FaultKind::Throttle).answering(429, "Throttling.Api"), 429, "Throttling.Api"),
        (Fault::new(FaultKind::Status5xx), 503, "ServiceUnavailable"),
        (Fault::new(FaultKind::Status5xx).answering(500, "InternalError"), 500, "InternalError"),
        (Fault::new(FaultKind::RemoveAction), 404, "InvalidAction.NotFound"),
        (Fault::new(FaultKind::Error), 403, "Forbidden.RAM"),
        (Fault::new(FaultKind::ErrorBody200), 200, "InternalError"),
    ];
    for (fault, status, code) in cases {
        let gateway = gateway().await;
        gateway.inject(fault.clone().on("KillProcessList").times(1));
        assert_eq!(Request::describe().code(&gateway).await, "OK", "a fault for another action");
        let answer = Request::kill(&[ID]).send(&gateway).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(answer.headers.contains_key("x-acs-retry-after"), fault.retry_after_ms.is_some());
        assert!(gateway.kills_per_session().is_empty(), "{fault:?}");
        assert_eq!(gateway.calls()[1].fault, Some(fault.name()));
        assert_eq!(Request::kill(&[ID]).code(&gateway).await, "OK", "the fault was for one call");
    }
}

#[tokio::test]
async fn faults_after_executing_hide_a_kill_that_took_place() {
    let cases = [
        FaultKind::Status5xx,
        FaultKind::ErrorBody200,
        FaultKind::Html,
        FaultKind::Malformed,
        FaultKind::Drop,
        FaultKind::Truncated,
    ];
    for kind in cases {
        let gateway = gateway().await;
        gateway.inject(Fault::new(kind).after());
        let readable = match Request::kill(&[ID]).try_send(&gateway).await {
            Ok(answer) => serde_json::from_str(&answer.text).is_ok_and(|body: Value| body.get("Data").is_some()),
            Err(error) => {
                assert!(!error.is_connect(), "{error}");
                false
            }
        };
        assert!(!readable, "{kind:?}");
        assert_eq!(gateway.kills_per_session(), killed(&[ID]), "{kind:?}");
    }
}

#[tokio::test]
async fn a_dropped_call_has_no_answer_and_may_be_sent_again_if_it_never_arrived() {
    let gateway = gateway().await;
    gateway.inject(Fault::new(FaultKind::Drop).times(1));
    let request = Request::kill(&[ID]);
    assert!(request.try_send(&gateway).await.is_err());
    assert!(gateway.kills_per_session().is_empty());
    assert_eq!(gateway.calls()[0].http_status, None);
    assert_eq!(request.code(&gateway).await, "OK");
}

#[tokio::test]
async fn a_partial_answer_leaves_out_rows_of_executed_kills() {
    let gateway = gateway().await;
    gateway.inject(Fault::new(FaultKind::Partial));
    let rows = Request::kill(&[ID, OTHER_ID]).send(&gateway).await.data();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(gateway.kills_per_session(), killed(&[ID, OTHER_ID]));
}

#[tokio::test]
async fn a_client_that_gives_up_does_not_stop_its_kill() {
    let gateway = gateway().await;
    gateway.inject(Fault::new(FaultKind::Delay).delayed(Duration::from_millis(300)));
    let request = tokio::spawn(Request::kill(&[ID]).signed_v3(&gateway).send());
    eventually("the call arrives", async || !gateway.calls().is_empty()).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    eventually("the kill is executed", async || gateway.kills_per_session() == killed(&[ID])).await;
}

#[tokio::test]
async fn a_delay_that_is_ended_is_over_at_once_and_only_for_that_session() {
    let gateway = gateway().await;
    let delay = |id| Fault::new(FaultKind::Delay).naming(id).after().delayed(Duration::from_hours(1));
    gateway.inject(delay(ID));
    gateway.inject(delay(OTHER_ID));
    let asked = [ID, OTHER_ID].map(|id| tokio::spawn(Request::kill(&[id]).signed_v3(&gateway).send()));
    eventually("both kills", async || gateway.kills_per_session() == killed(&[ID, OTHER_ID])).await;
    assert!(asked.iter().all(|call| !call.is_finished()));
    let [answered, other] = asked;
    gateway.end_delay(ID);
    assert_eq!(answered.await.unwrap().unwrap().status(), 200);
    assert!(!other.is_finished());
    other.abort();
}

#[tokio::test]
async fn a_skewed_date_is_only_a_header_and_a_skewed_clock_refuses() {
    let gateway = gateway().await;
    let date = |answer: &Answer| {
        let text = answer.headers["date"].to_str().unwrap();
        jiff::fmt::rfc2822::parse(text).unwrap().timestamp().duration_since(Timestamp::now())
    };
    gateway.inject(Fault::new(FaultKind::DateSkew).skewed(minutes(-60)));
    let answer = Request::describe().send(&gateway).await;
    assert_eq!(answer.code(), "OK");
    assert!(date(&answer) < minutes(-59));

    gateway.clear_faults();
    gateway.inject(Fault::new(FaultKind::ClockSkew).skewed(minutes(60)));
    let answer = Request::describe().send(&gateway).await;
    assert_eq!(answer.code(), "InvalidTimeStamp.Expired");
    assert!(date(&answer) > minutes(59));
}

#[tokio::test]
async fn the_orders_over_http_do_what_the_handle_does() {
    let gateway = gateway().await;
    let url = |path: &str| format!("{}/_testbed/{path}", gateway.url());
    let get = async |path: &str| -> Value {
        let text = client().get(url(path)).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let post = async |path: &str, body: Value| {
        client().post(url(path)).body(body.to_string()).send().await.unwrap().status().as_u16()
    };
    let delete = async |path: &str| client().delete(url(path)).send().await.unwrap().status().as_u16();

    assert_eq!(post("sessions", json!([{"serverIp": SERVER, "sessionId": 5, "user": "u"}])).await, 204);
    assert_eq!(get("sessions").await[0]["sessionId"], 5);
    let fault = json!({"kind": "throttle", "action": "KillProcessList", "count": 1, "retryAfterMs": 10});
    assert_eq!(post("faults", fault).await, 204);
    assert_eq!(post("faults", json!({"kind": "nonsense"})).await, 400);
    assert_eq!(Request::kill(&[5]).code(&gateway).await, "Throttling.User");
    assert_eq!(Request::kill(&[5]).code(&gateway).await, "OK");
    assert_eq!(post("faults", json!({"kind": "status5xx"})).await, 204);
    assert_eq!(get("faults").await, json!([{"kind": "status5xx"}]));
    assert_eq!(delete("faults").await, 204);
    assert_eq!(get("faults").await, json!([]));

    let calls = get("calls").await;
    assert_eq!(calls[1]["sequence"], 2);
    assert_eq!(calls[0]["fault"], "throttle");
    assert_eq!(calls[1]["sessions"], json!([{"serverIp": SERVER, "sessionId": 5, "executed": true}]));
    assert_eq!(delete("calls").await, 204);
    assert_eq!(get("calls").await, json!([]));
}

#[tokio::test]
async fn tenants_see_and_kill_only_their_own_sessions() {
    let session = |session_id, tenant_id: &str| Session {
        server_ip: SERVER.into(),
        session_id,
        tenant_id: tenant_id.into(),
        ..Session::default()
    };
    let options = GatewayOptions {
        backend: Backend::Memory(vec![session(1, ""), session(2, "t-other"), session(3, "t-other")]),
        more_tenants: vec!["t-other".into()],
        ..GatewayOptions::default()
    };
    let gateway = Gateway::start(options).await.unwrap();
    let listed = async |tenant: &str| {
        let data = Request::describe().set("TenantId", tenant).send(&gateway).await.data();
        let rows = data["AllProcessList"].as_array().unwrap().iter();
        rows.map(|row| (row["SessionId"].as_i64().unwrap(), row["TenantId"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(listed("t4louaeei0001").await, [(1, json!("t4louaeei0001"))]);
    assert_eq!(listed("t-other").await, [(2, json!("t-other")), (3, json!("t-other"))]);
    assert_eq!(listed("").await.len(), 3);

    let rows = Request::kill(&[1, 2]).send(&gateway).await.data();
    assert_eq!((&rows[0]["ErrorMessage"], &rows[1]["ErrorMessage"]), (&json!(""), &json!("Unknown thread id: 2")));
    assert_eq!(gateway.kills_per_session(), killed(&[1]), "session 2 is another tenant's");
    let rows = Request::kill(&[2]).set("TenantId", "t-other").send(&gateway).await.data();
    assert_eq!(rows[0]["TenantId"], "t-other");
    assert_eq!(gateway.kills_per_session(), killed(&[1, 2]));
    assert_eq!(Request::kill(&[3]).set("TenantId", "t-none").code(&gateway).await, "IllegalOperation.Resource");
}

#[tokio::test]
async fn calls_beyond_the_quota_are_throttled_whatever_their_action_and_kill_nothing() {
    for (retry_after, pause) in [(false, None), (true, Some("1001"))] {
        let quota = Some(Quota { calls_per_second: 0, retry_after });
        let gateway = Gateway::start(GatewayOptions { quota, ..GatewayOptions::default() }).await.unwrap();
        for request in [Request::kill(&[ID]), Request::describe(), Request::new("Nonsense", &[])] {
            let answer = request.send(&gateway).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "Throttling.User"), "{}", request.action);
            let told = answer.headers.get("x-acs-retry-after").map(|value| value.to_str().unwrap());
            assert_eq!(told, pause, "{}", request.action);
        }
        let unsigned = Request::describe().with(|it| it.key.1 = "wrong");
        assert_eq!(unsigned.code(&gateway).await, "SignatureDoesNotMatch", "not the account's call");
        assert!(gateway.kills_per_session().is_empty());
    }
    let quota = Some(Quota { calls_per_second: 1, retry_after: false });
    let gateway = Gateway::start(GatewayOptions { quota, ..GatewayOptions::default() }).await.unwrap();
    for id in [ID, OTHER_ID] {
        eventually("there is room again", async || Request::kill(&[id]).code(&gateway).await == "OK").await;
    }
    assert_eq!(gateway.kills_per_session(), killed(&[ID, OTHER_ID]));
}

#[tokio::test]
async fn every_admitted_call_takes_the_stated_time() {
    let delay = Duration::from_millis(120);
    let gateway = Gateway::start(GatewayOptions { delay, ..GatewayOptions::default() }).await.unwrap();
    let started = std::time::Instant::now();
    assert_eq!(Request::kill(&[ID]).code(&gateway).await, "OK");
    assert!(started.elapsed() >= delay);
    assert_eq!(gateway.kills_per_session(), killed(&[ID]));
}

#[tokio::test]
async fn a_stopped_gateway_frees_its_port_and_a_taken_port_is_named() {
    let first = gateway().await;
    let listen = first.address();
    let start = || Gateway::start(GatewayOptions { listen, ..GatewayOptions::default() });
    let error = start().await.err().expect("the port is taken").to_string();
    assert!(error.contains(&listen.to_string()) && error.contains("stop the process"), "{error}");
    first.stop().await;
    assert!(start().await.is_ok());
    let everywhere = GatewayOptions { listen: ([0, 0, 0, 0], 0).into(), ..GatewayOptions::default() };
    assert!(Gateway::start(everywhere).await.is_err(), "it must not listen beyond this machine");
}

#[tokio::test]
async fn an_engine_that_does_not_run_is_reported_as_unavailable() {
    let backend = Backend::OceanBase { url: "mysql://root@127.0.0.1:1".into() };
    let gateway = Gateway::start(GatewayOptions { backend, ..GatewayOptions::default() }).await.unwrap();
    assert_eq!(Request::kill(&[ID]).code(&gateway).await, "ServiceUnavailable");
    assert!(gateway.set_sessions(memory::initial_sessions()).is_err());
}
