//! Which certificates are accepted, and that nothing is told before.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};

use super::peer::{ALL, OK, handshake, later, login, serve};
use crate::sql::wire::auth::NATIVE;
use crate::sql::wire::{Connection, OpenError, Tls, client_config};

const SSL: u32 = 1 << 11;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server with a certificate for this name, made with `change`.
    fn server(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Arc<ServerConfig> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }

    fn accepted_for(&self, name: &'static str, verify_name: bool) -> Tls {
        let config = client_config(self.0.pem().as_bytes(), verify_name).unwrap();
        Tls::Verified { config, name: ServerName::try_from(name).unwrap() }
    }
}

/// Opens a connection to a server with this certificate, which must hear nothing unless it is accepted.
async fn opened(config: Arc<ServerConfig>, tls: Tls) -> Result<Connection, OpenError> {
    let (address, server) = serve(tls, async move |mut peer| {
        peer.greet().await;
        let request = peer.receive().await;
        assert!(request.len() == 32 && !request.windows(6).any(|window| window == b"killer"));
        // Refused by the client.
        let Ok(mut peer) = peer.secured(config).await else { return };
        let login = peer.receive().await;
        assert!(login[32..].starts_with(b"killer\0\x14"));
        peer.send(OK).await;
        assert_eq!(peer.statement().await, "select 1");
        peer.send_rows(&["1"], &[&[Some("1")]]).await;
    })
    .await;
    let mut opened = Connection::open(&address, &login(), later()).await;
    if let Ok(connection) = &mut opened {
        assert_eq!(connection.query("select 1", later(), |_| ()).await, Ok(1));
    }
    server.await.unwrap();
    opened
}

fn refusal(opened: Result<Connection, OpenError>) -> String {
    match opened {
        Err(OpenError::Certificate(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_of_the_authority_for_the_name_is_accepted() {
    let authority = Authority::new();
    let server = authority.server("db.example", |_| ());
    opened(Arc::clone(&server), authority.accepted_for("db.example", true)).await.unwrap();
    opened(server, authority.accepted_for("db.example", false)).await.unwrap();
}

#[tokio::test]
async fn another_name_is_accepted_only_if_names_are_not_verified() {
    let authority = Authority::new();
    let server = authority.server("other.example", |_| ());
    let text = refusal(opened(Arc::clone(&server), authority.accepted_for("db.example", true)).await);
    assert!(text.contains("db.example"), "{text}");
    opened(server, authority.accepted_for("db.example", false)).await.unwrap();
}

#[tokio::test]
async fn another_authority_is_never_accepted() {
    let server = Authority::new().server("db.example", |_| ());
    for verify_name in [true, false] {
        refusal(opened(Arc::clone(&server), Authority::new().accepted_for("db.example", verify_name)).await);
    }
}

#[tokio::test]
async fn an_expired_certificate_is_never_accepted() {
    let authority = Authority::new();
    let server = authority.server("db.example", |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    for verify_name in [true, false] {
        let text = refusal(opened(Arc::clone(&server), authority.accepted_for("db.example", verify_name)).await);
        assert!(text.contains("expired"), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_offers_no_tls_gets_nothing_if_it_is_wanted() {
    let (address, server) = serve(Authority::new().accepted_for("db.example", true), async |mut peer| {
        peer.send(&handshake(ALL & !SSL, NATIVE)).await;
        peer.hears_nothing_more().await;
    })
    .await;
    let error = Connection::open(&address, &login(), later()).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Unsupported(text) if text.contains("offers no TLS") && text.contains("spec.sql.tls"))
    );
    server.await.unwrap();
}

#[tokio::test]
async fn what_comes_before_tls_does_not_count_as_having_come_after() {
    let authority = Authority::new();
    let (address, server) = serve(authority.accepted_for("db.example", true), async |mut peer| {
        let both = [peer.packet(&handshake(ALL, NATIVE)), b"\x07\0\0\x03\0\0\0\x02\0\0\0".to_vec()].concat();
        tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &both).await.unwrap();
        peer.hears_nothing_more().await;
    })
    .await;
    let error = Connection::open(&address, &login(), later()).await.unwrap_err();
    assert_eq!(error, OpenError::Unsupported("the server sent something that was not asked for".to_owned()));
    server.await.unwrap();

    // Sent a moment later, it is taken for TLS, and is none.
    let (address, server) = serve(authority.accepted_for("db.example", true), async |mut peer| {
        peer.greet().await;
        peer.receive().await;
        peer.send(OK).await;
        let mut rest = vec![];
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut peer.stream, &mut rest).await;
        assert!(!rest.windows(6).any(|window| window == b"killer"));
    })
    .await;
    let error = Connection::open(&address, &login(), later()).await.unwrap_err();
    assert!(matches!(&error, OpenError::Unreachable(text) if text.starts_with("no TLS")), "{error:?}");
    server.await.unwrap();
}
