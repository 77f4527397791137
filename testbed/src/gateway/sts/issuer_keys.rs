//! The public keys of an issuer, which is an API server. They are read again when a token names an unknown one.

use std::path::PathBuf;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use kube::Client;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::control_plane::client_for;

/// Where an API server publishes its keys. It tells them to authenticated clients only.
const PATH: &str = "/openid/v1/jwks";

/// The keys of one issuer.
pub struct IssuerKeys {
    kubeconfig: PathBuf,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    client: Option<Client>,
    keys: Vec<IssuerKey>,
}

/// An RSA key that verifies signatures by RS256.
#[derive(Clone)]
pub struct IssuerKey {
    id: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<PublishedKey>,
}

#[derive(Deserialize)]
struct PublishedKey {
    #[serde(rename = "kid")]
    id: String,
    #[serde(rename = "kty")]
    kind: String,
    #[serde(rename = "n", default)]
    modulus: String,
    #[serde(rename = "e", default)]
    exponent: String,
}

impl IssuerKeys {
    /// Those of the API server in this kubeconfig. Reads nothing yet.
    #[must_use]
    pub fn new(kubeconfig: PathBuf) -> Self {
        Self { kubeconfig, read: Mutex::default() }
    }

    /// The key with this ID. `None` if the issuer has no such RSA key. Fails if the keys cannot be read.
    pub async fn find(&self, id: &str) -> anyhow::Result<Option<IssuerKey>> {
        let mut read = self.read.lock().await;
        if let Some(known) = read.keys.iter().find(|key| key.id == id) {
            return Ok(Some(known.clone()));
        }
        let client = match &read.client {
            Some(client) => client.clone(),
            None => client_for(&self.kubeconfig).await?,
        };
        let published = client.request::<KeySet>(Request::get(PATH).body(vec![])?).await;
        read.client = Some(client);
        let published = published.context("cannot read the keys of the issuer")?;
        read.keys = published.keys.iter().filter_map(IssuerKey::of).collect();
        Ok(read.keys.iter().find(|key| key.id == id).cloned())
    }
}

impl IssuerKey {
    fn of(published: &PublishedKey) -> Option<Self> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| !bytes.is_empty());
        let (modulus, exponent) = (decode(&published.modulus)?, decode(&published.exponent)?);
        (published.kind == "RSA").then(|| Self { id: published.id.clone(), modulus, exponent })
    }

    /// Whether this key signed the message by RS256.
    #[must_use]
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use axum::{Router, routing::get};
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;
    use crate::scratch;

    fn key(id: &str) -> Value {
        json!({"kid": id, "kty": "RSA", "alg": "RS256", "use": "sig", "n": "AQAB", "e": "AQAB"})
    }

    #[tokio::test]
    async fn the_keys_are_read_again_only_for_a_key_that_is_not_known() {
        let reads = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reads);
        // Each read shows one key more.
        let answer = move || {
            let shown = counted.fetch_add(1, Ordering::Relaxed) + 1;
            let mut keys: Vec<_> = ["a", "b", "c"].into_iter().take(shown).map(key).collect();
            keys.push(json!({"kid": "elliptic", "kty": "EC", "crv": "P-256", "x": "AQAB", "y": "AQAB"}));
            std::future::ready(json!({"keys": keys}).to_string())
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, Router::new().route(PATH, get(answer))).await });
        let directory = scratch::directory().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "a", "cluster": {"server": server}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "users": [{"name": "a", "user": {}}],
            "current-context": "a",
        });
        fs::write(&kubeconfig, text.to_string()).unwrap();

        let keys = IssuerKeys::new(kubeconfig);
        let find = async |id: &str| keys.find(id).await.unwrap().map(|key| key.id);
        assert_eq!(find("a").await.as_deref(), Some("a"));
        assert_eq!(find("a").await.as_deref(), Some("a"));
        assert_eq!(reads.load(Ordering::Relaxed), 1);
        assert_eq!(find("b").await.as_deref(), Some("b"));
        assert_eq!(find("a").await.as_deref(), Some("a"));
        assert_eq!(reads.load(Ordering::Relaxed), 2);
        assert_eq!(find("elliptic").await, None);
        assert_eq!(find("c").await.as_deref(), Some("c"));
        assert_eq!(reads.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn keys_that_cannot_be_read_are_no_lack_of_keys() {
        let directory = scratch::directory().unwrap();
        assert!(IssuerKeys::new(directory.path().join("kubeconfig")).find("a").await.is_err());
    }
}
