//! Finds the API server's address and our identity in a kubeconfig, or in the Pod's service account. Does I/O.
//!
//! The API server is reached directly. Without a proxy in the kubeconfig, kube would use `HTTPS_PROXY` and fail if it
//! is no URL; that variable is for traffic out of the cluster.

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// Set as the proxy while kube reads a kubeconfig, so that it ignores the environment's proxy.
const DIRECTLY: &str = "http://directly.invalid/";

/// Neither a usable kubeconfig nor a Pod's service account was found.
#[derive(Debug, thiserror::Error)]
#[error(
    "no way to reach an API server: {kubeconfig}; {in_cluster}: run in a cluster, or set KUBECONFIG to a kubeconfig file"
)]
pub struct Nowhere {
    kubeconfig: KubeconfigError,
    in_cluster: InClusterError,
}

/// Like [`kube::Config::infer`]: uses KUBECONFIG, else the kubeconfig in the home directory, else the Pod's service
/// account.
pub async fn infer() -> Result<kube::Config, Nowhere> {
    let found = async { config(Kubeconfig::read()?).await };
    let mut config = match found.await {
        Ok(config) => config,
        Err(kubeconfig) => kube::Config::incluster().map_err(|in_cluster| Nowhere { kubeconfig, in_cluster })?,
    };
    config.apply_debug_overrides();
    Ok(config)
}

/// The configuration of the current context. It has a proxy only if the kubeconfig itself names one.
pub async fn config(mut kubeconfig: Kubeconfig) -> Result<kube::Config, KubeconfigError> {
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        if cluster.proxy_url.as_deref().is_none_or(str::is_empty) {
            cluster.proxy_url = Some(DIRECTLY.to_owned());
        }
    }
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = config.proxy_url.filter(|proxy| proxy != DIRECTLY);
    // The login plugin may get the cluster's configuration, so it must not see the placeholder either.
    if let Some(cluster) = config.auth_info.exec.as_mut().and_then(|exec| exec.cluster.as_mut()) {
        cluster.proxy_url = cluster.proxy_url.take().filter(|proxy| proxy != DIRECTLY);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn read(cluster: &Value) -> kube::Config {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "login", "provideClusterInfo": true,
            "interactiveMode": "Never",
        });
        let text = json!({
            "clusters": [{"name": "x", "cluster": cluster}], "users": [{"name": "x", "user": {"exec": exec}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "current-context": "x",
        });
        config(serde_json::from_value(text).unwrap()).await.unwrap()
    }

    fn told(config: &kube::Config) -> Option<&str> {
        config.auth_info.exec.as_ref().unwrap().cluster.as_ref().unwrap().proxy_url.as_deref()
    }

    #[tokio::test]
    async fn only_a_proxy_that_the_kubeconfig_names_is_one() {
        for none in [json!({"server": "https://a:6443"}), json!({"server": "https://a:6443", "proxy-url": ""})] {
            let config = read(&none).await;
            assert_eq!((config.proxy_url.as_ref(), told(&config)), (None, None), "{none}");
        }
        let named = read(&json!({"server": "https://a:6443", "proxy-url": "http://proxy:8080"})).await;
        assert_eq!(named.proxy_url.as_ref().unwrap().to_string(), "http://proxy:8080/");
        assert_eq!(told(&named), Some("http://proxy:8080"));
    }
}
