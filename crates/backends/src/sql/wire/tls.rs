//! TLS: which certificates are accepted. Does I/O on the socket that it is given.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sessionkill_core::backend::bounded;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::OpenError;
use super::packet::Socket;

/// Whether a connection is encrypted.
#[derive(Clone, Debug)]
pub enum Tls {
    /// It is not, even if the server offers it.
    Disabled,
    /// It is, or there is none.
    Verified {
        /// Which certificates are accepted: see [`client_config`].
        config: Arc<ClientConfig>,
        /// The name that the certificate is for.
        name: ServerName<'static>,
    },
}

/// Accepts certificates that one of the authorities in `ca_pem` has signed, and no others; with `verify_name`, only one
/// that is for the server's name. The error is for people.
pub fn client_config(ca_pem: &[u8], verify_name: bool) -> Result<Arc<ClientConfig>, String> {
    let roots = Arc::new(roots(ca_pem)?);
    let provider = Arc::new(default_provider());
    let by_web_pki = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let by_web_pki = by_web_pki.build().map_err(|error| bounded(&error.to_string()))?;
    let verifier: Arc<dyn ServerCertVerifier> = if verify_name {
        by_web_pki
    } else {
        Arc::new(WithoutName { roots, provider: Arc::clone(&provider), by_web_pki })
    };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| bounded(&error.to_string()))?.dangerous();
    let mut config = config.with_custom_certificate_verifier(verifier).with_no_client_auth();
    // Each connection shows its certificate.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn roots(ca_pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem) {
        let certificate = certificate.map_err(|_| "the CA certificates are not PEM".to_owned())?;
        roots.add(certificate).map_err(|error| bounded(&format!("a CA certificate is not usable: {error}")))?;
    }
    if roots.is_empty() { Err("no certificate among the CA certificates".to_owned()) } else { Ok(roots) }
}

/// Verifies that an authority has signed the certificate, and not for which name.
#[derive(Debug)]
struct WithoutName {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    by_web_pki: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for WithoutName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_web_pki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_web_pki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_web_pki.supported_verify_schemes()
    }
}

/// Begins TLS on a socket.
pub(super) async fn secure<S: Socket>(
    socket: S,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<TlsStream<S>, OpenError> {
    TlsConnector::from(config).connect(name, socket).await.map_err(|error| {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
        match cause {
            Some(rustls::Error::InvalidCertificate(refusal)) => OpenError::Certificate(bounded(&refusal.to_string())),
            _ => OpenError::Unreachable(bounded(&format!("no TLS: {error}"))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_a_usable_certificate_is_refused() {
        let error = |pem: &[u8]| client_config(pem, true).unwrap_err();
        assert_eq!(error(b""), "no certificate among the CA certificates");
        assert_eq!(
            error(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"),
            "the CA certificates are not PEM"
        );
        assert_eq!(error(b"-----BEGIN CERTIFICATE-----\nAAAA"), "the CA certificates are not PEM");
        let text = error(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----");
        assert!(text.starts_with("a CA certificate is not usable: "), "{text}");
    }
}
