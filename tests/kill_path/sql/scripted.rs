//! What a real engine of one node cannot be: a proxy, many servers and tenants, other versions, refusals and lost answers. Each
//! server is scripted, and has a connection of its own.

use serde_json::json;
use sessionkill::api::{Expect, Session as Named, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::sql_server::{
    Cluster, Greeting, Kernel, Reply, Rule, Session, SqlError, SqlServer, SqlServerOptions, Table,
};

use super::{CLUSTER, PASSWORD, SECRET, TENANT, USER, connect_as, wait_connection_as};
use crate::groups::all_seen;
use crate::scene::{Launch, Request as _, RequestBuilder, Scene, Shown as _, eventually, in_seconds, until};
use testbed::sql_relay::{Fate, Order, SqlRelay};

pub const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);
const GONE: (SessionOutcome, SessionReason) = (SessionOutcome::Gone, SessionReason::NotFound);
const SKIPPED: (SessionOutcome, SessionReason) = (SessionOutcome::Skipped, SessionReason::PreconditionMismatch);
const REFUSED: (SessionOutcome, SessionReason) = (SessionOutcome::Failed, SessionReason::KillRefused);
const REJECTED: (SessionOutcome, SessionReason) = (SessionOutcome::Failed, SessionReason::RequestRejected);
const LOST: (SessionOutcome, SessionReason) = (SessionOutcome::Unknown, SessionReason::AnswerLost);
const STILL_THERE: (SessionOutcome, SessionReason) = (SessionOutcome::Failed, SessionReason::StillPresent);
const NOT_SENT: (SessionOutcome, SessionReason) = (SessionOutcome::Failed, SessionReason::NotSent);

/// The server that the sessions are on, unless a test says otherwise.
pub const IP: &str = "192.168.13.119";
/// The ID of the first session.
pub const ID: u32 = 3_221_614_618;

/// A part of the statement that compares, and of the one that kills.
pub const COMPARE: &str = "SELECT @k := ";
const KILL: &str = "@k, 0)";

/// A server of a healthy cluster with so many sessions, from [`ID`] on.
pub async fn healthy(sessions: u32) -> SqlServer {
    server(Kernel::V4_3_5, (0..sessions).map(|number| Session::new(ID + number)).collect()).await
}

/// A server with these sessions.
async fn server(kernel: Kernel, sessions: Vec<Session>) -> SqlServer {
    let cluster = Cluster::new(kernel, sessions);
    SqlServer::start(SqlServerOptions { cluster, ..SqlServerOptions::default() }).await.unwrap()
}

/// Where the operator connects.
pub fn host(server: &SqlServer) -> String {
    server.address().to_string()
}

/// A scene with an operator that may call each of these hosts, for which there is a connection with this name.
pub async fn scene(name: &str, hosts: &[(&str, String)]) -> Scene {
    let scene = Scene::set(name).await;
    scene.put_secret(SECRET, true, &[("username", USER), ("password", PASSWORD)]).await;
    for (connection, host) in hosts {
        connect_as(&scene, connection, host, json!({})).await;
    }
    let hosts: Vec<&str> = hosts.iter().map(|(_, host)| host.as_str()).collect();
    let variables = vec![format!("SESSIONKILL_ALLOW_SQL_HOSTS={}", hosts.join(","))];
    scene.launch(Launch { variables, ..Launch::default() }).await;
    scene
}

/// A request for this session through this connection.
pub fn request<'a>(scene: &'a Scene, name: &str, connection: &str, id: u32) -> RequestBuilder<'a> {
    scene.request(name).through(connection).instance(CLUSTER).tenant(TENANT).session_on(IP, id.into())
}

/// The kills that were sent, but for those of nobody, by which the operator finds out what the server can do.
pub fn kills(server: &SqlServer) -> Vec<String> {
    server.kills().into_iter().filter(|kill| !kill.contains("4294967295")).collect()
}

/// How many sessions were compared.
fn compares(server: &SqlServer) -> usize {
    server.statements().iter().filter(|statement| statement.text.contains(COMPARE)).count()
}

/// Checks that nothing was asked of the server about a session that is meant.
pub fn assert_nothing_sent(server: &SqlServer) {
    assert!(kills(server).is_empty() && compares(server) == 0, "{:?}", server.statements());
}

/// The message of a request that waits for this reason.
pub async fn waits(scene: &Scene, name: &str, reason: &str) -> String {
    scene.wait_for_reason(name, reason).await.message().to_owned()
}

fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
}

type Change = fn(&SqlServer);

#[tokio::test]
async fn what_is_no_server_of_the_cluster_gets_nothing_and_is_used_once_it_is_one() {
    let told_mode: Change = |server| {
        let mode = Table::new(&["Variable_name", "Value"], &[&["ob_compatibility_mode", "ORACLE"]]);
        server.set_rule(Rule::new("ob_compatibility_mode", Reply::Rows(mode)));
    };
    let proxy: Change = |server| {
        let version = Table::of_one("proxy_version()", Some("4.2.3".to_owned()));
        server.set_rule(Rule::new("proxy_version()", Reply::Rows(version)));
    };
    // Only new connections lead elsewhere.
    let behind: Change =
        |server| server.change(|it| it.own = it.own.clone().with("PROXY_SESSID", "752113700739156671"));
    let direct: Change = |server| server.change(|it| it.own = it.own.clone().without("PROXY_SESSID"));
    let refuses: Change = |server| {
        let text = "Oracle tenant for current client driver is not supported";
        server.greet(Greeting::RefuseLogin(SqlError::new(1235, "0A000", text)));
    };
    let cases: [(&str, Change, Change, &str, &[&str]); 4] = [
        ("proxy", proxy, SqlServer::clear_rules, "ProxyNotSupported", &["a proxy (ODP)", "2881", "spec.sql"]),
        ("behind", behind, direct, "ProxyNotSupported", &["a proxy (ODP)", "2881", "spec.sql"]),
        ("oracle", told_mode, SqlServer::clear_rules, "OperationUnavailable", &["in Oracle mode", "docs/sql.md"]),
        ("oracle-login", refuses, |it| it.greet(Greeting::Normal), "OperationUnavailable", &["Oracle tenant"]),
    ];
    let mut servers = vec![];
    for (name, breaks, ..) in &cases {
        let server = healthy(1).await;
        breaks(&server);
        servers.push((*name, server));
    }
    let hosts: Vec<_> = servers.iter().map(|(name, server)| (*name, host(server))).collect();
    let scene = scene("sql-elsewhere-2", &hosts).await;
    for (name, ..) in &cases {
        request(&scene, name, name, ID).create().await;
    }
    for ((name, _, mends, reason, words), (_, server)) in cases.iter().zip(&servers) {
        let message = waits(&scene, name, reason).await;
        assert_says(&message, words);
        assert_says(&message, &[name]);
        let connection = wait_connection_as(&scene, name, &format!("Ready=False({reason})")).await;
        if *reason == "ProxyNotSupported" {
            assert!(
                connection.condition("Stalled").is_some_and(|it| it.reason == *reason),
                "{:?}",
                connection.summary()
            );
        }
        assert_nothing_sent(server);
        mends(server);
    }
    for (name, server) in &servers {
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.outcomes(), [VERIFIED], "{name}: {}", ended.message());
        assert_eq!((kills(server).len(), server.has_session(ID)), (1, false), "{name}");
    }
    scene.end().await;
}

#[tokio::test]
async fn a_server_of_another_cluster_or_tenant_is_asked_for_nothing_and_is_told() {
    let (cluster, tenant) = (healthy(1).await, healthy(1).await);
    let told = |name: &str| Table::new(&["svr_ip", "name", "value"], &[&[IP, "cluster", name]]);
    cluster.set_rule(Rule::new("SHOW PARAMETERS", Reply::Rows(told("\u{1b}[2Jother\u{202e}"))));
    tenant.change(|it| it.own = it.own.clone().with("TENANT", "t2"));
    let scene = scene("sql-other", &[("cluster", host(&cluster)), ("tenant", host(&tenant))]).await;
    scene.patch_connection("tenant", json!({"spec": {"sql": {"tenant": "t1"}}})).await;
    request(&scene, "cluster", "cluster", ID).create().await;
    request(&scene, "tenant", "tenant", ID).tenant("t1").create().await;
    for (name, server, words) in [
        ("cluster", &cluster, "the server is of cluster [2Jother, and spec.sql.cluster is obcluster"),
        ("tenant", &tenant, "the login is of tenant t2, and spec.sql.tenant is t1"),
    ] {
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.reason(), "NotAllowed", "{}", ended.message());
        assert_says(ended.message(), &[words, "OceanBaseConnection"]);
        assert_nothing_sent(server);
        assert!(server.has_session(ID));
    }
    // What was found out is not kept: the name may lead to another server by now.
    cluster.clear_rules();
    tenant.change(|it| {
        it.own = it.own.clone().with("TENANT", "t1");
        it.sessions = vec![Session::new(ID).with("TENANT", "t1")];
    });
    request(&scene, "cluster-2", "cluster", ID).create().await;
    request(&scene, "tenant-2", "tenant", ID).tenant("t1").create().await;
    for name in ["cluster-2", "tenant-2"] {
        assert_eq!(scene.wait_finished(name).await.outcomes(), [VERIFIED], "{name}");
    }
    scene.end().await;
}

#[tokio::test]
async fn a_full_server_is_waited_for_without_many_logins() {
    let refusal = SqlError::new(1040, "", "Too many connections");
    let of_user = SqlError::new(1226, "42000", "User 'sessionkill' has exceeded the 'max_user_connections' resource");
    let cases = [
        ("first", Greeting::Refuse(refusal.clone()), "1040: Too many connections"),
        ("login", Greeting::RefuseLogin(refusal), "1040: Too many connections"),
        ("user", Greeting::RefuseLogin(of_user), "1226"),
    ];
    let mut servers = vec![];
    for (name, greeting, _) in &cases {
        let server = healthy(10).await;
        server.greet(greeting.clone());
        servers.push((*name, server));
    }
    let hosts: Vec<_> = servers.iter().map(|(name, server)| (*name, host(server))).collect();
    let scene = scene("sql-full", &hosts).await;
    let began = std::time::Instant::now();
    for number in 0..10 {
        for (name, ..) in &cases {
            request(&scene, &format!("{name}-{number}"), name, ID + number).create().await;
        }
    }
    for (name, _, words) in &cases {
        assert_says(&waits(&scene, &format!("{name}-0"), "Throttled").await, &[words, "keep a connection free"]);
    }
    until(in_seconds(5)).await;
    for (name, server) in &servers {
        // Ten requests, each of which tries again after 1, 2 and 4 s: those that wait share what one of them was told.
        let (logins, seconds) = (server.logins().len(), began.elapsed().as_secs());
        assert!(logins as u64 <= 4 + seconds, "{name}: {logins} logins in {seconds} s");
        server.greet(Greeting::Normal);
    }
    for (name, server) in &servers {
        for number in 0..10 {
            assert_eq!(scene.wait_finished(&format!("{name}-{number}")).await.outcomes(), [VERIFIED], "{name}");
        }
        assert_eq!((kills(server).len(), server.most_at_once()), (10, 1), "{name}");
    }
    scene.end().await;
}

#[tokio::test]
async fn what_the_server_says_of_a_kill_decides_on_its_session_alone() {
    let not_owner = SqlError::new(1095, "HY000", "You are not owner of thread 3221614618");
    let cases = [
        ("not-owner", not_owner, REFUSED, "KillFailed"),
        // As through a proxy: the session lives.
        ("lives", SqlError::unknown_thread(ID), REFUSED, "KillFailed"),
        ("syntax", SqlError::syntax("IF(UNIX_TIMESTAMP"), REJECTED, "KillFailed"),
    ];
    let mut servers = vec![];
    for (name, error, ..) in &cases {
        let server = healthy(2).await;
        server.set_rule(Rule::new(KILL, Reply::Err(error.clone())));
        servers.push((*name, server));
    }
    let absent = healthy(1).await;
    let relay = SqlRelay::start(absent.address().port()).await.unwrap();
    let mut hosts: Vec<_> = servers.iter().map(|(name, server)| (*name, host(server))).collect();
    hosts.push(("absent", relay.host()));
    let scene = scene("sql-said", &hosts).await;
    let held = relay.rule(KILL, Fate::HeldBefore);
    request(&scene, "absent", "absent", ID).create().await;
    for (name, ..) in &cases {
        request(&scene, name, name, ID).create().await;
    }
    super::reached(&held).await;
    absent.change(|it| it.sessions.retain(|session| session.id() != ID));
    held.release();
    let ended = scene.wait_finished("absent").await;
    assert_eq!(ended.outcomes(), [GONE], "{}", ended.message());
    assert_eq!(kills(&absent).len(), 1);

    for ((name, error, outcome, reason), (_, server)) in cases.iter().zip(&servers) {
        let ended = scene.wait_finished(name).await;
        assert_eq!((ended.reason(), ended.outcomes()), (*reason, vec![*outcome]), "{name}: {}", ended.message());
        let session = &ended.status.unwrap().sessions[0];
        assert!((session.error_message.clone() + &session.message).contains(&error.message), "{name}: {session:?}");
        assert_eq!((kills(server).len(), server.has_session(ID)), (1, true), "{name}");
    }
    scene.end().await;
}

#[tokio::test]
async fn an_answer_that_is_not_certain_is_found_out_by_the_list_and_nothing_is_sent_again() {
    let tenants = ["t1", "t2", "t3"];
    let session = |number: u32| Session::new(ID + number).with("TENANT", tenants[(number / 2) as usize]);
    let server = server(Kernel::V4_3_5, (0..6).map(session).collect()).await;
    let codes = [(4012, "Timeout"), (4402, "Packet not sent"), (9999, "What?"), (1317, "Query interrupted")];
    for (code, text) in codes {
        server.set_rule(Rule::new(KILL, Reply::Err(SqlError::new(code, "HY000", text))).times(1));
    }
    for lost in [Reply::Close, Reply::Garbage(vec![0xfe, 1, 2, 3])] {
        server.set_rule(Rule::new(KILL, lost).times(1));
    }
    let scene = scene("sql-uncertain", &[("one", host(&server))]).await;
    for (number, tenant) in (0..).zip(tenants) {
        let wanted = request(&scene, tenant, "one", ID + 2 * number).and_session_on(IP, (ID + 2 * number + 1).into());
        wanted.tenant(tenant).verified(VerificationPolicy::Required, 1).create().await;
    }
    for tenant in tenants {
        // The session is in the list, and could still be ended by what was sent.
        scene.wait_for(tenant, "to be uncertain", |it| (it.outcomes() == [LOST, LOST]).then_some(())).await;
    }
    server.change(|it| it.sessions.retain(|session| session.id() < ID || !(session.id() - ID).is_multiple_of(2)));
    for tenant in tenants {
        let ended = scene.wait_finished(tenant).await;
        assert_eq!(ended.outcomes(), [GONE, STILL_THERE], "{}", ended.message());
        let message = &ended.status.unwrap().sessions[1].message;
        assert_says(message, &["still in the process list", "nothing is sent again"]);
    }
    assert_eq!((kills(&server).len(), compares(&server)), (6, 6), "{:?}", server.statements());
    scene.end().await;
}

/// The first call of the tenant is held until these requests wait for the next one together.
async fn batched(scene: &Scene, held: &Order, requests: &[RequestBuilder<'_>]) {
    super::reached(held).await;
    for request in requests {
        request.create().await;
    }
    all_seen(scene).await;
    held.release();
}

#[tokio::test]
async fn behind_two_lost_connections_nothing_is_sent_and_other_requests_go_out_again() {
    let server = healthy(10).await;
    let relay = SqlRelay::start(server.address().port()).await.unwrap();
    let scene = scene("sql-behind-lost", &[("one", relay.host())]).await;
    scene.patch_connection("one", json!({"spec": {"requestTimeoutSeconds": 60}})).await;
    let held = relay.rule(COMPARE, Fate::HeldBefore);
    request(&scene, "first", "one", ID + 9).create().await;
    let of = |name: &str, first: u32, last: u32| {
        (first..last)
            .fold(request(&scene, name, "one", ID + first), |it, next| it.and_session_on(IP, (ID + next + 1).into()))
    };
    server.set_rule(Rule::new(KILL, Reply::Close).after(1).times(2));
    batched(&scene, &held, &[of("inc-1", 0, 3), of("inc-2", 4, 6)]).await;
    assert_eq!(scene.wait_finished("first").await.outcomes(), [VERIFIED]);
    let other = scene.wait_finished("inc-2").await;
    assert_eq!(other.outcomes(), [VERIFIED; 3], "{}", other.message());
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [STILL_THERE, STILL_THERE, NOT_SENT, NOT_SENT], "{}", ended.message());
    let status = ended.status.unwrap();
    assert_says(&status.sessions[2].message, &["the connection was lost before its turn came"]);
    let claimed = |status: &sessionkill::api::SessionKillStatus| status.dispatch.as_ref().unwrap().start_time.0;
    assert!(claimed(&other.status.unwrap()) >= claimed(&status), "under a later claim");
    assert_eq!(kills(&server).len(), 1 + 2 + 3, "each session has one");
    assert!((0..4).all(|number| server.has_session(ID + number)));
    assert_eq!(server.most_at_once(), 1);
    scene.end().await;
}

/// If nothing is sent for a request, and there is nobody to wait for, its claim must not be made again at once.
#[tokio::test]
async fn what_cannot_be_compared_waits_and_is_not_tried_without_a_pause() {
    let mut sessions = vec![Session::new(7).with("PROXY_SESSID", "752113700739156671")];
    sessions.push(Session::new(ID));
    let server = server(Kernel::V4_3_5, sessions).await;
    server.set_rule(Rule::new(COMPARE, Reply::Err(SqlError::new(4012, "HY000", "Timeout"))));
    let scene = scene("sql-no-pause", &[("one", host(&server))]).await;
    let began = std::time::Instant::now();
    request(&scene, "inc-1", "one", 7).and_session_on(IP, ID.into()).create().await;
    let message = waits(&scene, "inc-1", "EndpointUnreachable").await;
    assert_says(&message, &["4012", "not executed"]);
    until(in_seconds(3)).await;
    let (tries, seconds) = (compares(&server), began.elapsed().as_secs());
    assert!(tries as u64 <= 3 + seconds, "{tries} tries in {seconds} s");
    assert!(kills(&server).is_empty());
    server.clear_rules();
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [SKIPPED, VERIFIED], "{}", ended.message());
    assert_says(&ended.status.unwrap().sessions[0].message, &["behind a proxy"]);
    scene.end().await;
}

#[tokio::test]
async fn sessions_are_told_apart_by_their_server_its_port_and_their_tenant() {
    const SECOND: &str = "192.168.13.120";
    let on = |number: u32, ip: &str, port: &str| Session::new(ID + number).with("SVR_IP", ip).with("SQL_PORT", port);
    let of = |number: u32, tenant: &str, app: &str| Session::new(ID + number).with("TENANT", tenant).with("USER", app);
    let server = server(
        Kernel::V4_3_5,
        vec![
            on(0, SECOND, "2881"),
            // Two servers on one address, and an ID that both have.
            on(1, SECOND, "2881").with("HOST", "10.0.0.8:1"),
            on(1, SECOND, "3881").with("HOST", "10.0.0.8:2"),
            // Two tenants that both have an ID.
            of(2, "t1", "one"),
            of(2, "t2", "two"),
            of(4, "t1", "one"),
            // Behind a proxy: with an ID of the server, and with one of the proxy.
            Session::new(ID + 3).with("PROXY_SESSID", "752113700739156671"),
            Session::new(8_389_054).with("PROXY_SESSID", "752113700739156672"),
        ],
    )
    .await;
    // A kill of an ID that two sessions have is refused by the kernel: here the list decides alone.
    let scene = scene("sql-servers", &[("one", host(&server))]).await;
    let named = |name: &str, ip: &str, number: u32, port: Option<i32>| {
        let mut object = request(&scene, name, "one", ID + number).object();
        let (server_ip, session_id) = (ip.to_owned(), (ID + number).into());
        object.spec.sessions = vec![Named { server_ip, session_id, server_port: port, expect: None }];
        object
    };
    let requests = scene.requests();
    for object in [
        named("second", SECOND, 0, None),
        named("wrong-server", IP, 0, None),
        named("missing", "192.168.13.121", 0, None),
        named("missing-port", SECOND, 5, Some(4881)),
        named("absent-at-port", SECOND, 5, Some(3881)),
    ] {
        requests.create(&kube::api::PostParams::default(), &object).await.unwrap();
    }
    for name in ["missing", "missing-port"] {
        let message = waits(&scene, name, "ObservationFailed").await;
        assert_says(&message, &["no session of the server 192.168.13.12"]);
    }
    assert_eq!(scene.wait_finished("wrong-server").await.outcomes(), [GONE]);
    assert_eq!(scene.wait_finished("absent-at-port").await.outcomes(), [GONE]);
    assert_eq!(scene.wait_finished("second").await.outcomes(), [VERIFIED]);
    assert_eq!((kills(&server).len(), server.has_session(ID)), (1, false));
    let compare = server.statements().into_iter().find(|it| it.text.contains(COMPARE)).unwrap().text;
    assert_says(&compare, &[&format!("SVR_IP <=> BINARY x'{}'", hex::encode(SECOND)), "TENANT <=> BINARY x'737973'"]);

    // By its port the server knows the one of the two, and the kernel then refuses to choose: nothing is killed.
    requests.create(&kube::api::PostParams::default(), &named("port", SECOND, 1, Some(3881))).await.unwrap();
    let statement = eventually("a comparison with a port", async || {
        let found = server.statements().into_iter().find(|it| it.text.contains("SQL_PORT = 3881"));
        found.map(|it| it.text).ok_or_else(|| "none".to_owned())
    })
    .await;
    assert_says(&statement, &[&hex::encode("10.0.0.8:2")]);
    scene.wait_for("port", "to be uncertain", |it| (it.outcomes() == [LOST]).then_some(())).await;
    server.change(|it| it.sessions.retain(|session| session.get("SQL_PORT") != Some("3881")));
    let ended = scene.wait_finished("port").await;
    assert_ne!(ended.reason(), "SessionsKilled", "{}", ended.message());
    assert!(server.has_session(ID + 1));

    // Without a port nobody can say which of the two is meant. It is no reason to keep others from being killed.
    server.change(|it| it.sessions.push(on(1, SECOND, "3881").with("HOST", "10.0.0.8:1")));
    let two = request(&scene, "two", "one", ID + 1).session_on(SECOND, (ID + 1).into());
    two.and_session_on(IP, (ID + 3).into()).and_session_on(IP, 8_389_054).create().await;
    let ended = scene.wait_finished("two").await;
    assert_eq!(ended.outcomes(), [SKIPPED, VERIFIED, SKIPPED], "{}", ended.message());
    let status = ended.status.unwrap();
    assert_says(&status.sessions[0].message, &["serverPort"]);
    assert_says(&status.sessions[2].message, &["it is behind a proxy", "end it through the proxy"]);
    assert!(server.has_session(8_389_054) && server.has_session(ID + 1));

    // Of two tenants only the one that is named: by the list, and by the comparison.
    request(&scene, "t3", "one", ID + 2).tenant("t3").create().await;
    assert_eq!(scene.wait_finished("t3").await.outcomes(), [GONE], "no such session in that tenant");
    request(&scene, "t2", "one", ID + 2).tenant("t2").dry_run().create().await;
    let seen = scene.wait_finished("t2").await.status.unwrap();
    assert_eq!(seen.sessions[0].observed.as_ref().unwrap().user, "two");
    request(&scene, "t1", "one", ID + 4).tenant("t1").create().await;
    assert_eq!(scene.wait_finished("t1").await.outcomes(), [VERIFIED]);
    let compare = server.statements().into_iter().rfind(|it| it.text.contains(COMPARE)).unwrap().text;
    assert_says(&compare, &[&format!("TENANT <=> BINARY x'{}'", hex::encode("t1"))]);
    assert!(server.has_session(ID + 2));
    scene.end().await;
}

#[tokio::test]
async fn what_a_version_does_not_tell_is_not_taken_for_a_match() {
    let running = || Session::new(ID).running("SELECT 1");
    let (old, lite, bare) = (
        server(Kernel::V4_0, vec![running().with("PROXY_SESSID", "752113700739156671")]).await,
        server(Kernel::Seekdb, vec![running()]).await,
        server(Kernel::V4_0, vec![running()]).await,
    );
    bare.change(|it| it.columns.retain(|column| !["SQL_ID", "TRACE_ID", "TRANS_ID"].contains(&column.as_str())));
    let hosts = [("old", host(&old)), ("lite", host(&lite)), ("bare", host(&bare))];
    let scene = scene("sql-versions", &hosts).await;
    let sql_id = Expect { sql_id: running().get("SQL_ID").map(str::to_owned), ..Expect::default() };
    let trace_id = Expect { trace_id: running().get("TRACE_ID").map(str::to_owned), ..Expect::default() };
    let proxy = Expect { proxy_session_id: Some("752113700739156671".to_owned()), ..Expect::default() };
    let port = Expect { client_port: Some(4711), ..Expect::default() };
    let cases = [
        ("sql-id", "bare", &sql_id, "expect.sqlID"),
        ("trace-id", "bare", &trace_id, "expect.traceID"),
        ("proxy-id", "lite", &proxy, "expect.proxySessionID"),
        // HOST has the port of the proxy there.
        ("port", "old", &port, "expect.clientPort"),
    ];
    for (name, connection, expect, _) in &cases {
        request(&scene, name, connection, ID).expecting(expect).create().await;
    }
    for (name, .., field) in &cases {
        assert_says(&waits(&scene, name, "ObservationFailed").await, &[field, "nothing was sent"]);
    }
    for server in [&old, &lite, &bare] {
        assert_nothing_sent(server);
    }
    // What is told is enough.
    for (name, connection, server, expect) in [("4.0", "old", &old, &sql_id), ("lite", "lite", &lite, &trace_id)] {
        request(&scene, name, connection, ID).expecting(expect).create().await;
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.outcomes(), [VERIFIED], "{name}: {}", ended.message());
        assert!(!server.has_session(ID));
    }
    request(&scene, "bare", "bare", ID).create().await;
    assert_eq!(scene.wait_finished("bare").await.outcomes(), [VERIFIED]);
    scene.end().await;
}

#[tokio::test]
async fn what_a_server_and_its_user_can_do_is_told_and_made_do_with() {
    let (blind, plain, stays) = (healthy(1).await, healthy(1).await, healthy(1).await);
    let usage = || Table::new(&["Grants for sessionkill@%"], &[&["GRANT USAGE ON *.* TO 'sessionkill'"]]);
    blind.change(|it| {
        it.own = it.own.clone().with("TENANT", "t1");
        it.sessions = vec![];
        it.tables.insert("SHOW GRANTS".to_owned(), usage());
    });
    plain.set_rule(Rule::new("KILL IF", Reply::Err(SqlError::new(1235, "0A000", "Not supported feature or function"))));
    stays.change(|it| it.keeps_killed = true);
    let hosts = [("blind", host(&blind)), ("plain", host(&plain)), ("stays", host(&stays))];
    let scene = scene("sql-abilities", &hosts).await;
    scene.patch_connection("blind", json!({"spec": {"sql": {"tenant": "t1"}}})).await;
    request(&scene, "blind", "blind", ID).tenant("t1").create().await;
    request(&scene, "plain", "plain", ID).create().await;
    request(&scene, "stays", "stays", ID).verified(VerificationPolicy::Required, 2).create().await;

    let ended = scene.wait_finished("plain").await;
    assert_eq!(ended.outcomes(), [VERIFIED], "{}", ended.message());
    assert_eq!(kills(&plain).last().map(String::as_str), Some("KILL 3221614618"), "digits only");
    let sent: Vec<_> = plain.statements().into_iter().map(|it| it.text).collect();
    let compared = sent.iter().position(|text| text.contains(COMPARE)).unwrap();
    assert_eq!(sent[compared + 1], "KILL 3221614618", "right after the comparison");
    let connection = wait_connection_as(&scene, "plain", "ServerSideFence=False(ConditionNotSupported)").await;
    assert_says(&connection.condition("ServerSideFence").unwrap().message, &["does not evaluate conditions in KILL"]);

    let ended = scene.wait_finished("stays").await;
    assert_eq!(ended.outcomes(), [STILL_THERE], "{}", ended.message());
    assert_says(&ended.status.unwrap().sessions[0].message, &["SESSION_KILLED", "nothing is sent again"]);
    assert_eq!(kills(&stays).len(), 1);

    let message = waits(&scene, "blind", "ObservationFailed").await;
    assert_says(&message, &["GRANT PROCESS ON *.*", "sees its own sessions only"]);
    assert_nothing_sent(&blind);
    // A right that was given counts without a restart.
    blind.change(|it| {
        let all = Table::new(&["Grants"], &[&["GRANT PROCESS, SUPER ON *.* TO 'sessionkill'"]]);
        it.tables.insert("SHOW GRANTS".to_owned(), all);
    });
    assert_eq!(scene.wait_finished("blind").await.outcomes(), [GONE]);
    scene.end().await;
}

#[tokio::test]
async fn the_operators_own_session_is_never_killed_and_there_is_one_at_a_time() {
    let server = healthy(20).await;
    let scene = scene("sql-own", &[("one", host(&server))]).await;
    wait_connection_as(&scene, "one", "Ready=True(CallAnswered)").await;
    let own = server.cluster().sessions.last().unwrap().clone();
    assert_eq!(own.get("USER"), Some(USER));
    request(&scene, "own", "one", own.id()).create().await;
    for number in 0..20 {
        request(&scene, &format!("inc-{number}"), "one", ID + number).create().await;
    }
    let ended = scene.wait_finished("own").await;
    assert_eq!(ended.outcomes(), [SKIPPED], "{}", ended.message());
    assert_says(&ended.status.unwrap().sessions[0].message, &["the operator's own session"]);
    for number in 0..20 {
        assert_eq!(scene.wait_finished(&format!("inc-{number}")).await.outcomes(), [VERIFIED]);
    }
    assert_eq!((server.most_at_once(), server.logins().len()), (1, 1), "one for all calls and all reads");
    assert!(server.has_session(own.id()) && kills(&server).len() == 20);
    scene.end().await;
}
