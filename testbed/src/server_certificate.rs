//! A certificate for a test server that speaks TLS, and the authority that signed it.

use std::sync::Arc;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// The DNS name in the certificates that stands for a server which a client reaches by another address.
pub const DNS_NAME: &str = "db.example";

/// A certificate of a new authority, all in PEM.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// The authority, which a client must trust.
    pub ca: String,
    /// The server's certificate.
    pub certificate: String,
    /// The server's private key.
    pub key: String,
}

impl ServerCertificate {
    /// For `localhost`, 127.0.0.1 and [`DNS_NAME`].
    pub fn issue() -> anyhow::Result<Self> {
        Self::issue_for(&["localhost", "127.0.0.1", DNS_NAME])
    }

    /// For these DNS names and addresses.
    pub fn issue_for(names: &[&str]) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(DnType::CommonName, "testbed");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

        let mut server = CertificateParams::new(names.iter().copied().map(String::from).collect::<Vec<_>>())?;
        server.distinguished_name.push(DnType::CommonName, "database");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = server.signed_by(&key, &authority)?;
        Ok(Self { ca: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The configuration with which a server shows it.
    pub fn server_config(&self) -> anyhow::Result<Arc<ServerConfig>> {
        // Ignore the error: a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
        Ok(Arc::new(config.context("cannot use a new certificate")?))
    }
}
