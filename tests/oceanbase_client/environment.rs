//! What environment variables may change: not the proxy, but the trusted certificates.
//!
//! Variables are read when a client is created. So these calls are made by separate processes: this program with one
//! ignored test.

use std::{
    env,
    io::{Read as _, Write as _},
    time::Duration,
};

use sessionkill::backends::addresses::Addresses;
use sessionkill::oceanbase::{Client, ClientOptions};
use tokio::{net::TcpListener, process::Command};

use crate::{
    calls::{Permit, access, answered, call, client, kill},
    server::{Server, http},
    transport::tls,
};

const ANSWER: &str = r#"{"RequestId":"R","Data":[]}"#;
const ENDPOINT: &str = "TEST_ENDPOINT";

#[tokio::test]
#[ignore = "the others run it as a process of its own"]
async fn call_from_a_process_of_its_own() {
    answered(call(&env::var(ENDPOINT).unwrap()).await);
}

/// A process that calls `endpoint` once, and succeeds if it gets an answer.
fn process(endpoint: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "environment::call_from_a_process_of_its_own", "--ignored"]).env(ENDPOINT, endpoint);
    command.kill_on_drop(true);
    command
}

async fn succeeds(mut process: Command) {
    let output = process.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn a_proxy_in_the_environment_is_not_used() {
    let proxy = Server::answering(http("200 OK", "", ANSWER)).await;
    let server = Server::answering(http("200 OK", "", ANSWER)).await;
    let mut process = process(&server.url());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        process.env(name, proxy.url()).env(name.to_lowercase(), proxy.url());
    }
    process.env_remove("NO_PROXY").env_remove("no_proxy");
    succeeds(process).await;
    assert_eq!((proxy.connections(), server.connections()), (0, 1));
}

#[tokio::test]
async fn a_proxy_that_was_asked_for_is_used() {
    let proxy = Server::answering(http("200 OK", "", ANSWER)).await;
    let _ = client(Duration::from_secs(30));
    let options_with_proxy = ClientOptions {
        request_timeout: Duration::from_secs(30),
        addresses: Addresses::Public,
        proxy: Some(proxy.url()),
    };
    let through_proxy = Client::new(&options_with_proxy).unwrap();
    let endpoint = access("http://no-such-host.invalid");
    answered(through_proxy.kill(Permit::valid(), &kill(), &endpoint).await);
    assert!(proxy.requests()[0].starts_with("POST http://no-such-host.invalid/ HTTP/1.1"), "{:?}", proxy.requests());

    let malformed = ClientOptions { proxy: Some("not a url".to_owned()), ..options_with_proxy };
    assert!(Client::new(&malformed).is_err());
}

/// This is how real gateways are called.
#[tokio::test]
async fn a_gateway_with_a_trusted_certificate_is_called_over_tls() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let directory = testbed::scratch::directory().unwrap();
    let trusted = directory.path().join("ca.pem");
    std::fs::write(&trusted, certified.cert.pem()).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut process = process(&format!("https://{}", listener.local_addr().unwrap()));
    process.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR");
    let called = tokio::spawn(succeeds(process));

    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = stream.into_std().unwrap();
    let request = tokio::task::spawn_blocking(move || {
        stream.set_nonblocking(false).unwrap();
        let mut connection = rustls::ServerConnection::new(tls(&certified)).unwrap();
        let mut stream = rustls::Stream::new(&mut connection, &mut stream);
        let mut request = vec![];
        let mut piece = [0; 4096];
        // The tenant is the last parameter in the body.
        while !request.ends_with(b"TenantId=t4louaeei0001") {
            let length = stream.read(&mut piece).unwrap();
            request.extend_from_slice(&piece[..length]);
        }
        stream.write_all(http("200 OK", "", ANSWER).as_bytes()).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        String::from_utf8(request).unwrap()
    });
    called.await.unwrap();
    assert!(request.await.unwrap().starts_with("POST / HTTP/1.1\r\n"));
}
