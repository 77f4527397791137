//! What the standby does while the leader works, and when it takes over.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::DeleteParams;
use testbed::arena::{Arena, LEASE, Launch, kill_of, session};
use testbed::fault_proxy::{At, Fault, Rule};

use crate::{LONG_LEASE, SHORT_LEASE, assert_all_is_well, eventually, ground, stage};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_with_its_caches_and_asks_nobody_for_anything_else() {
    let mut stage = stage("standing-by", 3, LONG_LEASE).await;
    let (leader, other) = stage.roles().await.unwrap();
    for _ in 0..3 {
        let name = stage.ask().await.unwrap();
        stage.ended(&name).await.unwrap();
    }
    assert!(leader.leads().await.unwrap() && !other.leads().await.unwrap());
    for path in ["/readyz", "/livez"] {
        assert!(other.asked(path).await.unwrap().status().is_success(), "{path}");
    }
    // The leader has swept. If the standby swept too, it would have done so by now.
    let swept = |client: &str| {
        let trace = stage.arena.api.trace();
        trace.iter().any(|it| it.client == client && it.kind == "list sessionkillreceipts")
    };
    eventually("a sweep", async || swept(&leader.client)).await;
    let passed = stage.arena.api.trace().into_iter().chain(stage.arena.calls.trace());
    let mut asked: BTreeSet<_> = passed.filter(|it| it.client == other.client).map(|it| it.kind).collect();
    // A watch delivers its first list itself.
    for cached in ["watch sessionkills", "watch oceanbaseconnections"] {
        assert!(asked.remove(cached), "not asked for: {cached}");
    }
    // At their start, both try to become the leader, and read the version of the API server.
    for beside in ["get leases", "watch leases", "create leases", "get /version"] {
        asked.remove(beside);
    }
    assert_eq!(asked, BTreeSet::new());
    assert_all_is_well(&stage, 3).await;
}

/// Requests that arrive while there is no leader, or another one, are not forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn it_works_what_it_has_seen_when_it_begins_to_lead() {
    let mut stage = stage("seen-before", 5, SHORT_LEASE).await;
    let (leader, other) = stage.roles().await.unwrap();
    leader.operator.pause().unwrap();
    let mut names = vec![];
    for _ in 0..5 {
        names.push(stage.ask().await.unwrap());
    }
    // The standby has seen all of them by now, or sees them when it leads.
    for name in &names {
        stage.ended(name).await.unwrap();
    }
    assert!(other.leads().await.unwrap());
    leader.operator.resume().unwrap();
    assert_all_is_well(&stage, 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_ready_before_its_caches_are_synced_even_if_it_leads() {
    let arena = Arena::set(&ground().await, "leads-unsynced", vec![session(1)]).await.unwrap();
    arena.allow_election().await.unwrap();
    let list = arena.api.order(Rule::of(Fault::Hold(At::Request), "watch sessionkills"));
    arena.request("request-1", kill_of(&[1], 600).unwrap()).await.unwrap();
    let launch = Launch { lease_seconds: Some(LONG_LEASE), ..Launch::default() };
    let replica = arena.start(launch).await.unwrap();
    eventually("it to lead", async || replica.leads().await.unwrap_or(false)).await;
    list.reached().await;
    assert_eq!(replica.asked("/readyz").await.unwrap().status(), 503);
    assert_eq!(replica.asked("/livez").await.unwrap().status(), 200);
    list.release();
    replica.ready().await.unwrap();
    eventually("the kill", async || arena.unfinished().await.unwrap().is_empty()).await;
    assert_eq!(arena.verdict().await.unwrap().kills, 1);
}

/// Like an API server without `WatchList`: in Kubernetes 1.33 this feature is off by default.
#[tokio::test]
async fn where_no_list_comes_as_a_stream_it_is_asked_for_in_pages() {
    let arena = Arena::set(&ground().await, "lists-in-pages", vec![session(1)]).await.unwrap();
    arena.allow_election().await.unwrap();
    let refused = Fault::Answer { status: 422, retry_after: None };
    for watch in ["watch sessionkills", "watch oceanbaseconnections"] {
        let _ = arena.api.order(Rule::of(refused.clone(), watch).times(1));
    }
    arena.request("request-1", kill_of(&[1], 600).unwrap()).await.unwrap();
    let replica = arena.start(Launch { lease_seconds: Some(LONG_LEASE), ..Launch::default() }).await.unwrap();
    replica.ready().await.unwrap();
    let asked: BTreeSet<_> = arena.api.trace().into_iter().map(|it| it.kind).collect();
    assert!(asked.contains("list sessionkills") && asked.contains("list oceanbaseconnections"), "{asked:?}");
    eventually("the kill", async || arena.unfinished().await.unwrap().is_empty()).await;
    assert_eq!(arena.verdict().await.unwrap().kills, 1);
}

/// One thread does all the work. If it renewed the Lease too late, the other replica would take it.
#[tokio::test(flavor = "multi_thread")]
async fn the_lease_is_renewed_however_much_there_is_to_do() {
    const REQUESTS: i64 = 400;
    let stage = stage("burst", 400, 15).await;
    let before = stage.led_by(|_| true).await.unwrap();
    let asking = (1..=REQUESTS).map(async |number| {
        stage.arena.request(&format!("burst-{number}"), kill_of(&[number], 3600).unwrap()).await.unwrap();
    });
    futures::stream::iter(asking).buffer_unordered(16).for_each(std::future::ready).await;
    eventually("all kills", async || stage.arena.unfinished().await.unwrap().is_empty()).await;
    let after = stage.arena.lease().await.unwrap().unwrap();
    assert_eq!((&after.acquire_time, after.lease_transitions), (&before.acquire_time, before.lease_transitions));
    assert!(after.renew_time > before.renew_time);
    assert_all_is_well(&stage, 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_somebody_deletes_is_taken_again() {
    let mut stage = stage("deleted", 1, SHORT_LEASE).await;
    let before = stage.led_by(|_| true).await.unwrap();
    let leases: Api<Lease> = stage.arena.api_of();
    leases.delete(LEASE, &DeleteParams::default()).await.unwrap();
    let again = stage.led_by(|_| true).await.unwrap();
    assert_ne!(again.acquire_time, before.acquire_time);
    eventually("one leader, which knows so", async || {
        let (leader, other) = stage.roles().await.unwrap();
        leader.leads().await.unwrap() && !other.leads().await.unwrap()
    })
    .await;
    let name = stage.ask().await.unwrap();
    stage.ended(&name).await.unwrap();
    assert_all_is_well(&stage, 1).await;
}
