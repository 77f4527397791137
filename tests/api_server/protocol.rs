//! The protocol version, the number of connections, and how many times a request is sent.

use std::fs;

use futures::future::join_all;
use http::Version;
use testbed::operator::Operator;

use crate::control_plane::cluster;
use crate::relay::Relay;
use crate::server::Server;
use crate::{LIMIT, ask, client, config, eventually, scratch, within};

/// Opens watches. Each lasts until the returned value is dropped.
async fn watches(client: &kube::Client, count: usize) -> Vec<impl Sized + use<>> {
    let watch = async || {
        let request = http::Request::get("/api/v1/namespaces?watch=true").body(Vec::new()).unwrap();
        client.request_stream(request).await.unwrap()
    };
    within(join_all((0..count).map(|_| watch()))).await
}

#[tokio::test]
async fn watches_and_calls_share_one_connection_of_http2() {
    let control_plane = &cluster().await.control_plane;
    let relay = Relay::start(&control_plane.url()).await;
    let client = client(config(control_plane.kubeconfig(), &relay.url()).await, false);
    ask(&client, "GET", "/api/v1/namespaces").await.unwrap();
    let _open = watches(&client, 5).await;
    ask(&client, "GET", "/api/v1/namespaces").await.unwrap();
    assert_eq!(relay.open(), 1);
}

#[tokio::test]
async fn each_watch_has_its_connection_when_http1_is_asked_for() {
    let control_plane = &cluster().await.control_plane;
    let relay = Relay::start(&control_plane.url()).await;
    let client = client(config(control_plane.kubeconfig(), &relay.url()).await, true);
    let _open = watches(&client, 5).await;
    ask(&client, "GET", "/api/v1/namespaces").await.unwrap();
    assert_eq!(relay.open(), 6);
}

#[tokio::test]
async fn the_operator_has_the_switch() {
    let control_plane = &cluster().await.control_plane;
    for (value, expected) in [("false", 1..=1), ("true", 2..=usize::MAX)] {
        let relay = Relay::start(&control_plane.url()).await;
        let directory = scratch(&format!("http1-{value}"));
        let text = fs::read_to_string(control_plane.kubeconfig()).unwrap();
        let kubeconfig = directory.join("kubeconfig");
        fs::write(&kubeconfig, text.replace(&control_plane.url(), &relay.url())).unwrap();
        let switch = format!("SESSIONKILL_API_SERVER_HTTP1={value}");
        let arguments = [&switch, env!("CARGO_BIN_EXE_sessionkill-operator"), "run", "--namespace", "default"];
        let operator = Operator::start("env".as_ref(), &kubeconfig, &directory, &arguments).unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let ready = format!("{}/readyz", operator.health_url());
        let check = async || Ok(http.get(&ready).send().await?.error_for_status().map(drop)?);
        operator.process().ready(LIMIT, check).await.unwrap();
        // Connections that were opened before the first one was ready are closed.
        eventually("its watches' connections", async || {
            let open = relay.open();
            expected.contains(&open).then_some(()).ok_or_else(|| format!("{open} connections with {switch}"))
        })
        .await;
        operator.stop().await;
    }
}

#[tokio::test]
async fn a_server_without_http2_is_spoken_to_without_it() {
    for (offered, http1, spoken) in [
        (&["h2", "http/1.1"][..], false, Version::HTTP_2),
        (&["h2", "http/1.1"], true, Version::HTTP_11),
        (&["http/1.1"], false, Version::HTTP_11),
        (&[], false, Version::HTTP_11),
    ] {
        let server = Server::start(offered).await;
        ask(&client(server.config(), http1), "GET", "/version").await.unwrap();
        assert_eq!(server.asked(), [(spoken, "GET /version".to_owned())], "{offered:?} {http1}");
    }
}

/// A write whose answer was lost may have been stored. Sent again, it would find its own object and take it for
/// another's.
#[tokio::test]
async fn a_write_is_sent_once_whatever_is_answered() {
    for (http1, spoken) in [(false, Version::HTTP_2), (true, Version::HTTP_11)] {
        let server = Server::start(&["h2", "http/1.1"]).await;
        let client = client(server.config(), http1);
        let mut expected = vec![];
        for status in [429, 500, 502, 503, 504] {
            for method in ["POST", "PATCH"] {
                let path = format!("/status/{status}");
                let error = ask(&client, method, &path).await.unwrap_err();
                let kube::Error::Api(said) = &error else { panic!("{error:?}") };
                assert_eq!(said.code, status);
                expected.push((spoken, format!("{method} {path}")));
            }
        }
        assert_eq!(server.asked(), expected);
    }
}
