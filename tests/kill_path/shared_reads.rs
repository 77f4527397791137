//! One read of a tenant's process list serves all requests that wait for one. It never serves a request that asked
//! after the read began.

use serde_json::{Value, json};
use sessionkill::api::{Expect, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::Session;

use crate::scene::{At, Launch, Relay, Request as _, Scene, eventually, session};

const REQUESTS: i64 = 20;
const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);

/// A scene whose connection goes through a relay to the gateway. It kills by BatchKillProcessList, whose answers name
/// no session. With the verification `None` the list is then read after a kill, and not before it.
async fn relayed(name: &str) -> (Scene, Relay) {
    let scene = Scene::bare(name).await;
    scene.good_secret().await;
    let relay = scene.gateway_relay().await;
    scene.connection(json!({"endpoint": relay.url(), "killOperation": "BatchKillProcessList"})).await;
    scene.launch(Launch { allow: vec![relay.url()], ..Launch::default() }).await;
    scene.wait_probed().await;
    (scene, relay)
}

#[tokio::test]
async fn those_who_wait_while_a_list_is_read_share_the_next_read() {
    let (scene, relay) = relayed("shared-reads").await;
    let hold = Scene::hold_read(&relay, At::Request);
    for number in 1..=REQUESTS {
        let request = scene.request(&format!("inc-{number}")).sessions([number]);
        request.verified(VerificationPolicy::None, 60).create().await;
    }
    // After this, each request waits for a read of the list.
    eventually("all answers", async || {
        // Requests that waited while a call was in flight shared the next call.
        let logs = scene.logs();
        let lines = logs.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let answers = lines.filter(|line| line["message"] == "call answered");
        let answered: i64 = answers.filter_map(|line| line["requests"].as_i64()).sum();
        if answered == REQUESTS { Ok(()) } else { Err(format!("{answered}")) }
    })
    .await;
    hold.reached().await;
    assert!(scene.list_reads().is_empty(), "no read was let through");
    hold.release();
    for number in 1..=REQUESTS {
        let ended = scene.wait_finished(&format!("inc-{number}")).await;
        assert_eq!(ended.outcomes(), [VERIFIED]);
    }
    let reads = scene.list_reads().len();
    println!("{reads} reads for {REQUESTS} requests that waited");
    assert!(reads <= 3, "the one under way, the next for all, and one for who may have come late: not {reads}");
    scene.assert_killed_once(1..=REQUESTS);
    scene.end().await;
}

#[tokio::test]
async fn a_read_that_began_before_it_was_asked_for_decides_nothing() {
    let (scene, relay) = relayed("older-read").await;
    let answered = Scene::hold_read(&relay, At::Answer);
    scene.request("inc-1").sessions([1]).verified(VerificationPolicy::None, 60).create().await;
    // The held answer shows session 2 with the expected properties. Now they change.
    answered.reached().await;
    let other = Session { user: "app".into(), ..session(2) };
    scene.gateway().set_sessions(vec![other, session(3)]).unwrap();
    let expect = Expect { user: Some("report_ro".into()), ..Expect::default() };
    scene.request("inc-2").sessions([2]).expecting(&expect).create().await;
    // A request of another queue. When it has ended, the request before it waits for a list.
    scene.put_connection("other", Scene::SECRET, json!({})).await;
    scene.request("marker").through("other").sessions([3]).create().await;
    scene.wait_finished("marker").await;
    answered.release();
    let spared = scene.wait_finished("inc-2").await;
    assert_eq!(spared.outcomes(), [(SessionOutcome::Skipped, SessionReason::PreconditionMismatch)]);
    assert_eq!(scene.wait_finished("inc-1").await.outcomes(), [VERIFIED]);
    scene.assert_killed_once([1, 3]);
    assert!(scene.calls_for(2).is_empty());
    scene.end().await;
}
