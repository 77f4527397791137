//! Statements and their answers.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::peer::{COLUMN, END, OK, Peer, connected, later};
use crate::sql::wire::{Connection, QueryError};

fn lost(result: Result<usize, QueryError>) -> String {
    match result {
        Err(QueryError::Lost(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The error of a statement that `script` answers. The connection is not used again.
async fn lost_by<F>(script: impl FnOnce(Peer) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send,
{
    let (mut connection, server) = connected(async |mut peer| {
        assert_eq!(peer.statement().await, "select 1");
        script(peer).await;
    })
    .await;
    let text = lost(connection.query("select 1", later(), |_| ()).await);
    assert!(!connection.is_usable());
    assert_not_sent(&mut connection).await;
    drop(connection);
    server.await.unwrap();
    text
}

async fn assert_not_sent(connection: &mut Connection) {
    assert!(matches!(connection.query("kill 1", later(), |_| ()).await, Err(QueryError::NotWritten(_))));
}

#[tokio::test]
async fn rows_are_read_one_after_the_other() {
    let (mut connection, server) = connected(async |mut peer| {
        assert_eq!(peer.statement().await, "select 1");
        peer.send_rows(&["ID", "Info"], &[&[Some("7"), None], &[Some("8"), Some("select 'é'")]]).await;
        assert_eq!(peer.statement().await, "select 2");
        peer.send_rows(&["ID"], &[]).await;
        assert_eq!(peer.statement().await, "set names x");
        peer.send(OK).await;
        peer.hears_nothing_more().await;
    })
    .await;
    let mut read = vec![];
    let each = |row: &crate::sql::wire::Row<'_>| {
        let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8(value.to_vec()).unwrap());
        read.push((row.get("id").map(text), row.get("INFO").map(text), row.get("Host").map(text)));
    };
    assert_eq!(connection.query("select 1", later(), each).await, Ok(2));
    let some = |text: &str| Some(Some(text.to_owned()));
    assert_eq!(read, [(some("7"), Some(None), None), (some("8"), some("select 'é'"), None)]);
    assert_eq!(connection.query("select 2", later(), |_| panic!()).await, Ok(0));
    assert_eq!(connection.query("set names x", later(), |_| panic!()).await, Ok(0));
    assert!(connection.is_usable());
    drop(connection);
    server.await.unwrap();
}

#[tokio::test]
async fn an_error_is_a_complete_answer() {
    let (mut connection, server) = connected(async |mut peer| {
        peer.statement().await;
        peer.send(b"\xff\x46\x04#HY000Unknown thread id: 0").await;
        peer.statement().await;
        peer.send(b"\x01").await;
        peer.send(COLUMN).await;
        peer.send(END).await;
        peer.send(b"\x011").await;
        peer.send(b"\xff\x25\x05#70100interrupted").await;
        peer.statement().await;
        peer.send(OK).await;
    })
    .await;
    let Err(QueryError::Server(error)) = connection.query("kill 0", later(), |_| ()).await else { panic!() };
    assert_eq!(error.to_string(), "1094 HY000: Unknown thread id: 0");
    let mut seen = 0;
    let Err(QueryError::Server(error)) = connection.query("select", later(), |_| seen += 1).await else { panic!() };
    assert_eq!((error.code, seen), (1317, 1));
    assert_eq!(connection.query("select", later(), |_| ()).await, Ok(0));
    server.await.unwrap();
}

#[tokio::test]
async fn a_request_for_a_file_gets_none() {
    let text = lost_by(async |mut peer| {
        peer.send(b"\xfb/var/run/secrets/kubernetes.io/serviceaccount/token").await;
        peer.hears_nothing_more().await;
    });
    assert_eq!(text.await, "the server sent a request for a file");
}

#[tokio::test]
async fn an_answer_that_is_cut_is_lost() {
    let closed = "the server closed the connection";
    assert_eq!(lost_by(async |peer| drop(peer)).await, closed);
    let cut = lost_by(async |mut peer| {
        peer.send(b"\x01").await;
        peer.send(COLUMN).await;
        peer.send(END).await;
        peer.send(b"\x011").await;
        peer.stream.write_all(b"\x05\0\0\x05\xfe\0\0").await.unwrap();
    });
    assert_eq!(cut.await, closed);
}

#[tokio::test]
async fn an_answer_that_is_malformed_or_too_large_is_lost() {
    let answers: [&[u8]; 9] = [
        b"\0\0\0\x01",
        b"\x01\0\0\x02\0",
        b"\xff\xff\xff\x01",
        b"\x01\0\x10\x01",
        b"\x03\0\0\x01\xfc\xff\xff",
        b"\x07\0\0\x01\0\0\0\x0a\0\0\0",
        b"\x01\0\0\x01\x01\x01\0\0\x02a",
        b"\x01\0\0\x01\xff",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ];
    for answer in answers {
        lost_by(async move |mut peer| {
            peer.stream.write_all(answer).await.unwrap();
            peer.hears_nothing_more().await;
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_lost() {
    let text = lost_by(async |mut peer| {
        peer.send(b"\x01").await;
        peer.send(COLUMN).await;
        peer.send(END).await;
        loop {
            let piece = (0..1000).flat_map(|_| peer.packet(b"\x011")).collect::<Vec<_>>();
            if peer.stream.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    assert_eq!(text.await, "the server sent more than 200000 rows or 64 MiB");
}

#[tokio::test]
async fn a_slow_drip_is_lost_at_the_deadline() {
    let (mut connection, server) = connected(async |mut peer| {
        peer.statement().await;
        for byte in OK.iter().cycle() {
            if peer.stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let deadline = Instant::now() + Duration::from_millis(50);
    assert_eq!(lost(connection.query("select 1", deadline, |_| ()).await), "no complete answer before the deadline");
    assert!(!connection.is_usable());
    server.abort();
}

#[tokio::test]
async fn a_statement_after_its_deadline_is_not_sent() {
    let (mut connection, server) = connected(async |mut peer| {
        assert_eq!(peer.statement().await, "select 1");
        peer.send(OK).await;
    })
    .await;
    let late = connection.query("kill 1", Instant::now(), |_| ()).await;
    assert_eq!(late, Err(QueryError::NotWritten("the deadline passed".to_owned())));
    let long = "x".repeat(1 << 20);
    assert!(matches!(connection.query(&long, later(), |_| ()).await, Err(QueryError::NotWritten(_))));
    assert_eq!(connection.query("select 1", later(), |_| ()).await, Ok(0));
    server.await.unwrap();
}

#[tokio::test]
async fn a_cancelled_statement_leaves_a_connection_that_is_not_used_again() {
    let (mut connection, server) = connected(async |mut peer| {
        peer.statement().await;
        peer.hears_nothing_more().await;
    })
    .await;
    let cancelled = tokio::time::timeout(Duration::from_millis(50), connection.query("select 1", later(), |_| ()));
    assert!(cancelled.await.is_err() && !connection.is_usable());
    assert_not_sent(&mut connection).await;
    drop(connection);
    server.await.unwrap();
}

#[tokio::test]
async fn nothing_is_sent_on_a_connection_that_the_server_has_closed() {
    let (mut connection, server) = connected(async |peer| drop(peer)).await;
    server.await.unwrap();
    let closed = connection.query("kill 1", later(), |_| ()).await;
    assert_eq!(closed, Err(QueryError::NotWritten("the server closed the connection".to_owned())));
    assert!(!connection.is_usable());
}

#[tokio::test]
async fn an_answer_in_advance_is_not_taken_for_that_of_the_next_statement() {
    let (mut connection, server) = connected(async |mut peer| {
        peer.statement().await;
        let first = peer.packet(OK);
        peer.stream.write_all(&[first, b"\x07\0\0\x01\0\0\0\x02\0\0\0".to_vec()].concat()).await.unwrap();
        peer.hears_nothing_more().await;
    })
    .await;
    assert_eq!(connection.query("select 1", later(), |_| ()).await, Ok(0));
    assert_not_sent(&mut connection).await;
    drop(connection);
    server.await.unwrap();

    let (sent, wait) = tokio::sync::oneshot::channel();
    let (mut connection, server) = connected(async |mut peer| {
        peer.stream.write_all(b"\x07\0\0\x01\0\0\0\x02\0\0\0").await.unwrap();
        sent.send(()).unwrap();
        peer.hears_nothing_more().await;
    })
    .await;
    wait.await.unwrap();
    assert_not_sent(&mut connection).await;
    drop(connection);
    server.await.unwrap();
}

#[test]
fn a_query_may_run_on_any_thread() {
    fn is_send(_: impl Send) {}
    let _ = |connection: &'static mut Connection| is_send(connection.query("", later(), |_| ()));
    let _ = |address: &'static crate::sql::wire::Address, login: &'static crate::sql::wire::Login| {
        is_send(Connection::open(address, login, later()));
    };
}
