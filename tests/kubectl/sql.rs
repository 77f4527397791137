//! By SQL, on a real engine.

use testbed::arena::Runners;
use testbed::gateway::Session;

use crate::stage::{Stage, parsed};

fn label(session: &Session) -> String {
    format!("{}/{}", session.server_ip, session.session_id)
}

#[tokio::test]
async fn a_statement_ends_alone_or_with_its_session() {
    let stage = Stage::by_sql("by-sql").await;
    let engine = stage.ground.engine.as_ref().unwrap();
    let runners = Runners::connect(engine, 2).await.unwrap();
    let [first, second] = &runners.sessions()[..] else { panic!("two run") };

    let unsaid = stage.run(&["sessions"]).await;
    assert!(unsaid.code == 1 && unsaid.stderr.contains("name one with --tenant"), "{unsaid:?}");
    let said = stage.run(&["ps", "--tenant", "sys", "--active", "--sql", "sleep", "-o", "name"]).await;
    for session in [first, second] {
        assert!(said.stdout.lines().any(|line| line == label(session)), "{said:?}");
    }

    let line = ["kill", &label(first), "--tenant", "sys", "--query", "--yes", "-o", "json"];
    let said = stage.run(&line).await;
    let request = parsed(&said.stdout);
    let expect = &request["spec"]["sessions"][0]["expect"];
    assert!(expect["traceID"].is_string() && expect["clientPort"].is_number(), "{expect}");
    let ended = &request["status"]["sessions"][0];
    assert_eq!((said.code, ended["reason"].as_str()), (0, Some("QueryEnded")), "{said:?}");
    let idle = stage.run(&["kill", &label(first), "--tenant", "sys", "--query", "--yes"]).await;
    assert!(idle.code == 0 && idle.stderr.contains("runs no statement"), "{idle:?}");

    let line = ["kill", "--tenant", "sys", "--active", "--sql", r"sleep\(10000", "--yes", "-o", "json"];
    let said = stage.run(&line).await;
    assert_eq!(said.code, 0, "{said:?}");
    let request = parsed(&said.stdout);
    assert_eq!(request["status"]["sessions"][0]["sessionID"], second.session_id);
    let listed = stage.run(&["ps", "--tenant", "sys", "-o", "name"]).await.stdout;
    let is_listed = |session: &Session| listed.lines().any(|line| line == label(session));
    assert_eq!((is_listed(first), is_listed(second)), (true, false), "{listed}");
    stage.assert_no_list().await;
}
