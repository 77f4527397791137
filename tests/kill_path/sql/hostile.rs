//! Servers that attack the operator, and answers that no server should give. Whoever may write a connection and a Service has
//! such a server called. Neither the operator nor what it does for others may suffer, and it gets no password.

use serde_json::json;
use sessionkill::api::{SessionKill, VerificationPolicy};
use testbed::operator::peak_rss_bytes;
use testbed::server_certificate::ServerCertificate;
use testbed::sql_server::{Greeting, Reply, Rule, Session, SqlError, SqlServer, Table};

use super::scripted::{COMPARE, ID, IP, VERIFIED, assert_nothing_sent, healthy, host, kills, request, scene};
use super::{PASSWORD, SECRET, USER, wait_connection_as};
use crate::scene::{Request as _, SQL_MARK, Scene, eventually, texts};

/// The memory limit in MiB, for the debug build.
const MEMORY: u64 = 120;

/// The columns of the lists that are made here.
const COLUMNS: [&str; 17] = [
    "ID",
    "USER",
    "HOST",
    "STATE",
    "COMMAND",
    "TIME",
    "SVR_IP",
    "SQL_PORT",
    "TENANT",
    "DB",
    "INFO",
    "SQL_ID",
    "TRACE_ID",
    "TRANS_ID",
    "PROXY_SESSID",
    "USER_CLIENT_IP",
    "USER_CLIENT_PORT",
];

/// The bytes of an answer with these rows, each of which is the same and has a value for each column.
fn answer(row: &[u8], rows: usize) -> Vec<u8> {
    let mut sequence = 0_u8;
    let mut bytes = vec![];
    let mut packet = |bytes: &mut Vec<u8>, payload: &[u8]| {
        sequence = sequence.wrapping_add(1);
        bytes.extend(&u32::try_from(payload.len()).unwrap().to_le_bytes()[..3]);
        bytes.push(sequence);
        bytes.extend(payload);
    };
    packet(&mut bytes, &[u8::try_from(COLUMNS.len()).unwrap()]);
    for column in COLUMNS {
        let name = [&[u8::try_from(column.len()).unwrap()], column.as_bytes()].concat();
        packet(
            &mut bytes,
            &[b"\x03def\0\0\0", &name[..], b"\0\x0c", &[45, 0, 0, 1, 0, 0, 0xfd, 0, 0, 0, 0, 0]].concat(),
        );
    }
    packet(&mut bytes, &[0xfe, 0, 0, 2, 0]);
    for _ in 0..rows {
        packet(&mut bytes, row);
    }
    packet(&mut bytes, &[0xfe, 0, 0, 2, 0]);
    bytes
}

/// A row of the tenant `sys` with this ID, and with this value in each other column.
fn row(id: u32, value: &[u8]) -> Vec<u8> {
    let text = |value: &[u8]| match u16::try_from(value.len()).unwrap() {
        short @ ..=250 => [&[u8::try_from(short).unwrap()], value].concat(),
        long => [&[0xfc], &long.to_le_bytes()[..], value].concat(),
    };
    let id = id.to_string();
    let value_of = |column: &&str| match *column {
        "ID" => text(id.as_bytes()),
        "TENANT" => text(b"sys"),
        _ => text(value),
    };
    COLUMNS.iter().flat_map(value_of).collect()
}

/// A rule for the list, and not for the look at its columns.
fn of_list(server: &SqlServer, reply: Reply) {
    server.set_rule(Rule::new("GV$OB_PROCESSLIST", reply));
    server.set_rule(Rule::new("LIMIT 1", Reply::Execute));
}

/// The answer of a comparison: an ID, and the server's time.
fn compared(rows: &[&[&str]]) -> Reply {
    Reply::Rows(Table::new(&["@k", "UNIX_TIMESTAMP(SYSDATE(6))"], rows))
}

struct Attack {
    name: &'static str,
    begins: fn(&SqlServer),
    /// What the request waits for.
    reason: &'static str,
    says: &'static str,
}

const fn attack(name: &'static str, begins: fn(&SqlServer), reason: &'static str, says: &'static str) -> Attack {
    Attack { name, begins, reason, says }
}

const UNREACHABLE: &str = "EndpointUnreachable";
const UNAVAILABLE: &str = "OperationUnavailable";
const UNOBSERVED: &str = "ObservationFailed";

fn attacks() -> Vec<Attack> {
    vec![
        attack("garbage", |it| it.greet(Greeting::Raw(vec![0xff; 8192])), UNAVAILABLE, "docs/sql.md"),
        attack("http", |it| it.greet(Greeting::NotMysql), UNAVAILABLE, "the server sent a packet of"),
        attack("silent", |it| it.greet(Greeting::Silent), UNREACHABLE, "the login timed out"),
        attack("closes", |it| it.greet(Greeting::Close), UNREACHABLE, "before its handshake"),
        attack(
            "clear",
            |it| it.greet(Greeting::AuthSwitch("mysql_clear_password".to_owned())),
            UNAVAILABLE,
            "by mysql_clear_password",
        ),
        attack(
            "caching",
            |it| it.greet(Greeting::AuthSwitch("caching_sha2_password".to_owned())),
            UNAVAILABLE,
            "by caching_sha2",
        ),
        attack(
            "plugin",
            |it| it.greet(Greeting::Plugin("caching_sha2_password".to_owned())),
            UNAVAILABLE,
            "mysql_native_password",
        ),
        attack(
            "refusal",
            |it| {
                it.greet(Greeting::RefuseLogin(SqlError::new(1045, "28000", "\u{1b}[2J\u{202e}\r\n no ".repeat(9000))));
            },
            "CredentialsRejected",
            "1045: [2J no [2J",
        ),
        attack(
            "infile",
            |it| it.set_rule(Rule::new("SHOW", Reply::LocalInfile("/etc/passwd".to_owned()))),
            UNREACHABLE,
            "request for a file",
        ),
        attack(
            "infile-list",
            |it| of_list(it, Reply::LocalInfile("/etc/passwd".to_owned())),
            UNOBSERVED,
            "request for a file",
        ),
        attack("huge", |it| of_list(it, Reply::Huge), UNOBSERVED, "a packet of 16777215 bytes"),
        attack(
            "drip",
            |it| of_list(it, Reply::Drip { bytes: 1, pause: std::time::Duration::from_millis(100) }),
            UNOBSERVED,
            "no complete answer before the deadline",
        ),
        attack("million", |it| of_list(it, Reply::Raw(answer(&row(7, b""), 1_000_000))), UNOBSERVED, "AnswerLost"),
        // 63 MB, which would be three times as much as text.
        attack(
            "large",
            |it| of_list(it, Reply::Raw(answer(&row(ID, &[0x80; 1024]), 3700))),
            UNOBSERVED,
            "rows that cannot be read",
        ),
        attack(
            "length",
            |it| of_list(it, Reply::Raw(answer(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffabc", 1))),
            UNOBSERVED,
            "a malformed row",
        ),
        attack(
            "error",
            |it| of_list(it, Reply::Err(SqlError::new(9999, "HY000", "\u{1b}]0;x\u{7}\u{202e}\r\n数".repeat(9000)))),
            UNOBSERVED,
            "9999: ]0;x数",
        ),
        attack(
            "other-id",
            |it| it.set_rule(Rule::new(COMPARE, compared(&[&["3221614619", "1.0"]]))),
            UNAVAILABLE,
            "compared something else",
        ),
        attack(
            "two-rows",
            |it| it.set_rule(Rule::new(COMPARE, compared(&[&["3221614619", "1.0"], &["3221614618", "1.0"]]))),
            UNAVAILABLE,
            "compared something else",
        ),
        attack(
            "no-time",
            |it| it.set_rule(Rule::new(COMPARE, compared(&[&["3221614618", "NaN"]]))),
            UNAVAILABLE,
            "compared something else",
        ),
    ]
}

#[tokio::test]
async fn no_server_can_harm_the_operator_or_others_or_learn_the_password() {
    let attacks = attacks();
    let mut servers = vec![];
    for attack in &attacks {
        let server = healthy(2).await;
        (attack.begins)(&server);
        servers.push(server);
    }
    let other = healthy(2).await;
    let hosts = attacks.iter().zip(&servers).map(|(attack, server)| (attack.name, host(server)));
    let hosts: Vec<_> = hosts.chain([("other", host(&other))]).collect();
    let scene = scene("sql-hostile", &hosts).await;
    for attack in &attacks {
        request(&scene, attack.name, attack.name, ID).create().await;
    }
    // Those of others go on meanwhile.
    let verified = VerificationPolicy::Required;
    request(&scene, "other", "other", ID).verified(verified, 60).create().await;
    scene.request("gateway").sessions([1]).verified(verified, 60).create().await;
    for name in ["other", "gateway"] {
        assert_eq!(scene.wait_finished(name).await.outcomes(), [VERIFIED], "{name}");
    }
    for (attack, server) in attacks.iter().zip(&servers) {
        let Attack { name, reason, says, .. } = attack;
        // On a busy machine the first try may end before the answer is there.
        let told = |request: &SessionKill| {
            (request.reason() == *reason && request.message().contains(says)).then(|| request.message().to_owned())
        };
        let message = scene.wait_for(name, says, told).await;
        assert!(message.chars().count() <= 1024, "{name}: {message}");
        assert!(kills(server).is_empty() && server.files().is_empty(), "{name}");
        for login in server.logins() {
            let clear = String::from_utf8_lossy(&login.clear);
            assert!(!clear.contains(PASSWORD), "{name}: {clear}");
            assert!(login.more_auth.is_empty() && matches!(login.auth.len(), 0 | 20), "{name}: {login:?}");
        }
    }
    let peak = peak_rss_bytes(scene.first_operator().pid()).unwrap() >> 20;
    println!("{peak} MiB at most");
    assert!(peak < MEMORY, "{peak} MiB");
    assert_readable(&scene).await;
    assert!(!scene.logs().contains(PASSWORD));

    // A server that is healthy again is used without a restart.
    for server in &servers {
        server.greet(Greeting::Normal);
        server.clear_rules();
    }
    for (attack, server) in attacks.iter().zip(&servers) {
        let ended = scene.wait_finished(attack.name).await;
        assert_eq!(ended.outcomes(), [VERIFIED], "{}: {}", attack.name, ended.message());
        assert_eq!((kills(server).len(), server.has_session(ID + 1)), (1, true), "{}", attack.name);
    }
    scene.end().await;
}

/// Checks that no text for people has a character that cannot be seen.
async fn assert_readable(scene: &Scene) {
    let hides = |text: &str| text.contains(|c: char| c.is_control() || "\u{202e}\u{200b}".contains(c));
    let requests = json!(scene.requests().list(&kube::api::ListParams::default()).await.unwrap().items);
    let connections = scene.api::<sessionkill::api::OceanBaseConnection>();
    let connections = json!(connections.list(&kube::api::ListParams::default()).await.unwrap().items);
    let notes: Vec<_> = scene.events().await.into_iter().map(|event| json!(event.note)).collect();
    for told in [&requests, &connections, &json!(notes), &json!(scene.audit_lines())] {
        let hidden = texts(told).into_iter().find(|text| hides(text));
        assert_eq!(hidden, None);
    }
    assert!(!scene.logs().contains(|c: char| c.is_control() && c != '\n'), "{}", scene.logs());
}

#[tokio::test]
async fn a_server_without_the_tls_that_is_required_learns_not_even_the_user() {
    let (plain, broken, other) = (healthy(1).await, healthy(1).await, healthy(1).await);
    broken.greet(Greeting::BreakTls);
    let (ours, theirs) = (ServerCertificate::issue().unwrap(), ServerCertificate::issue().unwrap());
    other.offer_tls(Some(&theirs)).unwrap();
    let servers =
        [("plain", &plain, "the server offers no TLS"), ("broken", &broken, "TLS"), ("other", &other, "certificate")];
    let hosts: Vec<_> = servers.iter().map(|(name, server, _)| (*name, host(server))).collect();
    let scene = scene("sql-no-tls", &hosts).await;
    scene.put_secret(SECRET, true, &[("username", USER), ("password", PASSWORD), ("ca.crt", &ours.ca)]).await;
    for (name, ..) in &servers {
        scene.patch_connection(name, json!({"spec": {"sql": {"tls": {"mode": "VerifyCA"}}}})).await;
        request(&scene, name, name, ID).create().await;
    }
    for (name, server, words) in &servers {
        let said =
            scene.wait_for(name, "to wait", |it| it.message().contains(words).then(|| it.message().to_owned())).await;
        assert!(said.contains("spec.sql.tls") || *name == "broken", "{name}: {said}");
        wait_connection_as(&scene, name, "Encrypted=True(TLSRequired)").await;
        assert_nothing_sent(server);
        for login in server.logins().iter().filter(|login| login.capabilities & 0x800 != 0 || !login.accepted) {
            assert!(login.user.is_empty() && login.auth.is_empty(), "{name}: {login:?}");
            assert!(!String::from_utf8_lossy(&login.clear).contains(USER), "{name}");
        }
    }
    // With a certificate of the CA they are used.
    for (_, server, _) in &servers {
        server.greet(Greeting::Normal);
        server.offer_tls(Some(&ours)).unwrap();
    }
    for (name, server, _) in &servers {
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.outcomes(), [VERIFIED], "{name}: {}", ended.message());
        assert!(server.logins().last().unwrap().tls, "{name}");
    }
    scene.end().await;
}

#[tokio::test]
async fn whatever_a_session_is_called_its_kill_works_and_what_is_told_of_it_is_readable() {
    let server = healthy(2).await;
    let hostile = "\u{1b}]0;owned\u{7}\u{202e}\r\n\u{200b}' OR 1=1 -- ";
    let session = |id: u32| {
        let session = Session::new(id).running(&format!("SELECT {SQL_MARK}{}", hostile.repeat(2000)));
        ["DB", "STATE", "COMMAND", "SQL_ID", "TRACE_ID", "TRANS_ID", "TIME", "USER_CLIENT_IP", "MODULE"]
            .into_iter()
            .fold(session, |session, column| session.with(column, hostile.repeat(100)))
    };
    server.change(|it| it.sessions = vec![session(ID), session(ID + 1).with("USER", hostile), session(ID + 2)]);
    let scene = scene("sql-texts", &[("one", host(&server))]).await;
    // A name that cannot be stored as it is cannot be compared either.
    let wanted = request(&scene, "inc-1", "one", ID).and_session_on(IP, (ID + 1).into());
    wanted.create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes()[0], VERIFIED, "{}", ended.message());
    assert!(!server.has_session(ID) && server.has_session(ID + 1) && server.has_session(ID + 2));
    eventually("an audit line", async || if scene.audit_lines().is_empty() { Err("none".to_owned()) } else { Ok(()) })
        .await;
    assert!(json!(ended.status).to_string().len() < 64 * 1024);
    assert_readable(&scene).await;
    scene.end().await;
}
