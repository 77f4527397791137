//! Clocks that differ. While the operator's clock and the API server's clock differ too much, nothing is sent and no
//! new deadline is called over, and a request that waits says why. The `Date` header of a gateway matters for its own
//! connection only.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::json;
use sessionkill::api::OceanBaseConnection;
use testbed::fault_proxy::Order;
use testbed::operator::Operator;

use crate::scene::{Launch, Relay, Request as _, Scene, Shown as _, eventually, in_seconds, until};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A scene with an operator that sees the clock of the API server shifted.
struct Skewed {
    scene: Scene,
    operator: Arc<Operator>,
    /// Release it, and the clocks agree.
    skew: Arc<Order>,
    _relay: Relay,
}

impl Skewed {
    async fn by(skew: SignedDuration, name: &str) -> Self {
        let scene = Scene::set(name).await;
        let relay = scene.api_relay().await;
        let skew = relay.skew_dates(skew);
        let operator = scene.launch(Launch { api: Some(&relay), ..Launch::default() }).await;
        Self { scene, operator, skew, _relay: relay }
    }
}

/// How many seconds the clock of `operator` is ahead of `clock`, read from its metrics.
async fn lead(operator: &Operator, clock: &str) -> f64 {
    let metrics = Scene::metrics(operator).await;
    let series = format!("sessionkill_clock_lead_seconds{{clock=\"{clock}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

/// With a wrong clock nothing is sent and the status says so. Once the clock is right, the request is sent once,
/// without an edit.
async fn holds(name: &str, skew: SignedDuration, words: &str) {
    let skewed = Skewed::by(skew, name).await;
    let scene = skewed.scene;
    scene.request("inc-1").create().await;
    let waiting = scene.wait_for_reason("inc-1", "ClockSkew").await;
    let expected = ["Succeeded=Unknown(ClockSkew)", "Ready=False(ClockSkew)", "Reconciling=True(ClockSkew)"];
    assert_eq!(waiting.summary(), expected);
    for words in [words, "nothing is sent until they differ by no more than 5 s"] {
        assert!(waiting.message().contains(words), "{}", waiting.message());
    }
    scene.wait_for_event("inc-1", "ClockSkew").await;
    let lead = lead(&skewed.operator, "ApiServer").await;
    assert!((lead + skew.as_secs_f64()).abs() < 60.0, "{lead}");
    assert!(scene.receipts().await.is_empty(), "nothing is claimed by such a clock");
    scene.assert_nothing_sent();
    skewed.skew.release();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

#[tokio::test]
async fn a_clock_that_is_behind_sends_nothing_and_says_so() {
    holds("clock-behind", HOUR, "s behind the API server's").await;
}

#[tokio::test]
async fn a_clock_that_is_ahead_sends_nothing_and_says_so() {
    holds("clock-ahead", -HOUR, "s ahead of the API server's").await;
}

#[tokio::test]
async fn a_clock_that_is_ahead_calls_nothing_over_that_is_not_by_the_api_servers() {
    let skewed = Skewed::by(-HOUR, "clock-over").await;
    let scene = skewed.scene;
    let not_after = in_seconds(3);
    scene.request("inc-1").not_after(not_after).create().await;
    scene.wait_for_reason("inc-1", "ClockSkew").await;
    until(not_after + SignedDuration::from_secs(8)).await;
    // By the time this request waits, the operator has looked at the first one after its deadline by the operator's own
    // clock.
    scene.request("inc-2").sessions([2]).create().await;
    scene.wait_for_reason("inc-2", "ClockSkew").await;
    assert_eq!(scene.requests().get("inc-1").await.unwrap().reason(), "ClockSkew");
    skewed.skew.release();
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "DeadlineExceeded", "by both");
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "SessionsKilled");
    scene.assert_killed_once([2]);
    scene.end().await;
}

#[tokio::test]
async fn a_few_odd_dates_keep_nothing_from_being_sent() {
    let scene = Scene::set("odd-dates").await;
    let relay = scene.api_relay().await;
    scene.launch(Launch { api: Some(&relay), ..Launch::default() }).await;
    scene.request("inc-1").create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    let odd = relay.skew_some_dates(HOUR, 3);
    scene.request("inc-2").sessions([2]).create().await;
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "SessionsKilled");
    // The last of these answers come with the record, after the request has ended.
    eventually("three odd dates", async || {
        let count = odd.count();
        if count == 3 { Ok(()) } else { Err(format!("{count}")) }
    })
    .await;
    assert!(!scene.logs().contains("clock differs"), "{}", scene.logs());
    scene.assert_killed_once([1, 2]);
    scene.end().await;
}

#[tokio::test]
async fn a_gateway_that_tells_another_time_is_named_and_keeps_nothing_from_being_sent() {
    let scene = Scene::bare("gateway-date").await;
    scene.good_secret().await;
    let relay = scene.gateway_relay().await;
    let order = relay.skew_dates(HOUR);
    scene.connection(json!({"endpoint": relay.url()})).await;
    scene.put_connection("other-ob", Scene::SECRET, json!({})).await;
    let operator = scene.operator_through(&relay).await;
    let told = scene.wait_for_connection("ClockSkew=True(GatewayAhead)").await;
    let told = &told.condition("ClockSkew").unwrap().message;
    assert!(told.contains("s behind the gateway's"), "{told}");
    scene.request("inc-1").create().await;
    scene.request("inc-2").sessions([2]).through("other-ob").create().await;
    for name in ["inc-1", "inc-2"] {
        assert_eq!(scene.wait_finished(name).await.reason(), "SessionsKilled", "the fence does not need that clock");
    }
    assert!(lead(&operator, "Gateway").await < -3000.0);
    assert!(lead(&operator, "ApiServer").await.abs() < 5.0, "whoever owns a gateway has its own clock doubted only");
    let other: OceanBaseConnection = scene.api().get("other-ob").await.unwrap();
    assert!(other.condition("ClockSkew").is_none(), "{:?}", other.summary());
    order.release();
    // Each kill brings several answers of the gateway. The clock is judged by the majority of the last ones.
    for number in 3..6 {
        let name = format!("inc-{number}");
        scene.request(&name).sessions([number]).create().await;
        assert_eq!(scene.wait_finished(&name).await.reason(), "SessionsKilled");
    }
    eventually("nothing to be said of its clock", async || {
        let summary = scene.connection_now().await.summary();
        if summary.iter().any(|said| said.starts_with("ClockSkew")) { Err(format!("{summary:?}")) } else { Ok(()) }
    })
    .await;
    scene.assert_killed_once(1..6);
    scene.end().await;
}
