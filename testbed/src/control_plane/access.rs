//! Ways into the control plane: the administrator's kubeconfig, service accounts' kubeconfigs, clients.

use std::{
    io::Write,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, header::USER_AGENT};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams, config::Kubeconfig};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::pki::Identity;

const TOKEN_SECONDS: i64 = 86_400;

/// The server's address and authority, and the administrator's kubeconfig.
#[derive(Debug)]
pub(super) struct Access {
    directory: PathBuf,
    port: u16,
    ca: String,
    kubeconfig: PathBuf,
}

impl Access {
    pub(super) fn create(directory: &Path, port: u16, identity: &Identity) -> anyhow::Result<Self> {
        let kubeconfig = directory.join("kubeconfig");
        write_kubeconfig(&kubeconfig, &url(port), &identity.ca, &by_certificate(identity))?;
        Ok(Self { directory: directory.into(), port, ca: identity.ca.clone(), kubeconfig })
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        client_for(&self.kubeconfig).await
    }

    pub(super) async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> anyhow::Result<PathBuf> {
        let token = self.service_account_token(namespace, name, &[]).await?;
        let path = self.directory.join(format!("kubeconfig-{namespace}-{name}"));
        write_kubeconfig(&path, &url(self.port), &self.ca, &json!({"token": token}))?;
        Ok(path)
    }

    /// Without an audience the token is for the API server.
    pub(super) async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audiences: &[&str],
    ) -> anyhow::Result<String> {
        let spec = TokenRequestSpec {
            audiences: audiences.iter().copied().map(String::from).collect(),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let made = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for the service account {namespace}/{name}: create it first"))?;
        Ok(made.status.context("the token request has no status")?.token)
    }

    /// A kubeconfig with the `identity`, for clients that reach the server at this address.
    pub(super) fn kubeconfig_of(&self, name: &str, identity: &Identity, host: Ipv4Addr) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(format!("kubeconfig-{name}"));
        let server = format!("https://{host}:{}", self.port);
        write_kubeconfig(&path, &server, &self.ca, &by_certificate(identity))?;
        Ok(path)
    }
}

/// The user agent of the tests' own clients. It separates their requests from those of the service account's owner.
pub(crate) const TEST_AGENT: &str = "sessionkill-testbed";

/// A client with the identity of the kubeconfig. It never retries, so that tests see each failure.
pub async fn client_for(kubeconfig: &Path) -> anyhow::Result<Client> {
    // Ignore the error: a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = sessionkill::kubernetes::kubeconfig::config(Kubeconfig::read_from(kubeconfig)?).await?;
    config.default_retry = false;
    config.headers.push((USER_AGENT, HeaderValue::from_static(TEST_AGENT)));
    Ok(Client::try_from(config)?)
}

pub(super) fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn by_certificate(identity: &Identity) -> Value {
    json!({
        "client-certificate-data": STANDARD.encode(&identity.certificate),
        "client-key-data": STANDARD.encode(&identity.key),
    })
}

/// Writes the kubeconfig as JSON, which is valid YAML. Whoever reads it meanwhile finds the old or the new one, whole:
/// replicas of one service account are started one after the other, each with a new token in the same file.
fn write_kubeconfig(path: &Path, server: &str, ca: &str, user: &Value) -> anyhow::Result<()> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": {"server": server, "certificate-authority-data": STANDARD.encode(ca)},
        }],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "user"}}],
        "current-context": "testbed",
    });
    let directory = path.parent().context("a kubeconfig is in a directory")?;
    // A temporary file is private, as this must be: it holds a private key or a token.
    let write = || {
        let mut file = NamedTempFile::new_in(directory)?;
        serde_json::to_writer_pretty(&mut file, &kubeconfig)?;
        file.flush()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().with_context(|| format!("cannot write {}", path.display())).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, thread};

    use super::*;

    #[test]
    fn a_kubeconfig_that_is_written_anew_is_whole_for_whoever_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kubeconfig");
        let write = || write_kubeconfig(&path, "https://127.0.0.1:1", "ca", &json!({"token": "x".repeat(100_000)}));
        write().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        thread::scope(|scope| {
            let writer = scope.spawn(|| (0..100).for_each(|_| write().unwrap()));
            while !writer.is_finished() {
                let read = Kubeconfig::read_from(&path).unwrap();
                assert_eq!(read.current_context.as_deref(), Some("testbed"));
            }
        });
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
