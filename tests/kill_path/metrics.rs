//! The operator's metrics are true: they are compared with the gateway's ledger and with the objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use kube::ResourceExt as _;
use serde_json::json;
use sessionkill::api::{Expect, SessionOutcome};
use testbed::gateway::{CallRecord, Fault, FaultKind};
use testbed::operator::Operator;

use crate::scene::{At, Request as _, SERVER_IP, Scene, eventually, in_seconds, session, successor};

/// Values by series name and labels, as in the metrics text.
type Series = BTreeMap<String, f64>;

async fn scrape(operator: &Operator) -> Series {
    let text = Scene::metrics(operator).await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let of_line = |line: &str| {
        let (series, value) = line.split(" # ").next().unwrap().rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    samples.map(of_line).collect()
}

/// The series with this name whose value is not 0. The name is removed from their keys.
fn counted(series: &Series, name: &str) -> Series {
    let of_name = series.iter().filter_map(|(series, value)| Some((series.strip_prefix(name)?.to_owned(), *value)));
    of_name.filter(|(labels, value)| *value != 0.0 && (labels.is_empty() || labels.starts_with('{'))).collect()
}

fn one(series: &Series, name: &str) -> f64 {
    *series.get(name).unwrap_or_else(|| panic!("no {name} in {series:#?}"))
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// The calls in the gateway's ledger, in the form of the metrics.
fn calls_in(ledger: &[CallRecord]) -> Series {
    let mut calls = Series::new();
    for call in ledger {
        let action = call.action.as_deref().unwrap();
        let is_list = action == "DescribeProcessStatsComposition";
        let operation = if call.sessions.is_empty() && !is_list { "Probe" } else { action };
        let code = match (call.http_status, call.result.as_deref()) {
            (None, _) => "AnswerLost",
            (_, Some("Throttling.User")) => "Throttled",
            // A probe has no parameters: an error about a missing one is its successful answer.
            (_, Some("OK")) => "Ok",
            (_, Some(_)) if operation == "Probe" => "Ok",
            (_, other) => panic!("{other:?}"),
        };
        *calls.entry(format!("{{operation=\"{operation}\",code=\"{code}\"}}")).or_default() += 1.0;
    }
    calls
}

/// The requests that ended and their sessions, in the form of the metrics.
async fn ended_in(scene: &Scene) -> (Series, Series) {
    let (mut requests, mut sessions) = (Series::new(), Series::new());
    for object in scene.requests().list(&kube::api::ListParams::default()).await.unwrap() {
        assert!(object.is_finished(), "{}", object.name_any());
        let outcome = match object.reason() {
            "SessionsKilled" | "SessionsGone" | "AlreadyExecuted" | "DryRunCompleted" => "Succeeded",
            "ExpiredOnArrival" => "Expired",
            _ => "Failed",
        };
        *requests.entry(format!("{{outcome=\"{outcome}\",reason=\"{}\"}}", object.reason())).or_default() += 1.0;
        if object.reason() != "AlreadyExecuted" {
            for (outcome, reason) in object.outcomes() {
                *sessions.entry(format!("{{outcome=\"{outcome:?}\",reason=\"{reason:?}\"}}")).or_default() += 1.0;
            }
        }
    }
    (requests, sessions)
}

#[tokio::test]
async fn after_everything_that_can_happen_the_numbers_are_those_of_the_ledger_and_the_objects() {
    let (scene, relay) = Scene::relayed("numbers", 60).await;
    let operator: Arc<Operator> = scene.operator_through(&relay).await;
    let fresh = scrape(&operator).await;
    assert!((one(&fresh, "sessionkill_leader") - 1.0).abs() < f64::EPSILON);
    assert!(counted(&fresh, "sessionkill_requests_finished_total").is_empty(), "{fresh:#?}");

    let killed = scene.request("killed").sessions([1, 2]);
    killed.create().await;
    scene.wait_recorded("killed").await;
    killed.named("twin").create().await;
    scene.request("gone").session_on(SERVER_IP, 4711).create().await;
    let someone_else = Expect { user: Some("nobody".into()), ..Expect::default() };
    scene.request("skipped").sessions([3]).expecting(&someone_else).create().await;
    scene.request("dry-run").sessions([4]).dry_run().create().await;
    scene.request("expired").not_after(in_seconds(-3600)).create().await;
    for name in ["killed", "twin", "gone", "skipped", "dry-run", "expired"] {
        scene.wait_finished(name).await;
    }

    scene.inject(Fault::new(FaultKind::Throttle).times(1));
    scene.request("throttled").sessions([5]).create().await;
    scene.wait_recorded("throttled").await;
    scene.inject(Fault::new(FaultKind::Drop).after().times(1));
    scene.request("lost").sessions([6]).create().await;
    scene.wait_recorded("lost").await;

    let call = relay.hold_body(At::Request, Method::POST, "SessionList");
    scene.request("mismatch").sessions([7]).create().await;
    call.reached().await;
    scene.gateway().set_sessions(vec![successor(7), session(8)]).unwrap();
    call.release();
    scene.wait_recorded("mismatch").await;
    scene.edit_connection(json!({"metadata": {"labels": {"edited": "yes"}}})).await;

    let (requests, sessions) = ended_in(&scene).await;
    let kills = scene.kill_calls();
    let receipts = scene.receipts().await.len();
    // Try again: a status is written shortly before it is counted.
    let series = eventually("the numbers", async || {
        let series = scrape(&operator).await;
        let told = [
            (counted(&series, "sessionkill_upstream_call_seconds_count"), calls_in(&scene.gateway().calls())),
            (counted(&series, "sessionkill_requests_finished_total"), requests.clone()),
            (counted(&series, "sessionkill_sessions_finished_total"), sessions.clone()),
            (counted(&series, "sessionkill_stage_requests"), Series::new()),
        ];
        told.iter().all(|(told, known)| told == known).then_some(series).ok_or_else(|| format!("{told:#?}"))
    })
    .await;

    // If the dispatch window was too short for another call under the claim, the claim was released and the request
    // waited.
    let released = one(&series, "sessionkill_claims_total{result=\"Released\"}");
    let throttled = 1.0 - released;
    for (name, expected) in [
        ("sessionkill_duplicates_suppressed_total", 1.0),
        ("sessionkill_target_mismatches_total", 1.0),
        ("sessionkill_unknown_sessions_total{cause=\"AnswerLost\"}", 1.0),
        ("sessionkill_unknown_sessions_resolved_total{cause=\"AnswerLost\",outcome=\"Gone\"}", 1.0),
        ("sessionkill_claims_total{result=\"Granted\"}", number(receipts) + released),
        ("sessionkill_attempts_put_off_total{reason=\"Throttled\"}", released),
        ("sessionkill_call_requests_count", number(kills.len()) - throttled),
        ("sessionkill_call_sessions_sum", number(kills.iter().map(|call| call.sessions.len()).sum()) - throttled),
        ("sessionkill_unfinished_requests", 0.0),
        ("sessionkill_upstream_limited_connections", 1.0),
    ] {
        assert!((one(&series, name) - expected).abs() < 1e-9, "{name} should be {expected}: {series:#?}");
    }
    assert!(one(&series, "sessionkill_upstream_lowest_limit").is_finite());
    let completions = counted(&series, "sessionkill_request_completion_seconds_count").values().sum::<f64>();
    assert!((completions - requests.values().sum::<f64>()).abs() < 1e-9);
    let outcome = scene.wait_finished("lost").await.outcomes()[0].0;
    assert_eq!(outcome, SessionOutcome::Gone);

    let names = [&scene.namespace, "inc-", "twin", Scene::CONNECTION, Scene::INSTANCE, Scene::TENANT, SERVER_IP];
    let own: Vec<_> = series.keys().filter(|series| names.iter().any(|name| series.contains(*name))).collect();
    assert!(own.is_empty(), "no object has a series of its own: {own:?}");
    scene.end().await;
}
