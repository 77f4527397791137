//! The alerts and the dashboard on a real Prometheus. promtool checks when each alert fires. A Prometheus server
//! scrapes the real operator during a burst of requests, and every query must show what really happened.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use testbed::arena::{Arena, Ground, Launch, session};
use testbed::dashboard::{Scene, draw, play};
use testbed::gateway::CallRecord;
use testbed::prometheus::{Programs, Prometheus};
use testbed::scratch;
use tokio::time::{Instant, sleep};

/// The rules, as the chart installs them.
const RULES: &str = "deploy/helm/sessionkill-operator/files/prometheus-rules.yaml";
/// The same rules as an object of the Prometheus operator.
const OBJECT: &str = "deploy/monitoring/prometheus-rule.yaml";
const LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(200);

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

async fn programs() -> Programs {
    tokio::task::spawn_blocking(Programs::locate).await.unwrap().unwrap()
}

/// The name and the expression of each alert.
fn alerts() -> Vec<(String, String)> {
    let rules = read(RULES);
    let of = |rule: &str| {
        let (name, rest) = rule.split_once('\n').unwrap();
        let expression = rest.split_once("expr: ").unwrap().1;
        let end = expression.find("\n    for:").or_else(|| expression.find("\n    labels:")).unwrap();
        let expression = expression[..end].trim_start_matches("|-").replace('\n', " ");
        (name.trim().to_owned(), expression)
    };
    rules.split("- alert: ").skip(1).map(of).collect()
}

#[test]
fn the_object_is_made_of_the_charts_rules() {
    let object = read(OBJECT);
    let (head, _) = object.split_once("spec:\n").unwrap();
    let indented: Vec<String> = read(RULES).lines().map(|line| format!("  {line}")).collect();
    let wanted = format!("{head}spec:\n{}\n", indented.join("\n"));
    if std::env::var_os("UPDATE_RULES").is_some() {
        fs::write(repository(OBJECT), &wanted).unwrap();
    }
    assert!(read(OBJECT) == wanted, "{OBJECT} is not as {RULES}: UPDATE_RULES=1 cargo test --test monitoring");
}

#[test]
fn each_alert_says_what_to_do() {
    let (page, rules) = (read("docs/alerts.md"), read(RULES));
    let names: Vec<_> = alerts().into_iter().map(|(name, _)| name).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        assert!(page.contains(&format!("### {name}\n")), "docs/alerts.md does not have {name}");
        let link = format!("runbook_url: docs/alerts.md#{}\n", name.to_lowercase());
        assert!(rules.contains(&link), "{name} has no link to its part of docs/alerts.md");
    }
    for heading in page.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(names.iter().any(|name| name == heading), "there is no alert {heading}");
    }
}

#[tokio::test]
async fn each_alert_fires_when_it_should_and_not_before() {
    let programs = programs().await;
    let directory = scratch::directory().unwrap();
    fs::copy(repository(RULES), directory.path().join("prometheus-rules.yaml")).unwrap();
    fs::copy(repository("deploy/monitoring/rules-test.yaml"), directory.path().join("rules-test.yaml")).unwrap();
    let checked = programs.promtool(directory.path(), &["check", "rules", "prometheus-rules.yaml"]).unwrap();
    assert!(checked.contains(&format!("{} rules found", alerts().len())), "{checked}");
    programs.promtool(directory.path(), &["test", "rules", "rules-test.yaml"]).unwrap();
    // The tests must let each alert fire.
    let tests = read("deploy/monitoring/rules-test.yaml");
    for (name, _) in alerts() {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "no test lets {name} fire");
    }
}

/// Waits until `expression` has the values `wanted`, by its only remaining label. The server scrapes once a second.
async fn wait_for(server: &Prometheus, expression: &str, wanted: &BTreeMap<String, f64>) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = server.query(expression).await.unwrap();
        let by_label = |series: &testbed::prometheus::Series| {
            (series.metric.values().cloned().collect::<Vec<_>>().join(" "), series.number())
        };
        let found: BTreeMap<String, f64> = found.iter().map(by_label).filter(|(_, value)| *value != 0.0).collect();
        if found == *wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{expression}: {found:?} and not {wanted:?}");
        sleep(POLL).await;
    }
}

fn counts<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.to_owned()).or_default() += 1.0;
    }
    counts
}

#[tokio::test]
async fn every_query_is_answered_with_what_happened() {
    let (programs, directory) = (programs().await, scratch::directory().unwrap());
    let binary = Path::new(env!("CARGO_BIN_EXE_sessionkill-operator"));
    let ground = Arc::new(Ground::prepare(directory.path(), binary).await.unwrap());
    let sessions = (1..=Scene::SESSIONS).map(session).collect();
    let arena = Arena::set(&ground, "monitored", sessions).await.unwrap();
    let replica = arena.start(Launch::default()).await.unwrap();
    replica.ready().await.unwrap();
    let target = replica.operator.health_url().replace("http://", "");
    let server = Prometheus::start(&programs, directory.path(), &target, &repository(RULES)).await.unwrap();
    // Wait for the first scrape: a counter that the server has not seen at 0 has no increase.
    wait_for(&server, "count(sessionkill_build_info) by (job)", &[("sessionkill-operator".to_owned(), 1.0)].into())
        .await;

    let started = Timestamp::now().as_second();
    let scene = play(&arena, 15).await.unwrap();

    let requests = arena.requests().await.unwrap();
    assert_eq!(requests.len(), scene.requests);
    let reason = |request: &sessionkill::api::SessionKill| {
        let conditions = request.status.clone().unwrap().conditions;
        conditions.into_iter().find(|condition| condition.type_ == "Succeeded").unwrap().reason
    };
    let reasons: Vec<_> = requests.iter().map(reason).collect();
    let wanted = counts(reasons.iter().map(String::as_str));
    assert!(wanted["AlreadyExecuted"] > 0.0 && wanted["DeadlineExceeded"] > 0.0, "{wanted:?}");
    wait_for(&server, "sum by (reason) (sessionkill_requests_finished_total)", &wanted).await;
    let calls = arena.gateway.calls();
    let kills = calls.iter().filter(|call| !call.sessions.is_empty());
    let code = |call: &CallRecord| match (call.http_status, call.result.as_deref()) {
        (None, _) => "AnswerLost",
        (_, Some("Throttling.User")) => "Throttled",
        (_, Some("OK")) => "Ok",
        other => panic!("{other:?}"),
    };
    let by_code = counts(kills.map(code));
    assert_eq!(by_code.get("Throttled"), Some(&f64::from(scene.throttled)));
    let called = "sum by (code) (sessionkill_upstream_call_seconds_count{operation=\"KillProcessList\"})";
    wait_for(&server, called, &by_code).await;

    // These may show only zeros: at each scrape, no request may have been in progress.
    let momentary = ["Where SessionKills are", "The oldest of each stage"];
    for drawn in draw(&server, started, Timestamp::now().as_second()).await.unwrap() {
        let mut points = drawn.lines.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
        assert!(!drawn.lines.is_empty(), "{} shows nothing", drawn.title);
        let is_shown = points.any(|value| value > 0.0);
        assert!(is_shown || momentary.contains(&drawn.title.as_str()), "{} shows only zeros", drawn.title);
        let unnamed = drawn.lines.iter().find(|(name, _)| name.contains('{'));
        assert_eq!(unnamed, None, "{}: a legend names a label that is not there", drawn.title);
    }
    let mut fires = vec![];
    for (name, expression) in alerts() {
        if !server.query(&expression).await.unwrap().is_empty() {
            fires.push(name);
        }
    }
    fires.sort();
    let expected = ["SessionKillDeadlineExceeded", "SessionKillThrottled"];
    let possible = |name: &&String| !expected.contains(&name.as_str());
    assert_eq!(fires.iter().find(possible), None, "nothing else is wrong");
    assert!(fires.contains(&expected[0].to_owned()), "{fires:?}");
}
