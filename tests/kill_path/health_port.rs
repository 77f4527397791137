//! Anyone who can reach the health port can open connections to it. This must not take anything away from the kills.

use std::net::SocketAddr;
use std::time::Duration;

use sessionkill::descriptors;
use testbed::operator::Operator;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::scene::{Launch, Request as _, Scene};

/// Far more time than the operator needs to close an idle connection.
const LIMIT: Duration = Duration::from_mins(1);

fn address(operator: &Operator) -> SocketAddr {
    operator.health_url().trim_start_matches("http://").parse().unwrap()
}

/// A request like a kubelet's probe: sent at once, on a new connection.
async fn probe(operator: &Operator, path: &str) -> reqwest::Result<reqwest::StatusCode> {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    Ok(http.get(format!("{}{path}", operator.health_url())).send().await?.status())
}

/// Waits until the other side has ended the connection, with or without an error.
async fn ended(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    let reading = async { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} };
    timeout(LIMIT, reading).await.expect("the connection is still open");
}

#[tokio::test]
async fn a_request_without_end_is_neither_kept_nor_waited_for() {
    const CONNECTIONS: usize = 100;
    const BYTES: usize = 400 * 1024;
    let scene = Scene::set("endless-head").await;
    let operator = scene.operator().await;
    probe(&operator, "/metrics").await.unwrap();
    let before = operator.rss_bytes().unwrap();
    let open = async |_| {
        let mut stream = TcpStream::connect(address(&operator)).await.unwrap();
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nx: ").await;
        // Write until the other side ends the connection.
        let _ = timeout(LIMIT, stream.write_all(&vec![b'x'; BYTES])).await.expect("neither taken nor refused");
        stream
    };
    let streams = futures::future::join_all((0..CONNECTIONS).map(open)).await;
    let after = operator.rss_bytes().unwrap();
    assert!(after < before + (CONNECTIONS * BYTES / 8) as u64, "{before} bytes became {after}");
    futures::future::join_all(streams.into_iter().map(ended)).await;
    assert_eq!(probe(&operator, "/livez").await.unwrap(), 200);
    scene.end().await;
}

#[tokio::test]
async fn a_head_that_does_not_come_is_waited_for_for_seconds() {
    let scene = Scene::set("slow-head").await;
    let operator = scene.operator().await;
    let idle = TcpStream::connect(address(&operator)).await.unwrap();
    let mut begun = TcpStream::connect(address(&operator)).await.unwrap();
    begun.write_all(b"GET /livez HTTP/1.1\r\nhost:").await.unwrap();
    let mut answered = TcpStream::connect(address(&operator)).await.unwrap();
    answered.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    futures::future::join_all([idle, begun, answered].map(ended)).await;
    scene.end().await;
}

#[tokio::test]
async fn a_thousand_connections_leave_descriptors_for_calls_and_time_for_probes() {
    // The limit of this process: its ends of the connections count too.
    assert!(descriptors::raise_limit() > 4000, "raise the hard limit of open files");
    let scene = Scene::set("crowded").await;
    // First with a hard limit of 128 descriptors, which cannot be raised, and later with a soft limit, which can.
    let few = scene.launch(Launch { through: vec!["prlimit", "--nofile=128:128"], ..Launch::default() }).await;
    let crowd = |operator: &Operator| {
        let address = address(operator);
        futures::future::join_all((0..1100).map(move |_| TcpStream::connect(address)))
    };
    let crowded = crowd(&few).await;
    scene.request("in-a-crowd").create().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(probe(&few, path).await.unwrap(), 200, "{path}");
    }
    assert_eq!(scene.wait_finished("in-a-crowd").await.reason(), "SessionsKilled");
    assert!(!few.logs().unwrap().contains("Too many open files"));
    drop(crowded);
    few.stop().await;

    let raised = scene.launch(Launch { through: vec!["prlimit", "--nofile=128:"], ..Launch::default() }).await;
    let _crowded = crowd(&raised).await;
    scene.request("in-another").sessions([2]).create().await;
    assert_eq!(probe(&raised, "/livez").await.unwrap(), 200);
    assert_eq!(scene.wait_finished("in-another").await.reason(), "SessionsKilled");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", raised.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let [soft, hard] = [3, 4].map(|place| files.split_whitespace().nth(place).unwrap());
    assert_eq!(soft, hard, "{files}");
    scene.end().await;
}
