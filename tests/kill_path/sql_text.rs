//! How much of a statement is stored. More people can read a status than the database.

use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use sessionkill::api::{
    Expect, OceanBaseConnection, SessionKill, SessionKillReceipt, SessionKillReceiptStatus, VerificationPolicy,
};

use crate::scene::{Launch, Request as _, SQL_MARK, Scene, session};

/// A mark at the end of every statement, after the part that may be stored.
const TAIL_MARK: &str = "canary_tail";

fn statement() -> String {
    format!("ALTER USER app IDENTIFIED BY '{SQL_MARK}' -- {} {TAIL_MARK}", "x".repeat(300))
}

/// Ends sessions in every way in which their statements reach the operator. The connection's `sqlText` is `policy`, or
/// is not set. What is stored of each statement must be `expected`.
async fn stored(scene: &Scene, policy: Option<&str>, expected: &str) {
    let sessions = (1..=4).map(|number| testbed::gateway::Session { sql_text: statement(), ..session(number) });
    let mut sessions: Vec<_> = sessions.collect();
    sessions[3].lingering = true;
    scene.gateway().set_sessions(sessions).unwrap();
    scene.connection(policy.map_or_else(|| json!({}), |policy| json!({"sqlText": policy}))).await;
    scene.launch(Launch { log: Some("trace"), ..Launch::default() }).await;

    let expect = Expect { user: Some("report_ro".into()), ..Expect::default() };
    // The statement comes from the answer alone, from the list and the answer, and, for a session that does not end,
    // from the list alone.
    scene.request("answered").sessions([1]).verified(VerificationPolicy::None, 5).create().await;
    scene.request("expected").sessions([2]).expecting(&expect).create().await;
    let other = Expect { user: Some("app".into()), ..Expect::default() };
    scene.request("spared").sessions([3]).expecting(&other).create().await;
    scene.request("lingering").sessions([4]).verified(VerificationPolicy::BestEffort, 5).create().await;
    assert_stored(&scene.wait_for_reason("lingering", "Verifying").await, expected);
    assert_told(scene, policy).await;
    for (name, reason) in [
        ("answered", "SessionsKilled"),
        ("expected", "SessionsKilled"),
        ("spared", "PreconditionFailed"),
        ("lingering", "StillPresent"),
    ] {
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.reason(), reason, "{name}: {}", ended.message());
        assert_stored(&ended, expected);
        if name != "spared" {
            let record: SessionKillReceiptStatus = scene.wait_recorded(name).await;
            assert_eq!(record.sessions, ended.status.unwrap().sessions, "{name}");
        }
    }
    assert_told(scene, policy).await;
}

fn assert_stored(request: &SessionKill, expected: &str) {
    let observed = request.status.as_ref().unwrap().sessions[0].observed.as_ref().unwrap();
    assert_eq!(observed.sql_text, expected, "{:?}", request.metadata.name);
    assert_eq!(observed.user, "report_ro", "only the statement is left out");
}

/// Checks that the whole statement is nowhere. With `Truncated` its beginning is in the objects, and only there.
async fn assert_told(scene: &Scene, policy: Option<&str>) {
    let objects = objects(scene).await;
    assert!(objects.contains("report_ro"), "{objects}");
    assert_eq!(objects.contains(SQL_MARK), policy == Some("Truncated"), "{objects}");
    let everything = objects + &scene.logs() + &json!(scene.events().await).to_string();
    assert!(!everything.contains(TAIL_MARK));
    // The end of every scene checks that its beginning is in no log and no Event.
}

/// All requests, receipts and connections as stored.
async fn objects(scene: &Scene) -> String {
    let (requests, receipts, connections): (Api<SessionKill>, Api<SessionKillReceipt>, Api<OceanBaseConnection>) =
        (scene.api(), scene.api(), scene.api());
    let params = ListParams::default();
    let listed = (requests.list(&params).await, receipts.list(&params).await, connections.list(&params).await);
    json!([listed.0.unwrap().items, listed.1.unwrap().items, listed.2.unwrap().items]).to_string()
}

#[tokio::test]
async fn of_a_statement_its_beginning_is_stored_where_the_connection_allows_that() {
    let scene = Scene::bare("sql-truncated").await;
    scene.good_secret().await;
    let beginning: String = statement().chars().take(255).chain(['…']).collect();
    stored(&scene, Some("Truncated"), &beginning).await;
    scene.end().await;
}

#[tokio::test]
async fn of_a_statement_only_its_digest_is_stored_unless_the_connection_says_otherwise() {
    let scene = Scene::bare("sql-digest").await;
    scene.good_secret().await;
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(statement()));
    stored(&scene, None, &format!("sha256:{digest}")).await;
    scene.end().await;
}

#[tokio::test]
async fn of_a_statement_nothing_is_stored_where_the_connection_says_so() {
    let scene = Scene::bare("sql-none").await;
    scene.good_secret().await;
    stored(&scene, Some("None"), "").await;
    scene.end().await;
}
