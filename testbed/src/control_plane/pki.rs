//! The certificates of one control plane. They are made at its first start, and never reused for another.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use super::token_key::TokenKey;

pub(super) const CA: &str = "ca.crt";
pub(super) const SERVER_CERTIFICATE: &str = "apiserver.crt";
pub(super) const SERVER_KEY: &str = "apiserver.key";
pub(super) const ADMINISTRATOR_CERTIFICATE: &str = "admin.crt";
pub(super) const ADMINISTRATOR_KEY: &str = "admin.key";
pub(super) const TOKEN_KEY: &str = "service-accounts.key";
pub(super) const TOKEN_PUBLIC_KEY: &str = "service-accounts.pub";

/// The identity in a kubeconfig, in PEM.
pub(super) struct Identity {
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// The authority. A client with a certificate that it signed has the identity in the certificate.
#[derive(Debug)]
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A client of this name, in this group.
    pub(super) fn client(&self, common: &str, organization: Option<&str>) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::new([])?;
        params.distinguished_name = name(common, organization);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = issue(&self.0, &params)?;
        Ok(Identity { ca: self.0.pem(), certificate, key })
    }
}

/// Writes the API server's files into `directory`, with these `addresses` as further names of the server. Returns the
/// authority, and the administrator's identity. It blocks.
pub(super) fn create(directory: &Path, addresses: &[Ipv4Addr]) -> anyhow::Result<(Authority, Identity)> {
    let authority = Authority(authority()?);
    let (certificate, key) = issue(&authority.0, &serving(addresses)?)?;
    let administrator = authority.client("admin", Some("system:masters"))?;
    let token_key = TokenKey::generate()?;
    let files = [
        (CA, authority.0.pem()),
        (SERVER_CERTIFICATE, certificate),
        (SERVER_KEY, key),
        (ADMINISTRATOR_CERTIFICATE, administrator.certificate.clone()),
        (ADMINISTRATOR_KEY, administrator.key.clone()),
        (TOKEN_KEY, token_key.private),
        (TOKEN_PUBLIC_KEY, token_key.public),
    ];
    for (name, content) in files {
        let path = directory.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok((authority, administrator))
}

fn authority() -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("testbed", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn serving(addresses: &[Ipv4Addr]) -> anyhow::Result<CertificateParams> {
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(String::from);
    let names: Vec<_> = names.into_iter().chain(addresses.iter().map(Ipv4Addr::to_string)).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = name("kube-apiserver", None);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn name(common: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}

fn issue(ca: &CertifiedIssuer<'_, KeyPair>, params: &CertificateParams) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let certificate = params.clone().signed_by(&key, ca)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
