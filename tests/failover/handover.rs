//! The change from one leader to the next.

use jiff::SignedDuration;
use kube::ResourceExt as _;
use testbed::failover::{Strike, play};
use testbed::fault_proxy::{At, Fault, Rule};

use crate::{LONG_LEASE, SHORT_LEASE, assert_all_is_well, eventually, ground, stage};

/// How much longer a short step may take on a busy machine. The real figures are in docs/high-availability.md.
const SLACK: SignedDuration = SignedDuration::from_secs(5);
/// The precision of the times in the Lease, which come from the wall clock.
const INEXACT: SignedDuration = SignedDuration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn whoever_goes_the_other_takes_over_and_nothing_is_lost_or_doubled() {
    let tally = play(&ground().await, "over-and-over", 3, SHORT_LEASE).await.unwrap();
    tally.print(SHORT_LEASE);
    assert_eq!(tally.verdict.violations, Vec::<String>::new());
    assert_eq!(tally.verdict.double_kills, 0);
    let duration = SignedDuration::from_secs(SHORT_LEASE.into());
    for (strike, fail_over) in &tally.strikes {
        if *strike == Strike::Kill {
            // A killed leader cannot release its Lease. The other replica takes it after it has expired, and never
            // before.
            assert!(fail_over.unheld >= duration - INEXACT, "{fail_over:?}");
            assert!(fail_over.unheld <= duration + SignedDuration::from_secs(1) + SLACK, "{fail_over:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_asked_to_stop_hands_over_at_once_and_finishes_its_call() {
    let mut stage = stage("asked-to-stop", 2, LONG_LEASE).await;
    let (leader, other) = stage.roles().await.unwrap();
    let call = stage.arena.calls.order(Rule::of(Fault::Hold(At::Answer), "KillProcessList").times(1));
    let in_flight = stage.ask().await.unwrap();
    assert_eq!(call.reached().await, leader.client);
    leader.operator.terminate().unwrap();

    // Much earlier than the Lease would expire, and while the call is in flight.
    let lease = stage.led_by(|replica| replica.client == other.client).await.unwrap();
    assert_eq!(lease.lease_transitions, Some(1));
    let meanwhile = stage.ask().await.unwrap();
    stage.ended(&meanwhile).await.unwrap();
    assert!(leader.operator.process().is_running());
    call.release();
    let status = leader.operator.process().wait(crate::LIMIT).await.expect("it ends when its work is done");
    assert!(status.success(), "{status}");

    for (name, replica) in [(in_flight, &leader), (meanwhile, &other)] {
        let ended = stage.ended(&name).await.unwrap().status.unwrap();
        assert_eq!(ended.counts.unwrap().killed, 1, "{name}");
        let receipts = stage.arena.receipts().await.unwrap();
        let receipt = ended.dispatch.unwrap().receipt_name;
        let receipt = receipts.into_iter().find(|it| it.name_any() == receipt).unwrap();
        assert!(replica.is(&receipt.spec.holder_identity), "{name}: {}", receipt.spec.holder_identity);
    }
    assert_all_is_well(&stage, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_frozen_past_its_lease_wakes_and_repeats_nothing() {
    let mut stage = stage("frozen", 4, SHORT_LEASE).await;
    let (leader, other) = stage.roles().await.unwrap();
    // It freezes in the middle of one kill, while another request waits.
    let call = stage.arena.calls.order(Rule::of(Fault::Hold(At::Request), "KillProcessList").times(1));
    let in_flight = stage.ask().await.unwrap();
    assert_eq!(call.reached().await, leader.client);
    let waiting = stage.ask().await.unwrap();
    leader.operator.pause().unwrap();

    let lease = stage.led_by(|replica| replica.client == other.client).await.unwrap();
    // The new leader handles the request that nobody has claimed.
    stage.ended(&waiting).await.unwrap();
    leader.operator.resume().unwrap();
    call.release();
    stage.ended(&in_flight).await.unwrap();
    eventually("it to know that it leads no longer", async || !leader.leads().await.unwrap()).await;
    let afterwards = stage.ask().await.unwrap();
    stage.ended(&afterwards).await.unwrap();
    assert!(other.leads().await.unwrap() && leader.operator.process().is_running());
    assert_eq!(
        stage.arena.lease().await.unwrap().unwrap().acquire_time,
        lease.acquire_time,
        "nobody has taken it since"
    );
    let verdict = stage.verdict().await.unwrap();
    assert_eq!((verdict.violations, verdict.double_kills), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cut_off_stops_by_its_own_clock_and_stands_by_when_it_is_back() {
    let mut stage = stage("cut-off", 3, SHORT_LEASE).await;
    let (leader, other) = stage.roles().await.unwrap();
    let client = leader.client.clone();
    let cut = stage.arena.api.order(Rule::new(Fault::Hold(At::Request), move |asked| asked.client == client));
    // Its watch still delivers this request. It must not start what it cannot claim in time, and the other replica does
    // it.
    stage.led_by(|replica| replica.client == other.client).await.unwrap();
    eventually("it to know that it leads no longer", async || !leader.leads().await.unwrap()).await;
    let meanwhile = stage.ask().await.unwrap();
    stage.ended(&meanwhile).await.unwrap();
    cut.release();
    let afterwards = stage.ask().await.unwrap();
    stage.ended(&afterwards).await.unwrap();
    let holders = stage.arena.receipts().await.unwrap().into_iter().map(|receipt| receipt.spec.holder_identity);
    for holder in holders {
        assert!(other.is(&holder), "{holder}");
    }
    assert!(!leader.leads().await.unwrap());
    assert_all_is_well(&stage, 2).await;
}
