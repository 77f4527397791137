//! The client of the MySQL protocol: what the engine answers to it.

use std::{net::SocketAddr, time::Duration};

use sessionkill::backends::sql::wire::{Address, Connection, Login, OpenError, QueryError, ServerError, Tls};
use testbed::oceanbase::Engine;
use tokio::time::Instant;

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_mins(1);

async fn open(engine: &Engine, user: &str, password: &str) -> Result<Connection, OpenError> {
    let addresses = vec![SocketAddr::from(([127, 0, 0, 1], engine.port()))];
    let login = Login { user: user.to_owned(), password: password.into() };
    Connection::open(&Address { addresses, tls: Tls::Disabled }, &login, Instant::now() + LIMIT).await
}

/// The values of one column.
async fn column(connection: &mut Connection, statement: &str, name: &str) -> Vec<Option<String>> {
    let mut values = vec![];
    let rows = connection
        .query(statement, Instant::now() + LIMIT, |row| {
            let value = row.get(name).expect("there is such a column");
            values.push(value.map(|value| String::from_utf8(value.to_vec()).unwrap()));
        })
        .await
        .unwrap();
    assert_eq!(rows, values.len());
    values
}

async fn run(connection: &mut Connection, statement: &str) -> Result<usize, QueryError> {
    connection.query(statement, Instant::now() + LIMIT, |_| ()).await
}

fn code(result: Result<usize, QueryError>) -> u16 {
    match result {
        Err(QueryError::Server(ServerError { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

fn refusal(opened: Result<Connection, OpenError>) -> u16 {
    match opened {
        Err(OpenError::Refused(ServerError { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

/// One test, as one engine serves all of it.
#[tokio::test]
async fn the_engine_answers_each_statement_and_refuses_each_wrong_login() {
    let directory = testbed::scratch::directory().unwrap();
    let engine = Engine::start(directory.path()).await.unwrap();

    let mut root = open(&engine, "root", "").await.unwrap();
    // The version of MySQL whose protocol it speaks.
    assert_eq!(root.server_version(), "5.7.25");
    assert_eq!(column(&mut root, "select connection_id() as id", "ID").await, [Some(root.id().to_string())]);
    assert_eq!(run(&mut root, "create user killer identified by 'it''s secret'").await, Ok(0));
    assert_eq!(code(run(&mut root, "kil 1").await), 1064);
    assert!(root.is_usable());

    let killer = open(&engine, "killer", "it's secret").await.unwrap();
    for (user, password) in [("killer", "it's secret "), ("killer", ""), ("root", "x"), ("nobody", "")] {
        assert_eq!(refusal(open(&engine, user, password).await), 1045, "{user}");
    }

    let list = format!("select * from oceanbase.V$OB_PROCESSLIST where ID = {}", killer.id());
    assert_eq!(column(&mut root, &list, "user").await, [Some("killer".to_owned())]);
    assert_eq!(column(&mut root, &list, "State").await, [Some("SLEEP".to_owned())]);
    assert_eq!(column(&mut root, &list, "INFO").await, [None]);

    ended_by_itself_and_by_others(&engine, &mut root, killer).await;
    an_answer_that_comes_too_late_is_lost(&mut root).await;
    too_many_connections(&engine).await;
}

async fn ended_by_itself_and_by_others(engine: &Engine, root: &mut Connection, mut killer: Connection) {
    assert_eq!(run(root, &format!("kill {}", killer.id())).await, Ok(0));
    assert_eq!(code(run(root, &format!("kill {}", killer.id())).await), 1094);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sent = run(&mut killer, "select 1").await;
    assert!(matches!(&sent, Err(QueryError::NotWritten(text)) if text.contains("closed")), "{sent:?}");

    let mut killer = open(engine, "killer", "it's secret").await.unwrap();
    let kill = format!("kill {}", killer.id());
    let ended = run(&mut killer, &kill).await;
    assert!(matches!(ended, Err(QueryError::Lost(_))), "{ended:?}");
    assert!(!killer.is_usable());
}

async fn an_answer_that_comes_too_late_is_lost(root: &mut Connection) {
    let lost = root.query("select sleep(5)", Instant::now() + Duration::from_millis(100), |_| ()).await;
    assert_eq!(lost, Err(QueryError::Lost("no complete answer before the deadline".to_owned())));
    assert!(!root.is_usable());
}

/// The engine then answers with an error in place of its handshake.
async fn too_many_connections(engine: &Engine) {
    let mut root = open(engine, "root", "").await.unwrap();
    assert_eq!(run(&mut root, "set global max_connections = 4").await, Ok(0));
    let mut held = vec![];
    let refused = loop {
        match open(engine, "root", "").await {
            Ok(connection) => held.push(connection),
            Err(error) => break error,
        }
        assert!(held.len() < 10, "the engine takes any number of connections");
    };
    assert_eq!(refusal(Err(refused)), 1040);
}
