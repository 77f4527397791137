//! What the product relies on in an `OceanBase` engine, tried on the real one.

// Clippy takes only functions marked as tests for tests, not what they share.
#![allow(clippy::unwrap_used)]

use std::{net::Ipv4Addr, time::Duration};

use mysql_async::{Conn, Error, Row, prelude::Queryable};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use testbed::{
    oceanbase::Engine,
    scratch,
    server_certificate::{DNS_NAME, ServerCertificate},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::TlsConnector;

const LIMIT: Duration = Duration::from_mins(1);
const LIST: &str =
    "select user, db, command, state, user_client_ip, info, sql_id, time from oceanbase.V$OB_PROCESSLIST";

#[tokio::test]
async fn a_session_is_listed_with_what_identifies_it() {
    let directory = scratch::directory().unwrap();
    let engine = Engine::start(directory.path()).await.unwrap();
    let mut operator = engine.connect().await.unwrap();
    operator.query_drop("create user report_ro").await.unwrap();
    operator.query_drop("grant all on test.* to report_ro").await.unwrap();

    let options = engine.options().user(Some("report_ro")).db_name(Some("test"));
    let mut session = Conn::new(options).await.unwrap();
    let id = engine.session_id(&mut session).await.unwrap();
    let statement = tokio::spawn(async move { session.query_drop("select sleep(1000)").await });

    let row = timeout(LIMIT, async {
        loop {
            let row: Option<Row> = operator.exec_first(format!("{LIST} where id = ?"), (id,)).await.unwrap();
            let row = row.expect("the session is listed as long as it lives");
            let text = |column: &str| row.get::<Option<String>, _>(column).flatten().unwrap_or_default();
            // The engine shows a statement a moment before it has found its ID.
            if text("info").contains("sleep") && !text("sql_id").is_empty() {
                break row;
            }
        }
    })
    .await
    .unwrap();
    let text = |column: &str| row.get::<String, _>(column).unwrap();
    assert_eq!(text("user"), "report_ro");
    assert_eq!(text("db"), "test");
    assert_eq!(text("command"), "Query");
    assert_eq!(text("state"), "ACTIVE");
    assert_eq!(text("user_client_ip"), "127.0.0.1");
    assert_eq!(text("info"), "select sleep(1000)");
    assert_eq!(text("sql_id").len(), 32);
    assert!(row.get::<f64, _>("time").unwrap() < 1000.0);
    statement.abort();
}

#[tokio::test]
async fn kill_ends_a_session_once() {
    let directory = scratch::directory().unwrap();
    let engine = Engine::start(directory.path()).await.unwrap();
    let mut operator = engine.connect().await.unwrap();
    let mut session = engine.connect().await.unwrap();
    let id = engine.session_id(&mut session).await.unwrap();

    operator.query_drop(format!("kill {id}")).await.unwrap();
    let lost = session.query_drop("select 1").await.unwrap_err();
    assert!(!matches!(lost, Error::Server(_)), "the connection is closed, not refused: {lost:?}");

    timeout(LIMIT, async {
        let mut listed = Some(id);
        while listed.is_some() {
            listed =
                operator.exec_first("select id from oceanbase.V$OB_PROCESSLIST where id = ?", (id,)).await.unwrap();
        }
    })
    .await
    .unwrap();
    let unknown = operator.query_drop(format!("kill {id}")).await.unwrap_err();
    assert!(matches!(&unknown, Error::Server(error) if error.code == 1094), "{unknown:?}");
}

#[tokio::test]
async fn session_ids_start_low_again_after_a_restart_and_data_stays() {
    let directory = scratch::directory().unwrap();
    let engine = Engine::start(directory.path()).await.unwrap();
    let mut before = engine.connect().await.unwrap();
    before.query_drop("create table test.kept (id int)").await.unwrap();
    let mut highest = 0;
    while highest < 1_000 {
        let mut session = engine.connect().await.unwrap();
        highest = engine.session_id(&mut session).await.unwrap();
        session.disconnect().await.unwrap();
    }

    engine.restart().await.unwrap();
    assert!(before.query_drop("select 1").await.is_err());
    let mut after = engine.connect().await.unwrap();
    after.query_drop("insert into test.kept values (1)").await.unwrap();
    assert!(engine.session_id(&mut after).await.unwrap() < highest, "the ids of the dead are given out again");
}

/// The second address stands for any other machine: the engine cannot be made to listen on one address only.
#[tokio::test]
async fn only_this_machine_can_log_in() {
    let directory = scratch::directory().unwrap();
    let engine = Engine::start(directory.path()).await.unwrap();
    assert_eq!(log_in([127, 0, 0, 1], engine.port()).await.unwrap(), 0x00, "accepted");
    assert_eq!(log_in([127, 0, 0, 2], engine.port()).await.unwrap(), 0xff, "refused");
}

#[tokio::test]
async fn the_engine_speaks_tls_with_a_certificate_that_can_be_checked_and_plain_too() {
    let directory = scratch::directory().unwrap();
    let engine = Engine::start_secure(directory.path()).await.unwrap();
    engine.connect().await.expect("plain");
    let authority = engine.ca_pem().expect("it has TLS");
    for name in ["localhost", "127.0.0.1", DNS_NAME] {
        assert_eq!(log_in_with_tls(engine.port(), authority, name).await.unwrap(), 0x00, "{name}");
    }
    let refused = log_in_with_tls(engine.port(), authority, "other.example").await.unwrap_err();
    assert!(refused.to_string().contains("other.example"), "{refused}");
    let stranger = ServerCertificate::issue().unwrap();
    assert!(log_in_with_tls(engine.port(), &stranger.ca, DNS_NAME).await.is_err());

    engine.restart().await.unwrap();
    assert_eq!(log_in_with_tls(engine.port(), authority, DNS_NAME).await.unwrap(), 0x00, "after a restart");
}

#[tokio::test]
async fn the_log_names_each_session_that_was_ended_and_no_other() {
    let directory = scratch::directory().unwrap();
    let engine = Engine::start(directory.path()).await.unwrap();
    let mut operator = engine.connect().await.unwrap();
    let mut victims = vec![];
    for _ in 0..20 {
        let mut victim = engine.connect().await.unwrap();
        let id = engine.session_id(&mut victim).await.unwrap();
        victims.push(victim);
        operator.query_drop(format!("KILL {id}")).await.unwrap();
        assert_eq!(engine.executed_kills().unwrap().last(), Some(&id), "at once after the answer");
    }
    let ended = engine.executed_kills().unwrap();
    assert_eq!(ended.len(), 20);

    let mut spared = engine.connect().await.unwrap();
    let id = engine.session_id(&mut spared).await.unwrap();
    let refused = [
        format!("KILL {}", ended[0]),
        "KILL IF(UNIX_TIMESTAMP(SYSDATE(6)) < 1, 4294967295, 0)".to_owned(),
        format!("KILL IF(UNIX_TIMESTAMP(SYSDATE(6)) < 1, {id}, 0)"),
    ];
    for statement in &refused {
        operator.query_drop(statement).await.unwrap_err();
    }
    operator.query_drop(format!("KILL QUERY {id}")).await.unwrap();
    operator.query_drop(format!("SELECT 'KILL {id}'")).await.unwrap();
    spared.query_drop("select 1").await.unwrap();

    let seen = engine.witness().unwrap();
    assert_eq!(seen.ended, ended);
    assert_eq!(seen.interrupted, [id]);
    let refusals: Vec<_> = seen.statements.iter().filter(|statement| statement.is_unknown_thread()).collect();
    assert!(refusals.iter().map(|statement| &statement.text).eq(&refused), "{refusals:?}");
    let last = seen.statements.last().unwrap();
    assert!(last.is_ok() && last.text == format!("KILL QUERY {id}"), "{last:?}");

    engine.restart().await.unwrap();
    assert_eq!(engine.witness().unwrap(), seen, "a crash loses nothing");
}

#[tokio::test]
async fn a_user_has_its_password_and_its_rights() {
    let directory = scratch::directory().unwrap();
    let engine = Engine::start(directory.path()).await.unwrap();
    let password = r"it's \ a, password";
    for password in ["before", password] {
        engine.create_user("killer", password, &["PROCESS, SUPER ON *.*", "SELECT ON oceanbase.*"]).await.unwrap();
    }
    let log_in = |password: &str| Conn::new(engine.options().user(Some("killer")).pass(Some(password)));
    let mut session = log_in(password).await.unwrap();
    let grants: Vec<String> = session.query("SHOW GRANTS").await.unwrap();
    assert_eq!(grants, ["GRANT SUPER, PROCESS ON *.* TO 'killer'", "GRANT SELECT ON `oceanbase`.* TO 'killer'"]);
    session.query_drop(LIST).await.unwrap();
    let wrong = log_in("before").await.unwrap_err();
    assert!(matches!(&wrong, Error::Server(error) if error.code == 1045), "{wrong:?}");
}

/// Logs `root` in from the given address; the first byte of the answer.
async fn log_in(from: [u8; 4], port: u16) -> std::io::Result<u8> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::from(from), 0).into())?;
    let mut stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    receive(&mut stream).await?;
    answer(&mut stream, 1, 0).await
}

/// The same with TLS, trusting `authority` and asking for the name `name`.
async fn log_in_with_tls(port: u16, authority: &str, name: &'static str) -> std::io::Result<u8> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    receive(&mut stream).await?;
    send(&mut stream, 1, &login(USE_TLS)).await?;
    let connector = TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(ServerName::try_from(name).unwrap(), stream).await?;
    answer(&mut stream, 2, USE_TLS).await
}

const USE_TLS: u32 = 0x0000_0800;

/// The least that the protocol takes before the user's name.
fn login(more_capabilities: u32) -> Vec<u8> {
    let capabilities: u32 = 0x0000_0200 | 0x0000_8000 | more_capabilities; // protocol 4.1, secure connection
    let mut body = capabilities.to_le_bytes().to_vec();
    body.extend(0x0100_0000_u32.to_le_bytes());
    body.push(45);
    body.extend([0; 23]);
    body
}

async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), number: u32, more: u32) -> std::io::Result<u8> {
    send(stream, number, &[login(more).as_slice(), b"root\0\0"].concat()).await?;
    Ok(receive(stream).await?[0])
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), number: u32, body: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(body.len()).unwrap_or_default();
    stream.write_u32_le(length | number << 24).await?;
    stream.write_all(body).await
}

async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let header = stream.read_u32_le().await?;
    let mut body = vec![0; usize::try_from(header & 0x00ff_ffff).unwrap_or_default()];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
