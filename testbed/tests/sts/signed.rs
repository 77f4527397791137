//! Calls that are signed with a key, and calls that are not signed.

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};
use sessionkill::oceanbase::signature::{enc, v3};
use testbed::gateway::Gateway;

pub const SERVER: &str = "192.168.13.119";
/// A session that the gateway has.
pub const ID: i64 = 3_221_614_618;
const STS: &str = "2015-04-01";
const OCEANBASE: &str = "2019-09-01";

/// A key that a client holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

/// The answer to a call.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Key {
    /// The gateway's own key.
    pub fn own() -> Self {
        Self { id: "testbed".into(), secret: "testbed-secret".into(), token: None }
    }

    /// The key among the members of an object.
    pub fn of(members: &Value) -> Self {
        let text = |name: &str| members[name].as_str().unwrap_or_else(|| panic!("no {name} in {members}")).to_owned();
        Self { id: text("AccessKeyId"), secret: text("AccessKeySecret"), token: Some(text("SecurityToken")) }
    }

    /// Lists sessions, and returns `OK` or the error's code.
    pub async fn list(&self, gateway: &Gateway) -> String {
        let params = [("InstanceId", "ob317v4uif0001"), ("TenantId", "t4louaeei0001")];
        self.call(gateway, OCEANBASE, "DescribeProcessStatsComposition", &params).await.code()
    }

    /// Ends a session, and returns `OK` or the error's code.
    pub async fn kill(&self, gateway: &Gateway) -> String {
        let sessions = json!([{"ServerIp": SERVER, "SessionId": ID}]).to_string();
        let params = [("InstanceId", "ob317v4uif0001"), ("TenantId", "t4louaeei0001"), ("SessionList", &sessions)];
        self.call(gateway, OCEANBASE, "KillProcessList", &params).await.code()
    }

    /// Assumes a role, with these further parameters.
    pub async fn assume(&self, gateway: &Gateway, role: &impl ToString, more: &[(&str, &str)]) -> Answer {
        let role = role.to_string();
        let params = [&[("RoleArn", role.as_str()), ("RoleSessionName", "kills")], more].concat();
        self.call(gateway, STS, "AssumeRole", &params).await
    }

    /// Asks who has this key.
    pub async fn who(&self, gateway: &Gateway) -> Answer {
        self.call(gateway, STS, "GetCallerIdentity", &[]).await
    }

    /// Makes a call with all parameters in the form, signed in version 3.
    pub async fn call(&self, gateway: &Gateway, version: &str, action: &str, params: &[(&str, &str)]) -> Answer {
        let body = encoded(params);
        let payload_hash = v3::payload_hash(body.as_bytes());
        let mut headers = vec![
            ("host", gateway.address().to_string()),
            ("content-type", "application/x-www-form-urlencoded".into()),
            ("x-acs-action", action.into()),
            ("x-acs-version", version.into()),
            ("x-acs-date", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            ("x-acs-signature-nonce", uuid::Uuid::new_v4().simple().to_string()),
            ("x-acs-content-sha256", payload_hash.clone()),
        ];
        headers.extend(self.token.clone().map(|token| ("x-acs-security-token", token)));
        let signed: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request =
            v3::Request { method: "POST", path: "/", query: &[], headers: &signed, payload_hash: &payload_hash };
        headers.push(("authorization", request.authorization(&self.id, &SecretString::from(self.secret.as_str()))));
        let request = client().post(gateway.url()).body(body);
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        Answer::of(request).await
    }
}

impl Answer {
    pub async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        Self { status, body: serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")) }
    }

    /// `OK` or the error's code.
    pub fn code(&self) -> String {
        self.body["Code"].as_str().unwrap_or("OK").to_owned()
    }

    /// The temporary key in an answer of STS.
    pub fn key(&self) -> Key {
        assert_eq!(self.status, 200, "{}", self.body);
        Key::of(&self.body["Credentials"])
    }
}

pub fn encoded(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", enc(name), enc(value))).collect();
    pairs.join("&")
}

/// Follows no redirect, and tries nothing again.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().retry(reqwest::retry::never());
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
