//! The same intent by `pt-kill` and by a selector, on the same engine: what each ends, and what it leaves behind.

use std::time::Duration;

use serde_json::json;
use testbed::oceanbase::Engine;
use tokio::process::Command;
use tokio::time::timeout;

use super::{CLUSTER, CONNECTION, PASSWORD, TENANT, USER, engine, host, scene};
use crate::scene::{Client, Request as _, SQL_MARK, create_user};

const LIMIT: Duration = Duration::from_mins(2);

/// One session that is meant, and three that each lack one part of what is.
struct Sessions {
    meant: i64,
    others: Vec<(&'static str, i64)>,
    _clients: Vec<Client>,
    _statements: Vec<crate::scene::Statement>,
}

impl Sessions {
    /// Of the users `NAME_report` and `NAME_app`.
    async fn open(engine: &Engine, name: &str) -> Self {
        let (report, app) = (format!("{name}_report"), format!("{name}_app"));
        for user in [&report, &app] {
            create_user(engine, user).await;
        }
        let meant = Client::connect(engine, &report).await.start_statement();
        let other_user = Client::connect(engine, &app).await.start_statement();
        let other_statement = Client::connect(engine, &report).await.start("SELECT SLEEP(10000) AS harmless");
        let idle = Client::connect(engine, &report).await;
        Self {
            meant: meant.id,
            others: vec![
                ("the same statement of another user", other_user.id),
                ("another statement of the same user", other_statement.id),
                ("an idle session of the same user", idle.id),
            ],
            _clients: vec![idle],
            _statements: vec![meant, other_user, other_statement],
        }
    }

    /// Which of them the engine has ended, in words.
    fn ended(&self, engine: &Engine) -> Vec<&'static str> {
        let ended = engine.executed_kills().unwrap();
        let all = [("the one that is meant", self.meant)].into_iter().chain(self.others.iter().copied());
        all.filter(|(_, id)| ended.contains(id)).map(|(what, _)| what).collect()
    }
}

/// Runs pt-kill for some rounds; `None` if it is not installed.
async fn pt_kill(engine: &Engine, matching: &[&str]) -> Option<String> {
    let mut command = Command::new("pt-kill");
    command.args(["--host", "127.0.0.1", "--port", &engine.port().to_string(), "--no-version-check"]);
    command.args(["--user", USER, "--password", PASSWORD, "--victims", "all", "--interval", "1", "--run-time", "4"]);
    command.args(["--kill", "--print"]).args(matching).kill_on_drop(true);
    let output = match timeout(LIMIT, command.output()).await.expect("pt-kill ends") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test]
async fn the_same_intent_by_pt_kill_and_by_a_selector() {
    let engine = engine().await;
    let scene = scene("sql-pt-kill", &engine, &[host(&engine)]).await;
    let sessions = Sessions::open(&engine, "sel").await;
    let selector = json!({"match": {"users": ["sel_report"], "sqlTextPattern": SQL_MARK}, "maxSessions": 5});
    let request = scene.request("inc-1").through(CONNECTION).instance(CLUSTER).tenant(TENANT).selecting(selector);
    request.create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
    assert_eq!(sessions.ended(&engine), ["the one that is meant"]);
    println!("a selector ended: {:?}; receipts: {}", sessions.ended(&engine), scene.receipts().await.len());

    // With --busy-time, the idle session of the user is ended, too: that one option holds is enough.
    let ways: [(&str, &[&str], usize); 2] = [
        ("ptk", &["--match-user", "^ptk_report$", "--match-info", SQL_MARK], 1),
        ("ptb", &["--match-user", "^ptb_report$", "--busy-time", "1"], 3),
    ];
    for (name, matching, count) in ways {
        let sessions = Sessions::open(&engine, name).await;
        let Some(said) = pt_kill(&engine, matching).await else {
            println!("pt-kill is not installed (Debian: percona-toolkit): it is not compared");
            break;
        };
        println!("pt-kill {} ended: {:?}\n{said}", matching.join(" "), sessions.ended(&engine));
        assert_eq!(sessions.ended(&engine).len(), count, "docs/selectors.md says so");
    }
    scene.end().await;
}
