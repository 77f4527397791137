//! Nobody reads the standard output. Kills go on, waiting audit lines are kept, and the number of lost lines is
//! reported.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::sync::{Arc, Mutex};
use std::thread;

use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::Value;
use testbed::operator::Operator;

use crate::scene::{Launch, Request as _, Scene, Shown as _, eventually};

type Read = Arc<Mutex<Vec<String>>>;

/// Collects the lines of `pipe` until this process ends.
fn read(pipe: File) -> Read {
    let read = Read::default();
    let lines = read.clone();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            lines.lock().unwrap().push(line.unwrap());
        }
    });
    read
}

/// The names of the requests in `lines`, in the order of the lines.
fn names(lines: &Read) -> Vec<String> {
    let name = |line: &String| serde_json::from_str::<Value>(line).unwrap()["name"].as_str().unwrap().to_owned();
    lines.lock().unwrap().iter().map(name).collect()
}

async fn ready(operator: &Operator) -> (u16, String) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.get(format!("{}/readyz", operator.health_url())).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// How many audit lines the operator has lost, from its metrics.
async fn lost(operator: &Operator) -> usize {
    let metrics = Scene::metrics(operator).await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("sessionkill_lines_lost_total{output=\"Audit\"} "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn while_nobody_reads_audit_lines_kills_go_on_and_it_is_said_until_they_are_read() {
    let scene = Scene::set("unread").await;
    let pipe = scene.audit_pipe();
    let bound = "SESSIONKILL_AUDIT_BYTES=4096".to_owned();
    let operator = scene.launch(Launch { variables: vec![bound], ..Launch::default() }).await;
    assert_eq!(ready(&operator).await, (200, "ok".to_owned()));

    let all: Vec<String> = (1..=20).map(|number| format!("inc-{number}")).collect();
    for (name, number) in all.iter().zip(1..) {
        scene.request(name).sessions([number]).create().await;
    }
    for name in &all {
        assert_eq!(scene.wait_finished(name).await.reason(), "SessionsKilled", "{name}");
        scene.wait_recorded(name).await;
    }
    let (status, text) = ready(&operator).await;
    assert!(status == 503 && text.contains("audit lines cannot be written: nobody reads them"), "{status} {text}");
    let lost = lost(&operator).await;
    let requests = scene.requests().list(&ListParams::default()).await.unwrap();
    let unaudited = requests.iter().filter(|request| request.condition("NotAudited").is_some());
    let unaudited: BTreeSet<String> = unaudited.map(ResourceExt::name_any).collect();
    assert!(lost > 0 && lost < all.len() && lost == unaudited.len(), "{lost} lost, {unaudited:?}");
    assert_eq!(operator.logs().unwrap().matches("audit line lost").count(), lost);

    let lines = read(pipe);
    eventually("the lines that waited", async || {
        let told: BTreeSet<String> = names(&lines).into_iter().chain(unaudited.iter().cloned()).collect();
        let missing: Vec<_> = all.iter().filter(|name| !told.contains(*name)).collect();
        missing.is_empty().then_some(()).ok_or_else(|| format!("{missing:?}"))
    })
    .await;
    assert_eq!(names(&lines).len(), all.len() - lost, "each once");
    eventually("it to be ready", async || {
        let (status, text) = ready(&operator).await;
        (status == 200).then_some(()).ok_or(text)
    })
    .await;
    scene.request("afterwards").sessions([30]).create().await;
    assert!(scene.wait_finished("afterwards").await.condition("NotAudited").is_none());
    scene.wait_recorded("afterwards").await;
    operator.stop().await;
    assert_eq!(names(&lines).last().unwrap(), "afterwards");
    let text = lines.lock().unwrap().join("\n");
    scene.audit_was(&(text + "\n"));
    scene.end().await;
}
