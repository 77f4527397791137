//! How often a key is asked for, and what there is then, in each case in which the official clients were watched.

use std::time::Duration;

use serde_json::json;

use crate::recordings::{Recordings, Refresh};
use crate::scene::{Scene, assumed, issued, of_account, of_node, refusal};
use crate::server::Server;

const GOOD: &str = "answers good";
const FAILS: &str = "first answer good, later ones HTTP 500, credentials still valid";
const EXPIRES: &str = "first answer good for 2 s, later ones HTTP 500, calls 3 s apart: credentials expired";
const EXPIRED: &str = "every answer expired 60 s ago";

/// The requests and the results of ours in a case.
async fn watched(case: &Refresh) -> (usize, Vec<&'static str>) {
    let (spec, steps) = match case.kind.as_str() {
        "assume_role" => (assumed(), 1),
        "oidc" => (of_account(), 1),
        "ecs" => (of_node(), 3),
        other => panic!("{other} is not tried"),
    };
    let (seconds, fails_later) = (case.valid_for_s, matches!(case.case.as_str(), FAILS | EXPIRES));
    let server = Server::answering(move |number, request| {
        if fails_later && number >= steps { refusal(500, "InternalError") } else { issued(request, number, seconds) }
    });
    let scene = Scene::of(server.await);
    let identity = scene.identity(spec, &json!({}));
    let mut results = vec![];
    for _ in 0..case.calls {
        // A call that takes no time: a key of 2 s is of no use for a long one.
        let key = scene.key_for(&identity, Duration::from_millis(100)).await;
        results.push(if key.is_ok() { "credentials" } else { "error" });
        if case.case == EXPIRES {
            scene.later(Duration::from_secs(3)).await;
        }
    }
    (scene.server.count(), results)
}

/// What ours does: it asks once, keeps a valid key, never uses an expired one, and does not ask at each call.
fn expected(case: &Refresh) -> (usize, Vec<&'static str>) {
    let (issue, refused) = if case.kind == "ecs" { (3, 1) } else { (1, 1) };
    match case.case.as_str() {
        GOOD | FAILS => (issue, vec!["credentials"; case.calls]),
        // The third call comes within the pause after the failed second one.
        EXPIRES => (issue + refused, vec!["credentials", "error", "error"]),
        EXPIRED => (issue, vec!["error"; case.calls]),
        other => panic!("{other} is not tried"),
    }
}

#[tokio::test]
async fn ours_neither_asks_at_each_call_nor_gives_up_a_valid_key_nor_uses_an_expired_one() {
    let mut at_each_call = 0;
    for case in Recordings::read().refresh {
        // Their results show that the case is what it says: all of them work while answers are good.
        assert!(case.case != GOOD || case.results.iter().all(|result| result == "credentials"));
        // No connection can name such a source.
        if case.kind == "uri" {
            continue;
        }
        let name = format!("{} {} {} {}", case.case, case.kind, case.valid_for_s, case.client);
        let (requests, results) = watched(&case).await;
        assert_eq!((requests, results), expected(&case), "{name}");
        let issues = requests.div_ceil(if case.kind == "ecs" { 3 } else { 1 });
        assert!(issues <= case.requests.max(2), "{name}: not more often than they do");
        at_each_call += usize::from(case.case == GOOD && case.requests == case.calls);
    }
    assert!(at_each_call > 10, "the clients ask at each call in some cases");
}
