//! What kubectl shows of objects that the operator has processed.

use std::fmt::Write as _;

use serde_json::json;
use sessionkill::api::{OceanBaseConnection, SessionKillSpec};
use testbed::arena::{CONNECTION, kill_of, session};
use testbed::gateway::Session;

use crate::page::{but_for_numbers, shows};
use crate::stage::{Stage, condition, eventually, text};

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_show_what_kubectl_prints() {
    let stage = Stage::set("dba", vec![session(1), Session { protected: true, ..session(2) }]).await;
    stage.start_operator().await;
    let because = |numbers: &[i64]| SessionKillSpec {
        reason: Some("INC-4711 runaway report".to_owned()),
        ..kill_of(numbers, 600).unwrap()
    };
    for (name, spec) in [
        ("inc-4711", because(&[1])),
        ("inc-4712", because(&[2])),
        ("inc-4713", SessionKillSpec { suspend: true, ..because(&[3]) }),
    ] {
        stage.create(name, &json!({}), &spec).await;
    }
    stage.ended("inc-4711").await;
    stage.ended("inc-4712").await;
    stage.saying("inc-4713", "Suspended").await;
    eventually("the records and the connection", async || {
        let connections = stage.raw::<OceanBaseConnection>();
        let connection = serde_json::to_value(connections.get(CONNECTION).await.unwrap()).unwrap();
        let receipts = stage.arena.receipts().await.unwrap();
        let recorded = receipts.iter().filter(|receipt| receipt.status.is_some()).count();
        let is_ready = text(condition(&connection, "Ready"), "status") == "True";
        if recorded == 2 && is_ready { Ok(()) } else { Err(format!("{recorded} records, {connection}")) }
    })
    .await;
    eventually("the Events", async || {
        let described = stage.kubectl(&["describe", "sk", "inc-4711"]).await?;
        let events = described.split("Events:").nth(1).unwrap_or_default();
        if events.contains("SessionsKilled") { Ok(()) } else { Err(described) }
    })
    .await;

    let mut printed = "```console\n".to_owned();
    // Sorted by a field, as the names of receipts differ in each run.
    for command in ["get sk", "get sk -o wide", "get obc -o wide", "get skr --sort-by=.spec.sessionKillRef.name"] {
        writeln!(printed, "$ kubectl {command}").unwrap();
        printed += &stage.kubectl(&command.split(' ').collect::<Vec<_>>()).await.unwrap();
    }
    printed += "```\n";
    println!("{printed}");
    shows("concepts.md", "get", &printed, but_for_numbers);

    let described = stage.kubectl(&["describe", "sk", "inc-4711"]).await.unwrap();
    println!("{described}");
    for told in ["1 of 1 sessions killed", "INC-4711 runaway report", "Request ID:", "Outcome:", "Verified"] {
        assert!(described.contains(told), "{told} is not in\n{described}");
    }
    let described = format!("```console\n$ kubectl describe sk inc-4711\n{described}```\n");
    shows("concepts.md", "describe", &described, but_for_numbers);
}
