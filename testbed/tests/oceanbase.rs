//! What the product relies on in an `OceanBase` engine, tried on the real one.

use std::{net::Ipv4Addr, time::Duration};

use mysql_async::{Conn, Error, Row, prelude::Queryable};
use testbed::{oceanbase::Engine, scratch};
use tokio::time::timeout;

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

/// Logs `root` in from the given address with the least that the protocol takes; the first byte of the answer.
async fn log_in(from: [u8; 4], port: u16) -> std::io::Result<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn packet(stream: &mut tokio::net::TcpStream) -> std::io::Result<Vec<u8>> {
        let header = stream.read_u32_le().await?;
        let mut body = vec![0; usize::try_from(header & 0x00ff_ffff).unwrap_or_default()];
        stream.read_exact(&mut body).await?;
        Ok(body)
    }

    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::from(from), 0).into())?;
    let mut stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    packet(&mut stream).await?;
    let capabilities: u32 = 0x0000_0200 | 0x0000_8000; // protocol 4.1, secure connection
    let mut body = capabilities.to_le_bytes().to_vec();
    body.extend(0x0100_0000_u32.to_le_bytes());
    body.push(45);
    body.extend([0; 23]);
    body.extend(b"root\0\0");
    let length = u32::try_from(body.len()).unwrap_or_default();
    stream.write_u32_le(length | 1 << 24).await?;
    stream.write_all(&body).await?;
    Ok(packet(&mut stream).await?[0])
}
