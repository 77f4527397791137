//! The operator's memory depends on what it asked for, not on how much a gateway answers.

use std::fs;
use std::sync::Arc;

use serde_json::{Value, json};
use sessionkill::api::{Expect, SessionOutcome, SessionReason};
use testbed::operator::Operator;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::scene::{Launch, Request as _, SERVER_IP, Scene, in_seconds, session_id};

const REQUESTS: i64 = 32;
const SESSIONS: i64 = 65_000;

/// The memory limit in MiB, for the debug build while it receives lists of 14 MB each.
const MEMORY: u64 = 120;

/// A gateway that lists `sessions` sessions, each with its own user, in about 14 MB. It has no other answer.
async fn gateway_of(sessions: i64) -> String {
    let row = |number: i64| {
        json!({
            "SessionId": session_id(number), "ServerIp": SERVER_IP, "ClientIp": "10.2.3.4", "Command": "Query",
            "Status": "ACTIVE", "ExecuteTime": 742, "User": format!("user-{number}"), "Database": "reports",
            "SqlText": format!("SELECT {number}, SUM(amount) FROM orders"),
        })
    };
    let rows: Vec<Value> = (1..=sessions).map(row).collect();
    let list = json!({"RequestId": "R", "Data": {"AllProcessList": rows, "TotalSessionCount": sessions}}).to_string();
    assert!((13_000_000..15_000_000).contains(&list.len()), "{}", list.len());
    let list: Arc<str> = list.into();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(answer(connection, list.clone()));
        }
    });
    url
}

/// Answers one request. Its body is not read: it has arrived with the head, or soon after.
async fn answer(mut connection: TcpStream, list: Arc<str>) {
    let mut request = vec![];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if connection.read_buf(&mut request).await.unwrap_or_default() == 0 {
            return;
        }
    }
    let asks_for_list = String::from_utf8_lossy(&request).contains("DescribeProcessStatsComposition");
    let body = if asks_for_list { &*list } else { r#"{"Code":"MissingInstanceId"}"# };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = connection.write_all(head.as_bytes()).await;
    let _ = connection.write_all(body.as_bytes()).await;
    let _ = connection.read_to_end(&mut request).await;
}

/// The peak memory of the process, in MiB.
fn peak(operator: &Operator) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", operator.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn many_large_lists_at_once_take_a_bounded_memory_and_each_request_is_told_of_its_session() {
    let scene = Scene::bare("large-answers").await;
    scene.good_secret().await;
    let gateway = gateway_of(SESSIONS).await;
    // Each request has its own connection, so that none waits for the list of another.
    for number in 1..=REQUESTS {
        scene.put_connection(&format!("ob-{number}"), Scene::SECRET, json!({"endpoint": gateway})).await;
    }
    let operator = scene.launch(Launch { allow: vec![&gateway], ..Launch::default() }).await;
    let before = peak(&operator);
    for number in 1..=REQUESTS {
        let there = number * (SESSIONS / REQUESTS);
        let request = scene.request(&format!("dry-run-{number}")).through(&format!("ob-{number}")).dry_run();
        let user = Expect { user: Some(format!("user-{there}")), ..Expect::default() };
        let request = request.sessions([there, SESSIONS + number]).expecting(&user);
        request.not_after(in_seconds(1200)).create().await;
    }
    for number in 1..=REQUESTS {
        let ended = scene.wait_finished(&format!("dry-run-{number}")).await;
        let would = (SessionOutcome::Skipped, SessionReason::DryRun);
        assert_eq!(ended.outcomes(), [would, (SessionOutcome::Gone, SessionReason::NotFound)], "{number}");
    }
    let peak = peak(&operator);
    println!("{peak} MiB at most, {before} before");
    assert!(peak < MEMORY, "{peak} MiB");
    scene.end().await;
}
