//! Nothing waits forever, neither for a peer that has vanished nor for one that is connected and does not answer.

use futures::AsyncBufReadExt as _;
use hyper_util::client::legacy::Error as HttpError;
use tokio::net::TcpListener;

use crate::control_plane::cluster;
use crate::relay::Relay;
use crate::server::Server;
use crate::{ask, causes, client, config, within};

const NAMESPACES: &str = "/api/v1/namespaces";

/// Makes a request on a dead connection and returns its error. The next request must succeed.
async fn on_a_dead_connection(http1: bool) -> String {
    let control_plane = &cluster().await.control_plane;
    let relay = Relay::start(&control_plane.url()).await;
    let client = client(config(control_plane.kubeconfig(), &relay.url()).await, http1);
    ask(&client, "GET", NAMESPACES).await.unwrap();
    relay.let_all_die();
    let error = ask(&client, "GET", NAMESPACES).await.expect_err("nothing passes");
    ask(&client, "GET", NAMESPACES).await.expect("a new connection");
    causes(&error)
}

#[tokio::test]
async fn a_peer_that_vanished_does_not_answer_pings() {
    let error = on_a_dead_connection(false).await;
    assert!(error.contains("keep-alive timed out"), "{error}");
}

#[tokio::test]
async fn a_peer_that_vanished_is_silent_for_too_long() {
    let error = on_a_dead_connection(true).await;
    assert!(error.contains("timed out"), "{error}");
}

/// The connection works and pings are answered, but this request is not: the server has lost it.
#[tokio::test]
async fn a_request_that_is_never_answered_is_given_up() {
    let given_up = async |http1| {
        let server = Server::start(&["h2", "http/1.1"]).await;
        let client = client(server.config(), http1);
        let error = ask(&client, "GET", "/silent").await.expect_err("nothing is answered");
        assert!(causes(&error).contains("timed out"), "{}", causes(&error));
        ask(&client, "GET", "/version").await.unwrap();
    };
    tokio::join!(given_up(false), given_up(true));
}

#[tokio::test]
async fn an_answer_that_never_goes_on_is_given_up() {
    let given_up = async |http1| {
        let server = Server::start(&["h2", "http/1.1"]).await;
        let client = client(server.config(), http1);
        let request = http::Request::get("/stuck").body(Vec::new()).unwrap();
        let mut answer = std::pin::pin!(within(client.request_stream(request)).await.unwrap());
        let mut line = String::new();
        within(answer.read_line(&mut line)).await.unwrap();
        assert_eq!(line, "{\n");
        let error = within(answer.read_line(&mut line)).await.expect_err("nothing follows");
        assert!(error.to_string().contains("data was not received"), "{error}");
    };
    tokio::join!(given_up(false), given_up(true));
}

/// The error says that nothing was sent.
#[tokio::test]
async fn a_server_that_never_greets_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    // The kernel accepts the connection, but nothing answers the first message of TLS.
    let error = ask(&client(kube::Config::new(url.parse().unwrap()), false), "GET", "/version").await.unwrap_err();
    let kube::Error::Service(inner) = &error else { panic!("{error:?}") };
    assert!(inner.downcast_ref::<HttpError>().is_some_and(HttpError::is_connect), "{}", causes(&error));
}
