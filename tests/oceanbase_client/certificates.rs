//! Certificates that a trusted authority has signed, but that are wrong for another reason.

use std::{env, io::Read as _};

use rcgen::{CertifiedKey, KeyPair};
use sessionkill::oceanbase::ErrorKind;
use tokio::{net::TcpListener, process::Command};

use crate::{
    calls::{call, not_executed},
    transport::tls,
};

const ENDPOINT: &str = "TEST_ENDPOINT";
const REFUSAL: &str = "TEST_REFUSAL";

#[tokio::test]
#[ignore = "the others run it as a process of its own: whom it trusts is read when it starts"]
async fn refused_from_a_process_of_its_own() {
    let error = not_executed(call(&env::var(ENDPOINT).unwrap()).await);
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(error.message.contains(&env::var(REFUSAL).unwrap()), "{error}");
}

/// Runs a process that trusts `certified` and calls a server with that certificate. The process must refuse with this
/// error and send nothing.
async fn is_refused(certified: CertifiedKey<KeyPair>, refusal: &str) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = testbed::scratch::directory().unwrap();
    let trusted = directory.path().join("ca.pem");
    std::fs::write(&trusted, certified.cert.pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut process = Command::new(env::current_exe().unwrap());
    process.args(["--exact", "certificates::refused_from_a_process_of_its_own", "--ignored"]).kill_on_drop(true);
    process.env(ENDPOINT, format!("https://{}", listener.local_addr().unwrap())).env(REFUSAL, refusal);
    process.env("SSL_CERT_FILE", &trusted).env_remove("SSL_CERT_DIR");
    let called = tokio::spawn(async move { process.output().await.unwrap() });

    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = stream.into_std().unwrap();
    let received = tokio::task::spawn_blocking(move || {
        stream.set_nonblocking(false).unwrap();
        let mut connection = rustls::ServerConnection::new(tls(&certified)).unwrap();
        let mut plain = vec![];
        let _ = rustls::Stream::new(&mut connection, &mut stream).read_to_end(&mut plain);
        plain
    });
    let output = called.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(received.await.unwrap(), b"", "a signed request was sent to a stranger");
}

fn certified(name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> CertifiedKey<KeyPair> {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    change(&mut params);
    let signing_key = KeyPair::generate().unwrap();
    CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
}

#[tokio::test]
async fn a_certificate_of_another_host_gets_no_request() {
    is_refused(certified("oceanbasepro.cn-hangzhou.aliyuncs.com", |_| {}), "not valid for name").await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_gets_no_request() {
    let expired = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    };
    is_refused(certified("127.0.0.1", expired), "expired").await;
}
