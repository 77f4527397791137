//! The scripted server of the `MySQL` protocol as a client sees it: healthy, and with each fault once.

// Clippy takes only functions marked as tests for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use mysql_async::{Conn, Error, OptsBuilder, Row, Value, prelude::Queryable};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use testbed::{
    server_certificate::{DNS_NAME, ServerCertificate},
    sql_server::{
        Cluster, Greeting, Kernel, Login, Reply, Rule, Session, SqlError, SqlServer, SqlServerOptions, Table,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

const LIMIT: Duration = Duration::from_secs(30);
/// Long enough for an answer, if there were one.
const PATIENCE: Duration = Duration::from_millis(300);
const ID: u32 = 3_221_614_618;
const OTHER: u32 = 3_221_614_619;
const USER: &str = "killer@sys";
const PASSWORD: &str = "it is a secret";

async fn start() -> SqlServer {
    let accounts = vec![(USER.to_owned(), PASSWORD.to_owned())];
    SqlServer::start(SqlServerOptions { accounts, ..SqlServerOptions::default() }).await.unwrap()
}

async fn connect_with(server: &SqlServer, password: &str) -> Result<Conn, Error> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.address().port())
        .user(Some(USER))
        .pass(Some(password))
        .prefer_socket(false)
        .max_allowed_packet(Some(1 << 20))
        .wait_timeout(Some(60));
    timeout(LIMIT, Conn::new(options)).await.unwrap()
}

async fn connect(server: &SqlServer) -> Conn {
    connect_with(server, PASSWORD).await.unwrap()
}

fn code(error: &Error) -> u16 {
    match error {
        Error::Server(error) => error.code,
        other => panic!("no error of the server: {other:?}"),
    }
}

/// The code with which a statement is refused.
async fn refusal(session: &mut Conn, statement: &str) -> (u16, String) {
    match session.query_drop(statement).await.unwrap_err() {
        Error::Server(error) => (error.code, error.message),
        other => panic!("no error of the server: {other:?}"),
    }
}

fn seconds_from_now(seconds: i64) -> i64 {
    jiff::Timestamp::now().as_second() + seconds
}

#[tokio::test]
async fn a_healthy_cluster_tells_who_it_is() {
    let server = start().await;
    let mut session = connect(&server).await;
    for statement in ["SET time_zone = '+00:00'", "set ob_query_timeout=5000000, autocommit=1"] {
        session.query_drop(statement).await.unwrap();
    }
    let told: Option<(String, u32, String)> =
        session.query_first("SELECT host_ip(), connection_id(), @@ob_compatibility_mode AS mode").await.unwrap();
    assert_eq!(told, Some(("192.168.13.119".into(), session.id(), "MYSQL".into())));
    let lead: Option<f64> = session.query_first("SELECT UNIX_TIMESTAMP(SYSDATE(6))").await.unwrap();
    assert!((lead.unwrap() - jiff::Timestamp::now().as_duration().as_secs_f64()).abs() < 5.0);
    let grants: Vec<String> = session.query("SHOW GRANTS").await.unwrap();
    assert_eq!(grants, ["GRANT PROCESS, SUPER ON *.* TO 'sessionkill'"]);
    let cluster: Row = session.query_first("SHOW PARAMETERS LIKE 'cluster'").await.unwrap().unwrap();
    assert_eq!(cluster.get::<String, _>("value").unwrap(), "obcluster");
    let tenant: Option<String> = session.query_first("SHOW TENANT").await.unwrap();
    assert_eq!(tenant.unwrap(), "sys");
    let tenants: Option<(String, String)> =
        session.query_first("SELECT TENANT_NAME, COMPATIBILITY_MODE FROM oceanbase.DBA_OB_TENANTS").await.unwrap();
    assert_eq!(tenants, Some(("sys".into(), "MYSQL".into())));
    assert_eq!(refusal(&mut session, "SELECT proxy_version()").await.0, 1305);
    assert_eq!(refusal(&mut session, "SELECT @@nothing").await.0, 1193);
    assert_eq!(refusal(&mut session, "SELECT * FROM oceanbase.V$OB_PROCESSLIST").await.0, 1146);
    assert_eq!(refusal(&mut session, "DROP TABLE test.kept").await.0, 1064);
    assert_eq!(code(&session.prep("SELECT ?").await.unwrap_err()), 1047);
}

#[tokio::test]
async fn the_list_has_the_columns_of_its_kernel_and_the_own_session() {
    let running = Session::new(ID).running("select sleep(100)").with("PROXY_SESSID", "77").without("DB");
    for kernel in [Kernel::V4_0, Kernel::V4_2_3, Kernel::V4_3_5, Kernel::Seekdb] {
        let cluster = Cluster::new(kernel, vec![running.clone()]);
        let server = SqlServer::start(SqlServerOptions { cluster, ..SqlServerOptions::default() }).await.unwrap();
        let mut session = connect(&server).await;
        let list = format!("SELECT /*+ query_timeout(5000000) */ * FROM oceanbase.{}", kernel.view());
        let rows: Vec<Row> = session.query(&list).await.unwrap();
        let columns: Vec<_> = rows[0].columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
        assert_eq!(columns, kernel.columns());
        assert_eq!(columns.contains(&"SVR_IP".to_owned()), kernel != Kernel::Seekdb);
        let is_new = matches!(kernel, Kernel::V4_3_5 | Kernel::Seekdb);
        assert_eq!(columns.contains(&"USER_CLIENT_PORT".to_owned()), is_new);
        assert_eq!(rows[0].get::<String, _>("INFO").unwrap(), "select sleep(100)");
        assert_eq!(rows[0].get::<Value, _>("DB").unwrap(), Value::NULL);
        let own = format!("SELECT ID, user AS name FROM {} WHERE ID = CONNECTION_ID()", kernel.view());
        let own: Vec<(u32, String)> = session.query(own).await.unwrap();
        assert_eq!(own, [(session.id(), "killer".into())]);
        assert_eq!(rows[1].get::<u32, _>("ID").unwrap(), session.id());
        assert_eq!(rows[1].get::<String, _>("USER").unwrap(), "killer");
        session.disconnect().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_of_each_server_is_listed_on_demand() {
    let server = start().await;
    server.change(|cluster| cluster.sessions.push(Session::new(7).with("SVR_IP", "192.168.13.120")));
    let mut session = connect(&server).await;
    let some = format!(
        "SELECT * FROM (SELECT P.*, ROW_NUMBER() OVER (PARTITION BY SVR_IP) AS N FROM oceanbase.GV$OB_PROCESSLIST P) Q \
         WHERE N = 1 OR ID IN ({OTHER}, 1)"
    );
    let rows: Vec<Row> = session.query(some).await.unwrap();
    let ids: Vec<u32> = rows.iter().map(|row| row.get("ID").unwrap()).collect();
    assert_eq!(ids, [ID, OTHER, 7]);
}

#[tokio::test]
async fn a_kill_ends_the_session_once_and_nothing_behind_a_fence() {
    let server = start().await;
    let mut session = connect(&server).await;
    let (past, future) = (seconds_from_now(-1), seconds_from_now(60));
    let unknown = |id: u32| (1094, format!("Unknown thread id: {id}"));
    let fenced = |limit: i64, target: &str| format!("KILL IF(UNIX_TIMESTAMP(SYSDATE(6)) < {limit}, {target}, 0)");
    assert_eq!(refusal(&mut session, &fenced(1, "4294967295")).await, unknown(0));
    assert_eq!(refusal(&mut session, &fenced(past, &ID.to_string())).await, unknown(0));
    assert_eq!(refusal(&mut session, &fenced(future, "4294967295")).await, unknown(u32::MAX));
    assert_eq!(refusal(&mut session, "KILL 1").await, unknown(1));
    assert!(server.has_session(ID));

    let compare = |id: u32| {
        format!(
            "SELECT @K := (SELECT ID FROM oceanbase.GV$OB_PROCESSLIST WHERE ID = {id} AND SQL_ID = '' AND USER='app')"
        )
    };
    let decided: Option<Option<u32>> = session.query_first(compare(ID)).await.unwrap();
    assert_eq!(decided, Some(Some(ID)));
    session.query_drop(fenced(future, "@k")).await.unwrap();
    assert!(!server.has_session(ID) && server.has_session(OTHER));
    let decided: Option<Option<u32>> = session.query_first(compare(ID)).await.unwrap();
    assert_eq!(decided, Some(None));
    assert_eq!(refusal(&mut session, &fenced(future, "@k")).await, unknown(0));

    session.query_drop(format!("KILL QUERY {OTHER}")).await.unwrap();
    assert!(server.has_session(OTHER));
    server.change(|cluster| cluster.lead = SignedDuration::from_secs(120));
    assert_eq!(refusal(&mut session, &fenced(future, &OTHER.to_string())).await, unknown(0), "by the server's clock");
    server.change(|cluster| cluster.keeps_killed = true);
    session.query_drop(format!("KILL {}", u64::from(OTHER) + (1 << 32))).await.unwrap();
    let state: Option<String> =
        session.query_first(format!("SELECT STATE FROM oceanbase.GV$OB_PROCESSLIST WHERE ID = {OTHER}")).await.unwrap();
    assert_eq!(state.unwrap(), "SESSION_KILLED", "32 bits count");
    assert_eq!(server.kills().len(), 9);
    assert!(server.statements().iter().all(|statement| statement.connection == 0));
}

#[tokio::test]
async fn a_killed_connection_is_closed() {
    let server = start().await;
    let (mut session, mut victim) = (connect(&server).await, connect(&server).await);
    session.query_drop(format!("KILL {}", victim.id())).await.unwrap();
    assert!(!matches!(victim.query_drop("SELECT 1").await.unwrap_err(), Error::Server(_)));
    server.close_connections();
    assert!(!matches!(session.query_drop("SELECT 1").await.unwrap_err(), Error::Server(_)));
    connect(&server).await.query_drop("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_password_is_checked_and_never_comes_in_clear() {
    let server = start().await;
    connect(&server).await;
    assert_eq!(code(&connect_with(&server, "wrong").await.unwrap_err()), 1045);
    let [right, wrong] = server.logins().try_into().unwrap();
    assert!(right.accepted && !wrong.accepted);
    assert!(!right.tls);
    assert_eq!((right.user.as_str(), right.plugin.as_deref()), (USER, Some("mysql_native_password")));
    assert_eq!(right.auth.len(), 20);
    let has = |login: &Login, text: &str| login.clear.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has(&right, USER) && !has(&right, PASSWORD));
}

/// An answer and whether the session was ended. `None` means no answer in time.
async fn kill_with(reply: Reply) -> (Option<Result<(), Error>>, bool) {
    let server = start().await;
    let mut session = connect(&server).await;
    server.set_rule(Rule::new("kill", reply));
    let answer = timeout(PATIENCE, session.query_drop(format!("KILL {ID}"))).await.ok();
    (answer, !server.has_session(ID))
}

#[tokio::test]
async fn a_rule_decides_what_is_answered_and_whether_it_is_executed() {
    let refused = Reply::Err(SqlError::new(1095, "HY000", "You are not owner of thread 5"));
    let (answer, ended) = kill_with(refused).await;
    assert!(code(&answer.unwrap().unwrap_err()) == 1095 && !ended);
    let (answer, ended) = kill_with(Reply::Ok).await;
    assert!(answer.unwrap().is_ok() && !ended);
    let rows = Reply::Rows(Table::new(&["a"], &[&["1"]]));
    let (answer, ended) = kill_with(rows).await;
    assert!(answer.unwrap().is_ok() && !ended);
    for (reply, is_ended) in [(Reply::Close, false), (Reply::CloseAfterExecuting, true), (Reply::Cut(5), true)] {
        let (answer, ended) = kill_with(reply.clone()).await;
        assert!(!matches!(answer.unwrap().unwrap_err(), Error::Server(_)), "{reply:?}");
        assert_eq!(ended, is_ended, "{reply:?}");
    }
    for (reply, is_ended) in [(Reply::Hang, false), (Reply::HangAfterExecuting, true), (Reply::Late(LIMIT), false)] {
        let (answer, ended) = kill_with(reply.clone()).await;
        assert!(answer.is_none() && ended == is_ended, "{reply:?}");
    }
    for reply in [Reply::Garbage(vec![0xfe, 1, 2, 3]), Reply::Raw(vec![0xff; 64])] {
        let (answer, ended) = kill_with(reply.clone()).await;
        assert!(answer.is_none_or(|answer| answer.is_err()) && !ended, "{reply:?}");
    }
}

#[tokio::test]
async fn a_rule_may_leave_out_the_first_and_hold_for_a_few() {
    let server = start().await;
    let mut session = connect(&server).await;
    server.set_rule(Rule::new("SELECT", Reply::Err(SqlError::syntax("x"))).after(1).times(1));
    let mut answers = vec![];
    for _ in 0..3 {
        answers.push(session.query_drop("select 1").await.is_ok());
    }
    assert_eq!(answers, [true, false, true]);
    server.set_rule(Rule::new("select 2", Reply::Err(SqlError::syntax("x"))));
    assert_eq!(refusal(&mut session, "SELECT 2").await.0, 1064);
    server.clear_rules();
    session.query_drop("SELECT 2").await.unwrap();
}

#[tokio::test]
async fn an_answer_may_come_byte_by_byte() {
    let server = start().await;
    let mut session = connect(&server).await;
    server.set_rule(Rule::new("GRANTS", Reply::Drip { bytes: 1, pause: Duration::from_millis(2) }));
    let began = Instant::now();
    let grants: Vec<String> = session.query("SHOW GRANTS").await.unwrap();
    assert_eq!(grants.len(), 1);
    assert!(began.elapsed() > PATIENCE);
}

#[tokio::test]
async fn a_huge_answer_does_not_end_and_a_client_may_go_away() {
    let server = start().await;
    let mut session = connect(&server).await;
    let id = session.id();
    server.set_rule(Rule::new("GRANTS", Reply::Huge));
    let answer = timeout(PATIENCE, session.query_drop("SHOW GRANTS")).await;
    assert!(answer.is_err() || answer.unwrap().is_err());
    drop(session);
    timeout(LIMIT, async {
        while server.has_session(id) {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_client_that_gives_files_away_is_noticed() {
    let server = start().await;
    let mut session = connect(&server).await;
    server.set_rule(Rule::new("GRANTS", Reply::LocalInfile("/etc/hostname".into())));
    let answer = timeout(PATIENCE, session.query_drop("SHOW GRANTS")).await;
    assert!(answer.is_err() || answer.unwrap().is_err(), "this client has no file to give");
    assert!(server.files().iter().all(Vec::is_empty));
}

#[tokio::test]
async fn a_server_may_refuse_before_and_after_the_login() {
    let server = start().await;
    for state in ["08004", ""] {
        server.greet(Greeting::Refuse(SqlError::new(1040, state, "Too many connections")));
        assert_eq!(code(&connect_with(&server, PASSWORD).await.unwrap_err()), 1040);
    }
    assert!(server.logins().iter().all(|login| login.clear.is_empty() && login.user.is_empty()));
    server.greet(Greeting::RefuseLogin(SqlError::new(3118, "HY000", "User locked")));
    assert_eq!(code(&connect_with(&server, PASSWORD).await.unwrap_err()), 3118);
    server.greet(Greeting::Close);
    assert!(!matches!(connect_with(&server, PASSWORD).await.unwrap_err(), Error::Server(_)));
    server.greet(Greeting::NotMysql);
    assert!(!matches!(timeout(PATIENCE, connect_with(&server, PASSWORD)).await, Ok(Ok(_) | Err(Error::Server(_)))));
    server.greet(Greeting::Raw(vec![1, 0, 0, 0, 9]));
    assert!(!matches!(timeout(PATIENCE, connect_with(&server, PASSWORD)).await, Ok(Ok(_) | Err(Error::Server(_)))));
    server.greet(Greeting::Silent);
    assert!(timeout(PATIENCE, connect_with(&server, PASSWORD)).await.is_err());
    server.greet(Greeting::Late(PATIENCE));
    connect(&server).await;
    server.greet(Greeting::Normal);
    connect(&server).await;
}

#[tokio::test]
async fn what_a_client_says_to_a_server_that_asks_for_the_password_is_recorded() {
    let server = start().await;
    server.greet(Greeting::AuthSwitch("mysql_native_password".into()));
    connect(&server).await;
    server.greet(Greeting::AuthSwitch("mysql_clear_password".into()));
    assert!(connect_with(&server, PASSWORD).await.is_err(), "this client refuses");
    server.greet(Greeting::AuthSwitch("caching_sha2_password".into()));
    assert!(connect_with(&server, PASSWORD).await.is_err(), "there is no public key");
    server.greet(Greeting::Plugin("caching_sha2_password".into()));
    assert!(connect_with(&server, PASSWORD).await.is_err());
    let [native, clear, switched, named] = server.logins().try_into().unwrap();
    assert!(native.accepted && native.more_auth[0].len() == 20);
    assert!(clear.more_auth.is_empty());
    assert_eq!(switched.more_auth.iter().map(Vec::len).collect::<Vec<_>>(), [32, 1], "a proof, then for the key");
    assert_eq!(named.plugin.as_deref(), Some("caching_sha2_password"));
    assert_eq!(named.more_auth.iter().map(Vec::len).collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_login_with_tls_shows_nothing_in_clear() {
    let certificate = ServerCertificate::issue().unwrap();
    let server = start().await;
    server.offer_tls(Some(&certificate)).unwrap();
    assert_eq!(log_in_with_tls(&server, &certificate.ca).await.unwrap()[0], 0xff, "no password");
    let login = server.logins().remove(0);
    assert!(login.tls && login.user == USER && login.auth.is_empty());
    assert_eq!(login.clear.len(), 36, "the demand for TLS alone");

    let stranger = ServerCertificate::issue().unwrap();
    log_in_with_tls(&server, &stranger.ca).await.unwrap_err();
    server.greet(Greeting::BreakTls);
    log_in_with_tls(&server, &certificate.ca).await.unwrap_err();
    assert!(server.logins()[1..].iter().all(|login| login.user.is_empty() && !login.tls));
    server.greet(Greeting::Normal);
    server.offer_tls(None).unwrap();
    connect(&server).await;
}

/// Logs in with the least that the protocol takes. The answer.
async fn log_in_with_tls(server: &SqlServer, authority: &str) -> std::io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut stream = TcpStream::connect(server.address()).await?;
    let greeting = usize::try_from(stream.read_u32_le().await?).unwrap();
    let mut packet = vec![0; greeting];
    stream.read_exact(&mut packet).await?;
    let mut login = 0x0000_8a00_u32.to_le_bytes().to_vec();
    login.extend([0, 0, 0, 1, 45]);
    login.extend([0; 23]);
    stream.write_all(&[&[32, 0, 0, 1], login.as_slice()].concat()).await?;
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(ServerName::try_from(DNS_NAME).unwrap(), stream).await?;
    login.extend(USER.as_bytes());
    login.extend([0, 0]);
    stream.write_all(&[&[u8::try_from(login.len()).unwrap(), 0, 0, 2], login.as_slice()].concat()).await?;
    let length = usize::try_from(stream.read_u32_le().await? & 0xff_ffff).unwrap();
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
