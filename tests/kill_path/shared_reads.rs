//! One read of a tenant's process list serves all who wait for one, and never one who asked after it began.

use serde_json::{Value, json};
use sessionkill::api::{Expect, SessionOutcome, SessionReason, VerificationPolicy};
use testbed::gateway::Session;

use crate::scene::{At, Launch, Relay, Request as _, Scene, eventually, session};

const REQUESTS: i64 = 20;
const VERIFIED: (SessionOutcome, SessionReason) = (SessionOutcome::Killed, SessionReason::Verified);

/// A scene whose connection leads through a relay to the gateway. Kills in batch: their answers name no session, so that
/// with the verification `None` the list is read after a kill and not before it.
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
    // From then on each of them waits for a look at the list.
    eventually("all answers", async || {
        // Requests that waited while a call was in flight went out in the next one.
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
    // This list shows session 2 as it is expected to be.
    answered.reached().await;
    let other = Session { user: "app".into(), ..session(2) };
    scene.gateway().set_sessions(vec![other, session(3)]).unwrap();
    let expect = Expect { user: Some("report_ro".into()), ..Expect::default() };
    scene.request("inc-2").sessions([2]).expecting(&expect).create().await;
    // Of another queue, and worked on after that one has come to wait for a list.
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
