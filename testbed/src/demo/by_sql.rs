//! The second act: the same kind of session, ended by SQL. The gateway has no part in it.

use anyhow::{Context, ensure};
use mysql_async::prelude::Queryable as _;
use serde_json::json;

use super::{Demo, say};
use crate::{oceanbase::Engine, stack};

/// The user of the database, the password, and what the user may do.
const LOGIN: [&str; 3] = [
    "create user shop_kill identified by 'demo-password'",
    "grant process, super on *.* to shop_kill",
    "grant select on oceanbase.* to shop_kill",
];

impl Demo<'_> {
    pub(super) async fn by_sql(&self) -> anyhow::Result<()> {
        let engine = self.engine()?;
        say("Now without the gateway, by SQL: the database gets a user with just the rights for that");
        let mut root = engine.connect().await?;
        for statement in LOGIN {
            println!("mysql> {statement};");
            root.query_drop(statement).await?;
        }
        root.disconnect().await?;
        self.apply_sql_connection(engine).await?;

        let (session_id, client) = self.open_session("client-by-sql.log").await?;
        say("A DBA asks for its end. The operator lets the database itself compare the session, and then end it");
        let through = ("shop-ob", stack::SQL_CLUSTER, stack::SQL_TENANT);
        self.apply_request(&self.request("inc-4712", through, session_id)?).await?;
        client.assert_lost().await?;
        self.show_status("inc-4712", "SessionsKilled").await?;
        witness(engine, session_id)
    }

    async fn apply_sql_connection(&self, engine: &Engine) -> anyhow::Result<()> {
        say("A Secret holds the login and the CA of the server; an OceanBaseConnection says where to log in with it");
        let host = self.stack.sql_server().context("the demonstration needs an engine")?;
        let ca = engine.ca_pem().context("the demonstration needs an engine with TLS")?;
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "shop-ob", "labels": {"sessionkill.dev/credentials": "true"}},
                "stringData": {"username": "shop_kill", "password": "demo-password", "ca.crt": ca},
            },
            {
                "apiVersion": "sessionkill.dev/v1alpha1",
                "kind": "OceanBaseConnection",
                "metadata": {"name": "shop-ob"},
                "spec": {
                    "sql": {
                        "host": host,
                        "cluster": stack::SQL_CLUSTER,
                        "tenant": stack::SQL_TENANT,
                        "credentials": {"secretRef": {"name": "shop-ob"}},
                    },
                },
            },
        ]});
        self.apply("sql-connection.yaml", &objects).await?;
        self.kubectl(&["wait", "oceanbaseconnection/shop-ob", "--for=condition=Ready", "--timeout=60s"]).await?;
        self.kubectl(&["get", "oceanbaseconnection", "shop-ob"]).await
    }
}

/// Shows what the engine says of the kill, which no client can influence.
fn witness(engine: &Engine, session_id: i64) -> anyhow::Result<()> {
    say("The engine's own log: the statement, and the session that it ended");
    let seen = engine.witness()?;
    let last = seen.statements.iter().rfind(|it| it.is_ok()).context("the engine's log has no KILL")?;
    println!("    {} -> {}", last.text, last.return_code);
    println!("    {}", engine.log_of_end(session_id)?);
    let times = seen.ended.iter().filter(|ended| **ended == session_id).count();
    ensure!(times == 1, "expected one kill of session {session_id}, the engine executed {times}");
    Ok(())
}
