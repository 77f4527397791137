//! Whether the operator may make tokens of the `ServiceAccount`s that connections name. Does I/O; makes no token.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::ask::{in_time, is_allowed};
use crate::api::{
    BackendSpec, ClusterOceanBaseConnection, CredentialSource, OceanBaseConnection, OceanBaseConnectionSpec,
};
use crate::connections::service_account_tokens::{Tokens, ungranted};

/// The most connections that are looked at, in each namespace or in all, and the most of no namespace.
const MOST_CONNECTIONS: u32 = 500;
/// The most `ServiceAccount`s that are asked about. Each takes two requests.
const MOST_ACCOUNTS: usize = 100;

/// `ServiceAccount`s by namespace and name, each with a connection that names it.
#[derive(Default)]
pub struct Accounts {
    named: BTreeMap<(String, String), String>,
    left_out: Vec<String>,
}

impl Accounts {
    /// Adds those that the connections of `place` name, or of all namespaces.
    pub async fn add_of(&mut self, client: &Client, place: Option<&str>) {
        let connections: Api<DeserializeGuard<OceanBaseConnection>> = match place {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        for connection in self.listed(&connections, "OceanBaseConnections").await {
            let namespace = connection.namespace().unwrap_or_default();
            let title = format!("OceanBaseConnection {namespace}/{}", connection.name_any());
            self.add(&namespace, &title, &connection.spec);
        }
    }

    /// Adds those of `home` that connections of no namespace name.
    pub async fn add_of_cluster(&mut self, client: &Client, home: &str) {
        let connections: Api<DeserializeGuard<ClusterOceanBaseConnection>> = Api::all(client.clone());
        for connection in self.listed(&connections, "ClusterOceanBaseConnections").await {
            let title = format!("ClusterOceanBaseConnection {}", connection.name_any());
            self.add(home, &title, &connection.spec.connection);
        }
    }

    /// Says of each whether the operator may make tokens of it, and what to do if not. What connections name does not
    /// decide whether the check succeeds: any namespace could then have an upgrade rolled back.
    pub async fn told(mut self, client: &Client) -> Result<Vec<String>, String> {
        let tokens = Tokens::new(client.clone());
        let mut told = vec![];
        for ((namespace, name), connection) in self.named.iter().take(MOST_ACCOUNTS) {
            let problems = problems(client, &tokens, namespace, name).await?;
            if problems.is_empty() {
                told.push(format!("{connection}: ServiceAccount {name}: labelled, tokens granted"));
            }
            told.extend(problems.iter().map(|problem| format!("{connection}: {problem}")));
        }
        if self.named.len() > MOST_ACCOUNTS {
            let (all, asked) = (self.named.len(), MOST_ACCOUNTS);
            self.left_out.push(format!("connections name {all} ServiceAccounts, and only {asked} were asked about"));
        }
        told.extend(self.left_out.iter().map(|what| format!("{what}: name some namespaces by --watch-namespaces")));
        Ok(told)
    }

    /// The connections that can be listed and read.
    async fn listed<K>(&mut self, all: &Api<DeserializeGuard<K>>, kinds: &str) -> Vec<K>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        let Ok(page) = in_time(all.list(&ListParams::default().limit(MOST_CONNECTIONS))).await else { return vec![] };
        if page.metadata.continue_.is_some_and(|token| !token.is_empty()) {
            self.left_out.push(format!("there are more {kinds}, and only {MOST_CONNECTIONS} were looked at"));
        }
        page.items.into_iter().filter_map(|guarded| guarded.0.ok()).collect()
    }

    fn add(&mut self, namespace: &str, connection: &str, spec: &OceanBaseConnectionSpec) {
        let BackendSpec::AlibabaCloud(alibaba_cloud) = &spec.backend else { return };
        for identity in alibaba_cloud.credentials.identities() {
            if let CredentialSource::ServiceAccount(account) = &identity.source {
                self.named.entry((namespace.to_owned(), account.name.clone())).or_insert_with(|| connection.to_owned());
            }
        }
    }
}

/// What keeps the operator from making a token of this `ServiceAccount`, and what to do.
async fn problems(client: &Client, tokens: &Tokens, namespace: &str, name: &str) -> Result<Vec<String>, String> {
    let mut problems = vec![];
    if let Err(error) = tokens.check(namespace, name).await {
        problems.push(error.to_string());
    }
    let create = ResourceAttributes {
        group: Some(String::new()),
        namespace: Some(namespace.to_owned()),
        resource: Some("serviceaccounts".to_owned()),
        subresource: Some("token".to_owned()),
        name: Some(name.to_owned()),
        verb: Some("create".to_owned()),
        ..ResourceAttributes::default()
    };
    if !is_allowed(client, create).await? {
        problems.push(ungranted(namespace, name, "no token of it may be made"));
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::BoxError;

    use super::*;

    /// A fake API server with more connections than are looked at, each with a `ServiceAccount` of its own: all may be read,
    /// and are labelled. It counts the requests.
    fn server() -> (Client, Arc<Mutex<usize>>) {
        let asked = Arc::<Mutex<usize>>::default();
        let count = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            *count.lock().unwrap() += 1;
            let answer = match (request.method(), request.uri().path()) {
                (&Method::POST, _) => json!({"spec": {}, "status": {"allowed": true}}),
                (_, path) if path.ends_with("/oceanbaseconnections") => page(),
                _ => json!({"metadata": {"labels": {"sessionkill.dev/credentials": "true"}}}),
            };
            let answer = Response::new(Body::from(answer.to_string().into_bytes()));
            async move { Ok::<_, BoxError>(answer) }
        });
        (Client::new(service, "here"), asked)
    }

    fn page() -> Value {
        let of = |number: u32| {
            json!({
                "metadata": {"name": format!("ob-{number:03}"), "namespace": "shop"},
                "spec": {"alibabaCloud": {"regionID": "cn-hangzhou", "credentials": {"serviceAccountRef": {
                    "name": format!("kill-{number:03}"), "roleARN": "acs:ram::1:role/kill",
                    "oidcProviderARN": "acs:ram::1:oidc-provider/p",
                }}}},
            })
        };
        json!({"metadata": {"continue": "more"}, "items": (0..MOST_CONNECTIONS).map(of).collect::<Vec<_>>()})
    }

    #[tokio::test]
    async fn what_is_asked_is_bounded_and_what_is_left_out_is_told() {
        let (client, asked) = server();
        let mut accounts = Accounts::default();
        accounts.add_of(&client, Some("shop")).await;
        let told = accounts.told(&client).await.unwrap();
        assert_eq!((told.len(), *asked.lock().unwrap()), (MOST_ACCOUNTS + 2, 1 + 2 * MOST_ACCOUNTS));
        let good = "OceanBaseConnection shop/ob-000: ServiceAccount kill-000: labelled, tokens granted";
        assert_eq!(told[0], good);
        assert!(told[MOST_ACCOUNTS].contains("only 500 were looked at: name some namespaces"), "{told:?}");
        assert!(
            told[MOST_ACCOUNTS + 1].contains("name 500 ServiceAccounts, and only 100 were asked about"),
            "{told:?}"
        );
    }
}
