//! Failures before and during the send. Only a failed connect proves that nothing was sent.

use std::{io::Read as _, sync::Arc, time::Duration};

use sessionkill::oceanbase::{Called, ErrorKind, KillCall, TimeSource};
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::{
    calls::{Permit, access, ambiguous, answered, call, client, impatient_call, kill, not_executed},
    server::{Server, http},
};

const ANSWER: &str = r#"{"RequestId":"R","Data":[]}"#;

#[tokio::test]
async fn a_connection_that_is_refused_gives_the_permit_back() {
    let port = testbed::port::free().unwrap();
    let error = not_executed(call(&format!("http://127.0.0.1:{port}")).await);
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_host_that_has_no_address_gives_the_permit_back() {
    let error = not_executed(call("http://no-such-host.invalid").await);
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
}

#[tokio::test]
async fn a_server_without_tls_gives_the_permit_back() {
    let server = Server::start(|mut connection| async move {
        connection.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    })
    .await;
    let error = not_executed(call(&format!("https://{}", server.authority)).await);
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gives_the_permit_back_and_gets_no_request() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let called = tokio::spawn(async move { call(&format!("https://127.0.0.1:{port}")).await });
    let (stream, _) = listener.accept().await.unwrap();
    let stream = stream.into_std().unwrap();
    let received = tokio::task::spawn_blocking(move || {
        stream.set_nonblocking(false).unwrap();
        let mut connection = rustls::ServerConnection::new(tls(&certified)).unwrap();
        let mut plain = vec![];
        let mut stream = stream;
        let ended = rustls::Stream::new(&mut connection, &mut stream).read_to_end(&mut plain);
        (ended.map_err(|error| error.to_string()), plain)
    });
    let error = not_executed(called.await.unwrap());
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.contains("invalid peer certificate"), "{error}");
    let (ended, plain) = received.await.unwrap();
    assert!(ended.is_err_and(|why| why.contains("alert")), "the handshake was not refused");
    assert_eq!(plain, b"");
}

/// A TLS server configuration with this certificate.
pub fn tls(certified: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Arc<rustls::ServerConfig> {
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap())
}

#[tokio::test]
async fn time_that_runs_out_before_the_send_gives_the_permit_back() {
    // The server accepts the connection, and never answers the first message of TLS.
    let server = Server::start(|mut connection| async move { connection.wait_for_the_end().await }).await;
    let error = not_executed(impatient_call(&format!("https://{}", server.authority)).await);
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    server.ended(1).await;
    assert_eq!((server.connections(), server.requests().len()), (1, 0));
}

#[tokio::test]
async fn time_that_runs_out_after_the_send_takes_the_permit() {
    let server = Server::start(|mut connection| async move {
        connection.read_request().await;
        connection.wait_for_the_end().await;
    })
    .await;
    assert_eq!(ambiguous(impatient_call(&server.url()).await, "AnswerLost").message, "no answer within 1 s");
    server.ended(1).await;
    assert_eq!((server.connections(), server.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_send_takes_the_permit() {
    let reset = Server::start(|mut connection| async move {
        connection.read_request().await;
        connection.stream.set_zero_linger().unwrap();
    })
    .await;
    let closed = Server::start(|mut connection| async move { connection.read_request().await }).await;
    // The client cannot know how much of the request the server has read.
    let unread = Server::start(|connection| async move { drop(connection) }).await;
    for server in [reset, closed, unread] {
        ambiguous(call(&server.url()).await, "AnswerLost");
        assert_eq!(server.connections(), 1, "the request was sent again");
    }
}

#[tokio::test]
async fn each_call_has_a_connection_of_its_own() {
    let server = Server::start(|mut connection| async move {
        // The connection stays open. A client with a connection pool would use it again.
        connection.read_request().await;
        connection.stream.write_all(http("200 OK", "", ANSWER).as_bytes()).await.unwrap();
        connection.wait_for_the_end().await;
    })
    .await;
    let client = client(Duration::from_secs(30));
    for calls in 1..=3 {
        answered(client.kill(Permit::valid(), &kill(), &access(&server.url())).await);
        server.ended(calls).await;
        assert_eq!((server.connections(), server.requests().len()), (calls, calls));
    }
}

#[tokio::test]
async fn nothing_is_sent_after_the_deadline() {
    let server = Server::answering(http("200 OK", "", ANSWER)).await;
    let client = client(Duration::from_secs(30));
    let current_time = TimeSource::CurrentTime { gateway_lead: jiff::SignedDuration::ZERO };
    for (left, time_source) in [
        (None, TimeSource::DispatchDeadline),
        (None, current_time),
        // Without the server-side fence, the connect must be finished in time too.
        (Some(Duration::from_secs(5)), current_time),
    ] {
        let permit = Permit { left, ..Permit::valid() };
        let kill = KillCall { time_source, ..kill() };
        match client.kill(permit, &kill, &access(&server.url())).await {
            Called::NotExecuted(permit, error) => {
                assert_eq!((permit.left, error.kind), (left, ErrorKind::DeadlinePassed), "{error}");
                assert!(error.message.contains("dispatch deadline passed"), "{error}");
            }
            other => panic!("{left:?}: {other:?}"),
        }
    }
    assert_eq!(server.connections(), 0);
    answered(client.kill(Permit::valid(), &kill(), &access(&server.url())).await);
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_is_not_sent() {
    let server = Server::answering(http("200 OK", "", ANSWER)).await;
    let mut access = access(&server.url());
    access.access_key.security_token = Some("canary-token\r\nx-evil: 1".into());
    let called = client(Duration::from_secs(30)).kill(Permit::valid(), &kill(), &access).await;
    let error = not_executed(called);
    assert_eq!(error.kind, ErrorKind::CredentialsRejected);
    assert!(!error.to_string().contains("canary"), "{error}");
    assert_eq!(server.connections(), 0);
}
