//! Traces with real parts. The operator's binary with the feature `otlp` sends them to a receiver that reads them as
//! any OpenTelemetry collector does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

#[path = "../kill_path/scene/mod.rs"]
#[allow(dead_code, unused_imports, reason = "made for the kill path")]
mod scene;

mod receiver;

use std::collections::BTreeSet;
use std::time::Duration;

use sessionkill::api::SessionKill;
use sha2::{Digest as _, Sha256};
use testbed::gateway::{Fault, FaultKind};
use testbed::port;

use receiver::{Received, Receiver};
use scene::{At, KEY_ID, KEY_SECRET, Launch, Request as _, SQL_MARK, Scene, eventually};

/// The ID of the trace, computed as docs/tracing.md describes it.
fn trace_id(object: &SessionKill) -> String {
    hex::encode(&Sha256::digest(object.metadata.uid.as_deref().unwrap())[..16])
}

fn to(url: &str) -> Vec<String> {
    vec![format!("OTEL_EXPORTER_OTLP_ENDPOINT={url}"), "OTEL_BSP_SCHEDULE_DELAY=200".to_owned()]
}

/// The spans of `object`, as soon as there is one with each of these names.
async fn spans(receiver: &Receiver, object: &SessionKill, names: &[&str]) -> Vec<Received> {
    let id = trace_id(object);
    eventually("the spans of a request", async || {
        let spans: Vec<_> = receiver.spans().into_iter().filter(|span| span.trace_id == id).collect();
        let found: BTreeSet<_> = spans.iter().map(|span| span.name.as_str()).collect();
        if found.is_superset(&names.iter().copied().collect()) { Ok(spans) } else { Err(format!("{found:?}")) }
    })
    .await
}

/// A trace as text, as in docs/tracing.md: each span with its start after the first one, and its duration.
fn printed(spans: &[Received]) -> String {
    let mut spans: Vec<_> = spans.iter().collect();
    spans.sort_by_key(|span| (!span.parent_id.is_empty(), span.start));
    let first = spans.iter().map(|span| span.start).min().unwrap_or_default();
    let ms = |nanoseconds: u64| format!("{}.{} ms", nanoseconds / 1_000_000, nanoseconds / 100_000 % 10);
    let line = |span: &&Received| {
        let attributes: Vec<_> = span.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let (begins, took) = (ms(span.start - first), ms(span.end - span.start));
        format!("{:<12} {begins:>10} {took:>10}  {}\n", span.name, attributes.join(" "))
    };
    spans.iter().map(line).collect::<Vec<_>>().concat()
}

fn one<'a>(spans: &'a [Received], name: &str) -> &'a Received {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

const ALL: [&str; 8] = ["SessionKill", "queue", "observe", "claim", "call", "verify", "settle", "record"];

#[tokio::test]
async fn a_request_is_one_trace_from_the_watch_to_its_record_and_others_share_its_call() {
    let receiver = Receiver::start().await;
    let (scene, relay) = Scene::relayed("traced", 60).await;
    let call = Scene::hold_call(&relay, At::Request);
    let variables = to(&receiver.url());
    let operator = scene.launch(Launch { allow: vec![relay.url()], variables, ..Launch::default() }).await;

    scene.request("first").sessions([1]).create().await;
    call.reached().await;
    // These wait for the first request, and share a call.
    scene.request("second").sessions([2]).create().await;
    scene.request("third").sessions([3]).create().await;
    eventually("both to wait", async || {
        let waiting = Scene::metrics(&operator).await.contains("sessionkill_stage_requests{stage=\"Queued\"} 2\n");
        waiting.then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    call.release();

    let mut calls = vec![];
    for name in ["first", "second", "third"] {
        let ended = scene.wait_finished(name).await;
        let dispatch = ended.status.as_ref().unwrap().dispatch.clone().unwrap();
        let spans = spans(&receiver, &ended, &ALL).await;
        let root = one(&spans, "SessionKill");
        assert_eq!(root.parent_id, "", "the whole way is no part of anything");
        for part in spans.iter().filter(|span| span.name != "SessionKill") {
            assert_eq!(part.parent_id, root.span_id, "{part:?}");
            assert!(part.start <= part.end, "{part:?}");
        }
        for (name, value) in [
            ("sessionkill.name", name),
            ("k8s.namespace.name", "traced"),
            ("sessionkill.outcome", "SessionsKilled"),
            ("sessionkill.receipt", &dispatch.receipt_name),
            ("sessionkill.request_id", &dispatch.request_id),
            ("sessionkill.sessions.killed", "1"),
        ] {
            assert_eq!(root.attributes.get(name).map(String::as_str), Some(value), "{name}");
        }
        if name == "second" {
            print!("{}", printed(&spans));
        }
        let (observe, claim, call) = (one(&spans, "observe"), one(&spans, "claim"), one(&spans, "call"));
        assert!(observe.end <= claim.end && claim.end <= call.end && call.end <= one(&spans, "settle").end);
        assert!(root.start <= observe.start && !root.is_error, "{root:?}");
        assert_eq!(call.attributes["sessionkill.code"], "Ok");
        assert_eq!(call.attributes["sessionkill.request_id"], dispatch.request_id);
        calls.push(call.clone());
    }
    assert!(calls[0].links.is_empty(), "{:?}", calls[0]);
    let (sharing, shared): (Vec<_>, Vec<_>) = calls[1..].iter().partition(|call| !call.links.is_empty());
    assert_eq!((sharing.len(), shared.len()), (1, 1), "one call served both: {calls:#?}");
    assert_eq!(sharing[0].links, [(shared[0].trace_id.clone(), shared[0].span_id.clone())]);

    let metrics = Scene::metrics(&operator).await;
    let example = format!("# {{trace_id=\"{}\"}}", calls[0].trace_id);
    let lines: Vec<_> = metrics.lines().filter(|line| line.contains("trace_id")).collect();
    let of = |name: &str| lines.iter().any(|line| line.starts_with(name));
    assert!(of("sessionkill_upstream_call_seconds_bucket") && of("sessionkill_request_completion_seconds_bucket"));
    assert!(
        lines.iter().any(|line| line.contains(&example)),
        "the call that was held has a bucket of its own: {lines:#?}"
    );
    let line = scene.audit_lines().into_iter().find(|line| line["name"] == "first").unwrap();
    assert_eq!(line["traceID"], calls[0].trace_id);

    for secret in [KEY_ID, KEY_SECRET, SQL_MARK] {
        assert!(!receiver.has_been_told(secret), "{secret} was sent with a span");
    }
    assert_eq!(receiver.services(), BTreeSet::from(["sessionkill-operator".to_owned()]));
    scene.end().await;
}

#[tokio::test]
async fn a_call_that_is_not_answered_and_what_came_of_it_are_in_the_trace() {
    let receiver = Receiver::start().await;
    let scene = Scene::set("traced-lost").await;
    scene.launch(Launch { variables: to(&receiver.url()), ..Launch::default() }).await;
    scene.inject(Fault::new(FaultKind::Drop).after().times(1));
    scene.request("lost").sessions([1]).create().await;
    let ended = scene.wait_finished("lost").await;
    let spans = spans(&receiver, &ended, &ALL).await;
    let call = one(&spans, "call");
    assert_eq!((call.is_error, call.attributes["sessionkill.code"].as_str()), (true, "AnswerLost"));
    let root = one(&spans, "SessionKill");
    assert_eq!((root.is_error, root.attributes["sessionkill.outcome"].as_str()), (false, "SessionsGone"));
    scene.end().await;
}

#[tokio::test]
async fn what_the_last_moments_were_is_sent_before_the_operator_ends() {
    let receiver = Receiver::start().await;
    let scene = Scene::set("traced-end").await;
    // An export only every 10 minutes, so that only the end of the process can send the spans.
    let variables = vec![to(&receiver.url()).remove(0), "OTEL_BSP_SCHEDULE_DELAY=600000".to_owned()];
    let operator = scene.launch(Launch { variables, ..Launch::default() }).await;
    scene.request("inc-1").sessions([1]).create().await;
    let ended = scene.wait_finished("inc-1").await;
    scene.wait_recorded("inc-1").await;
    operator.stop().await;
    spans(&receiver, &ended, &ALL).await;
    scene.end().await;
}

#[tokio::test]
async fn a_receiver_that_is_not_there_holds_nothing_up() {
    let scene = Scene::set("traced-nowhere").await;
    let nowhere = format!("http://127.0.0.1:{}", port::free().unwrap());
    let operator = scene.launch(Launch { variables: to(&nowhere), ..Launch::default() }).await;
    for number in 1..=3 {
        scene.request(&format!("inc-{number}")).sessions([number]).create().await;
    }
    for number in 1..=3 {
        assert_eq!(scene.wait_finished(&format!("inc-{number}")).await.reason(), "SessionsKilled");
        scene.wait_recorded(&format!("inc-{number}")).await;
    }
    operator.stop().await;
    assert!(scene.logs().contains("finishing what is in flight"), "{}", scene.logs());
    scene.end().await;
}

#[tokio::test]
async fn nobody_who_did_not_ask_for_it_is_told_anything() {
    let receiver = Receiver::start().await;
    let scene = Scene::set("untraced").await;
    let variables = vec![to(&receiver.url()).remove(0), "OTEL_TRACES_SAMPLER=always_off".to_owned()];
    let operator = scene.launch(Launch { variables, ..Launch::default() }).await;
    scene.request("inc-1").sessions([1]).create().await;
    scene.wait_finished("inc-1").await;
    scene.wait_recorded("inc-1").await;
    operator.stop().await;
    assert_eq!(receiver.spans().len(), 0);
    assert!(scene.audit_lines()[0].get("traceID").is_none());
    tokio::time::timeout(Duration::from_mins(1), scene.end()).await.unwrap();
}
