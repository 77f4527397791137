//! `sessionkill-operator check`: asks the API server, with the operator's credentials, whether it is new enough, serves
//! the kinds, grants the rights, and agrees with the operator's clock. Does I/O; changes nothing.

mod accounts;
mod ask;
mod lent;

use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::api::{Api, ListParams};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use self::accounts::Accounts;
use self::ask::{ANSWER_LIMIT, in_time, is_allowed};
use crate::api::{ClusterOceanBaseConnection, OceanBaseConnection, SessionKill, SessionKillReceipt};
use crate::clock::ServerClock;
use crate::config::{LeaseRef, Namespaces, resource_namespace};
use crate::domain::clock::{self, CLOCK_SKEW};
use crate::key_options::OwnIdentity;
use crate::kubernetes::api_error::causes;
use crate::kubernetes::server_version::{name, too_old};
use crate::rights::{NAMED, NEEDED, NEEDED_OF_CLUSTER, NEEDED_OF_LEASE, NEEDED_OF_NAMESPACES, Needed};

/// The pause between two requests to `--ready-url`.
const PAUSE: Duration = Duration::from_secs(1);

/// Options of `sessionkill-operator check`.
#[derive(Args, Clone, Debug)]
pub struct CheckOptions {
    /// The namespaces that the operator works in, as for run: separated by commas, at most 100. Unset means all
    /// namespaces.
    #[arg(long, env = "SESSIONKILL_WATCH_NAMESPACES")]
    pub watch_namespaces: Option<Namespaces>,

    /// The namespaces in which the operator may read Secrets, and the Services of databases, separated by commas, at most
    /// 100. Unset means wherever it works.
    #[arg(long)]
    pub secrets_namespaces: Option<Namespaces>,

    /// Whether requests may name ClusterOceanBaseConnections, as for run. Unset means true, or false with --watch-namespaces.
    /// True also checks the rights on Secrets and Services in --cluster-resource-namespace.
    #[arg(long, env = "SESSIONKILL_CLUSTER_CONNECTIONS", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_parser = BoolishValueParser::new())]
    pub cluster_connections: Option<bool>,

    /// The namespace of what ClusterOceanBaseConnections name, as for run. Unset means the operator's own.
    #[arg(long, env = "SESSIONKILL_CLUSTER_RESOURCE_NAMESPACE", value_parser = resource_namespace)]
    pub cluster_resource_namespace: Option<String>,

    /// Also check that what these lend is there.
    #[command(flatten)]
    pub own: OwnIdentity,

    /// Also check the rights on this Lease, with which replicas elect the one that works.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub lease: Option<LeaseRef>,

    /// Also wait until this URL answers with success. Set it to the operator's /readyz.
    #[arg(long, value_parser = ready_url)]
    pub ready_url: Option<String>,

    /// How many seconds to wait for --ready-url, 1 to 3600.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub timeout_seconds: u16,
}

fn ready_url(text: &str) -> Result<String, String> {
    let is_http = reqwest::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if is_http { Ok(text.to_owned()) } else { Err("not a URL: set it to http://HOST:PORT/readyz".to_owned()) }
}

/// Prints what it finds. Fails with everything that is missing, and what to do. `clock` is the API server's clock,
/// learned from its answers.
pub async fn check(client: Client, clock: &ServerClock, options: CheckOptions) -> Result<(), String> {
    check_version(&client).await?;
    let places: Vec<Option<&str>> = match &options.watch_namespaces {
        Some(only) => only.iter().map(Some).collect(),
        None => vec![None],
    };
    let uses_cluster_connections = options.cluster_connections.unwrap_or(options.watch_namespaces.is_none());
    let home = options.cluster_resource_namespace.as_deref().unwrap_or(client.default_namespace());
    let (mut missing, mut accounts) = (vec![], Accounts::default());
    for place in places {
        let mut found = missing_in(&client, place, options.secrets_namespaces.is_some()).await?;
        if uses_cluster_connections {
            found.extend(missing_of(&client, place, &NEEDED_OF_NAMESPACES).await?);
        }
        // Check the kinds as well: rights can be granted on kinds that do not exist.
        if found.is_empty() {
            found = unserved_in(&client, place).await;
        }
        // What may not be listed is not: a refusal would stand in the audit log of the API server.
        if found.is_empty() {
            accounts.add_of(&client, place).await;
        }
        let of = place.map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"));
        missing.extend(told(&of, &of, "kinds served, rights granted", found));
    }
    if uses_cluster_connections {
        let found = missing_of_cluster(&client).await?;
        if found.is_empty() {
            accounts.add_of_cluster(&client, home).await;
        }
        let of = "ClusterOceanBaseConnections";
        missing.extend(told(of, of, "kind served, rights granted", found));
    }
    let resources = (options.cluster_connections == Some(true)).then_some(home);
    for namespace in options.secrets_namespaces.iter().flat_map(Namespaces::iter).chain(resources) {
        let mut found = vec![];
        for named in &NAMED {
            found.extend(missing_of(&client, Some(namespace), named).await?);
        }
        let (title, of) = (format!("Secrets and Services of namespace {namespace}"), format!("namespace {namespace}"));
        missing.extend(told(&title, &of, "rights granted", found));
    }
    accounts.told(&client).await?.iter().for_each(|line| println!("{line}"));
    missing.extend(lent::missing_of(&options.own).await);
    if let Some(LeaseRef { namespace, name }) = &options.lease {
        let found = missing_of_lease(&client, namespace, name).await?;
        let of = format!("Lease {namespace}/{name}");
        missing.extend(told(&of, &of, "rights granted", found));
    }
    if let Some(lead) = clock.now().skew() {
        let lead = clock::in_words(lead);
        missing.push(format!(
            "the clock of this machine is {lead} the API server's, and beyond {} s nothing is sent: set both right",
            CLOCK_SKEW.as_secs()
        ));
    }
    if !missing.is_empty() {
        return Err(missing.join("\n"));
    }
    if let Some(url) = &options.ready_url {
        wait_ready(url, Duration::from_secs(options.timeout_seconds.into())).await?;
        println!("{url}: ready");
    }
    Ok(())
}

/// Prints that everything of `title` is `good`, or that it is not. Returns what was `found` missing, each with what it is `of`.
fn told(title: &str, of: &str, good: &str, found: Vec<String>) -> Vec<String> {
    println!("{title}: {}", if found.is_empty() { good } else { "not as it must be" });
    found.into_iter().map(|what| format!("{of}: {what}")).collect()
}

/// Fails if the API server is too old. Then nothing else is checked, as it could not be fixed.
async fn check_version(client: &Client) -> Result<(), String> {
    match in_time(client.apiserver_version()).await {
        Ok(version) => match too_old(&version) {
            Some(problem) => return Err(problem),
            None => println!("API server: Kubernetes {}", name(&version)),
        },
        // The next requests show whether the API server can be reached at all.
        Err(error) => println!("API server: its version is not known ({error})"),
    }
    Ok(())
}

/// The rights missing in `place`, in words, without those on Secrets and Services if they are granted `elsewhere`.
async fn missing_in(client: &Client, place: Option<&str>, elsewhere: bool) -> Result<Vec<String>, String> {
    let mut missing = vec![];
    for needed in NEEDED.iter().filter(|needed| !(elsewhere && NAMED.contains(needed))) {
        missing.extend(missing_of(client, place, needed).await?);
    }
    Ok(missing)
}

/// The rights of `needed` that are missing in `place`, in words.
async fn missing_of(client: &Client, place: Option<&str>, needed: &Needed) -> Result<Vec<String>, String> {
    let (group, resource, subresource, verbs) = *needed;
    let of = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
    let mut missing = vec![];
    for verb in verbs {
        let attributes = ResourceAttributes {
            group: Some(group.to_owned()),
            namespace: place.map(str::to_owned),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()).filter(|name| !name.is_empty()),
            verb: Some((*verb).to_owned()),
            ..ResourceAttributes::default()
        };
        missing.extend(refused(client, attributes, verb, &of).await?);
    }
    Ok(missing)
}

/// The kinds not served in `place`, in words.
async fn unserved_in(client: &Client, place: Option<&str>) -> Vec<String> {
    let kinds = [
        unserved::<DeserializeGuard<SessionKill>>(client, place, "sessionkills").await,
        unserved::<DeserializeGuard<OceanBaseConnection>>(client, place, "oceanbaseconnections").await,
        unserved::<DeserializeGuard<SessionKillReceipt>>(client, place, "sessionkillreceipts").await,
    ];
    kinds.into_iter().flatten().collect()
}

/// The rights on `ClusterOceanBaseConnection`s that are missing, or that the kind is not served, in words.
async fn missing_of_cluster(client: &Client) -> Result<Vec<String>, String> {
    let mut missing = vec![];
    for needed in &NEEDED_OF_CLUSTER {
        missing.extend(missing_of(client, None, needed).await?);
    }
    if missing.is_empty() {
        let all: Api<DeserializeGuard<ClusterOceanBaseConnection>> = Api::all(client.clone());
        missing.extend(unlisted(&all, "clusteroceanbaseconnections").await);
    }
    Ok(missing)
}

/// The rights missing to be elected by the Lease `name` of `namespace`, in words.
async fn missing_of_lease(client: &Client, namespace: &str, name: &str) -> Result<Vec<String>, String> {
    let mut missing = vec![];
    for (verb, by_name) in NEEDED_OF_LEASE {
        let attributes = ResourceAttributes {
            group: Some("coordination.k8s.io".to_owned()),
            namespace: Some(namespace.to_owned()),
            resource: Some("leases".to_owned()),
            name: by_name.then(|| name.to_owned()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        };
        missing.extend(refused(client, attributes, verb, "leases").await?);
    }
    Ok(missing)
}

/// A sentence if the right to `verb` `of` is missing.
async fn refused(
    client: &Client,
    attributes: ResourceAttributes,
    verb: &str,
    of: &str,
) -> Result<Option<String>, String> {
    let is_missing = !is_allowed(client, attributes).await?;
    Ok(is_missing.then(|| format!("may not {verb} {of}: grant it to the operator's service account")))
}

/// A sentence with the reason if a kind cannot be listed.
async fn unserved<K>(client: &Client, place: Option<&str>, kind: &str) -> Option<String>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = match place {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    unlisted(&api, kind).await
}

async fn unlisted<K>(all: &Api<K>, kind: &str) -> Option<String>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let error = in_time(all.list(&ListParams::default().limit(1))).await.err()?;
    Some(format!("cannot list {kind}: {error}"))
}

async fn wait_ready(url: &str, limit: Duration) -> Result<(), String> {
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build();
    let http = http.map_err(|error| format!("cannot make an HTTP client: {error}"))?;
    let deadline = Instant::now() + limit;
    loop {
        let said = match http.get(url).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => format!("HTTP {}", answer.status().as_u16()),
            Err(error) => causes(&error),
        };
        if Instant::now() >= deadline {
            let seconds = limit.as_secs();
            return Err(format!("{url} is not ready after {seconds} s ({said}): see the operator's logs"));
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use kube::client::Body;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn of_an_api_server_that_is_too_old_nothing_else_is_asked() {
        let version = json!({
            "major": "1", "minor": "32", "gitVersion": "v1.32.13", "gitCommit": "", "gitTreeState": "", "buildDate": "",
            "goVersion": "", "compiler": "", "platform": "",
        });
        let service = tower::service_fn(move |request: http::Request<Body>| {
            assert_eq!(request.uri().path(), "/version");
            ready(Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(version.to_string().into_bytes()))))
        });
        let options = CheckOptions {
            watch_namespaces: None,
            secrets_namespaces: None,
            cluster_connections: None,
            cluster_resource_namespace: None,
            own: OwnIdentity::default(),
            lease: None,
            ready_url: None,
            timeout_seconds: 1,
        };
        let said = check(Client::new(service, "default"), &ServerClock::default(), options).await;
        let sentence = "the API server is of Kubernetes v1.32.13, and 1.33 or newer is needed: upgrade the cluster";
        assert_eq!(said, Err(sentence.to_owned()));
    }
}
