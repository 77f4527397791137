//! The certificates of one control plane: made at its first start, never reused for another.

use std::{fs, path::Path};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

pub(super) const CA: &str = "ca.crt";
pub(super) const SERVER_CERTIFICATE: &str = "apiserver.crt";
pub(super) const SERVER_KEY: &str = "apiserver.key";
pub(super) const TOKEN_KEY: &str = "service-accounts.key";
pub(super) const TOKEN_PUBLIC_KEY: &str = "service-accounts.pub";

/// What the administrator's kubeconfig holds, in PEM.
pub(super) struct Identity {
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Writes the files that the API server reads into `directory` and returns the administrator's identity.
pub(super) fn create(directory: &Path) -> anyhow::Result<Identity> {
    let ca = authority()?;
    let (certificate, key) = issue(&ca, &serving()?)?;
    let (admin_certificate, admin_key) = issue(&ca, &administrator()?)?;
    let token_key = KeyPair::generate()?;
    let files = [
        (CA, ca.pem()),
        (SERVER_CERTIFICATE, certificate),
        (SERVER_KEY, key),
        (TOKEN_KEY, token_key.serialize_pem()),
        (TOKEN_PUBLIC_KEY, token_key.public_key_pem()),
    ];
    for (name, content) in files {
        let path = directory.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(Identity { ca: ca.pem(), certificate: admin_certificate, key: admin_key })
}

fn authority() -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("testbed", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn serving() -> anyhow::Result<CertificateParams> {
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(String::from);
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = name("kube-apiserver", None);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn administrator() -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new([])?;
    params.distinguished_name = name("admin", Some("system:masters"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
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
