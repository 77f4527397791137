//! The list of sessions, of a cluster of several servers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use sessionkill::backends::Backend;
use sessionkill::backends::sql::server::Encryption;
use sessionkill::backends::sql::{Access, Account, Database, Known, Server};
use sessionkill::domain::backend::{ProcessList, Tenant};
use sessionkill::domain::selection::Wanted;
use testbed::sql_server::{Cluster, Kernel, Reply, Rule, Session, SqlError, SqlServer, SqlServerOptions};

const NEAR: &str = "192.168.13.119";
const FAR: &str = "192.168.13.120";
const IDS: [u32; 4] = [3_221_600_001, 3_221_600_002, 3_221_600_003, 3_221_600_004];

/// A cluster with two sessions on each of two servers.
async fn cluster() -> SqlServer {
    let sessions = IDS.into_iter().zip([NEAR, NEAR, FAR, FAR]).map(|(id, ip)| Session::new(id).with("SVR_IP", ip));
    let cluster = Cluster::new(Kernel::V4_3_5, sessions.collect());
    SqlServer::start(SqlServerOptions { cluster, ..SqlServerOptions::default() }).await.unwrap()
}

fn database(server: &SqlServer) -> Backend {
    let host = server.address().to_string();
    let allowed = [host.parse().unwrap()];
    let access = Access {
        server: Server::of_host(host.parse().unwrap(), &allowed, Encryption::Disabled).unwrap(),
        account: Account { user: "killer".to_owned(), password: "p".into(), source: String::new() },
        cluster: "obcluster".to_owned(),
        tenant: "sys".to_owned(),
        request_timeout: Duration::from_secs(10),
        known: Arc::new(Known::default()),
    };
    Backend::Sql(Database { access })
}

async fn list(database: &Backend, ids: &[u32]) -> ProcessList {
    let tenant = Tenant { instance_id: "obcluster".to_owned(), tenant_id: "sys".to_owned() };
    let wanted = Wanted::by_id(ids.iter().copied().map(i64::from));
    database.list(&tenant, Arc::new(wanted), None).await.unwrap().list
}

fn ids(list: &ProcessList) -> HashSet<i64> {
    list.sessions.iter().map(|seen| seen.session_id).collect()
}

fn servers(list: &ProcessList) -> Vec<&str> {
    let mut servers: Vec<&str> = list.limits.servers.iter().flatten().map(|(ip, _)| ip.as_str()).collect();
    servers.sort_unstable();
    servers.dedup();
    servers
}

#[tokio::test]
async fn a_list_has_the_sessions_asked_for_and_tells_which_servers_it_is_of() {
    let server = cluster().await;
    let database = database(&server);
    let read = list(&database, &IDS[1..2]).await;
    assert_eq!((ids(&read), read.complete), (HashSet::from([IDS[1].into()]), true));
    assert_eq!(servers(&read), [NEAR, FAR], "of the other server nothing was asked for");
    let statement = server.statements().pop().unwrap().text;
    assert!(statement.contains(&IDS[1].to_string()) && !statement.contains(&IDS[0].to_string()), "{statement}");

    // A server that does not answer.
    server.change(|cluster| cluster.sessions.retain(|session| session.get("SVR_IP") == Some(NEAR)));
    let read = list(&database, &IDS[1..]).await;
    assert_eq!((ids(&read), servers(&read)), (HashSet::from([IDS[1].into()]), vec![NEAR]));
}

#[tokio::test]
async fn a_server_that_refuses_to_list_some_is_asked_for_all() {
    let server = cluster().await;
    let refused = Reply::Err(SqlError::new(1064, "42000", "You have an error in your SQL syntax"));
    server.set_rule(Rule::new("ROW_NUMBER", refused));
    let database = database(&server);
    for _ in 0..2 {
        let read = list(&database, &IDS[..3]).await;
        assert_eq!((ids(&read).len(), servers(&read)), (3, vec![NEAR, FAR]));
    }
    let refused = server.statements().iter().filter(|statement| statement.text.contains("ROW_NUMBER")).count();
    assert_eq!(refused, 1, "it is not asked again on the same connection");
}

#[tokio::test]
async fn of_very_many_sessions_all_are_listed() {
    let server = cluster().await;
    let many: Vec<u32> = (1..=2000).chain(IDS).collect();
    let read = list(&database(&server), &many).await;
    assert_eq!((ids(&read).len(), read.complete), (4, true));
    let statement = server.statements().pop().unwrap().text;
    assert_eq!(statement, "SELECT * FROM oceanbase.GV$OB_PROCESSLIST");
}
