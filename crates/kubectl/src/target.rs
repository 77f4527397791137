//! Which connection and which tenant: as given, or the only one that there is, or else as chosen by the user.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sessionkill_api::{
    BackendSpec, ClusterOceanBaseConnection, ConnectionKind, ConnectionRef, Mode, OceanBaseConnection,
    OceanBaseConnectionSpec, Scope, SessionKillSpec, Verification,
};

use crate::ask;
use crate::client::Place;
use crate::errors::{Result, failure};
use crate::interrupt::Interrupt;

/// Which tenant, as the user gives it.
#[derive(clap::Args, Clone, Debug, Default)]
#[group(skip)]
pub struct Flags {
    /// The instance. May be left out if the connection allows one only. By SQL: the cluster
    #[arg(long, value_name = "ID", help_heading = "Tenant")]
    pub instance: Option<String>,
    /// The tenant. May be left out if the connection allows one only
    #[arg(long, value_name = "ID", help_heading = "Tenant")]
    pub tenant: Option<String>,
}

/// A tenant, and the connection to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The connection.
    pub connection: ConnectionRef,
    /// Whether the connection is by SQL, which can end a statement alone. Unknown if the user may not read it.
    pub is_sql: Option<bool>,
    /// The instance, or by SQL the cluster.
    pub instance_id: String,
    /// The tenant.
    pub tenant_id: String,
}

impl Target {
    /// A request for this tenant that names no session yet.
    pub fn spec(&self) -> SessionKillSpec {
        SessionKillSpec {
            connection_ref: self.connection.clone(),
            instance_id: self.instance_id.clone(),
            tenant_id: self.tenant_id.clone(),
            mode: Mode::Kill,
            scope: Scope::Session,
            sessions: vec![],
            selector: None,
            not_before_time: None,
            not_after_time: Time(Timestamp::UNIX_EPOCH),
            reason: None,
            verification: Verification::default(),
            suspend: false,
            ttl_seconds_after_finished: None,
        }
    }
}

/// A connection that a request of the namespace may name.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its kind and name.
    pub connection: ConnectionRef,
    /// What it says.
    pub spec: OceanBaseConnectionSpec,
}

/// The prefix of a connection of no namespace, as kubectl writes it.
const CLUSTER_PREFIX: &str = "cobc/";

impl Candidate {
    /// As the user names it.
    pub fn label(&self) -> String {
        match self.connection.kind {
            ConnectionKind::OceanBaseConnection => self.connection.name.clone(),
            ConnectionKind::ClusterOceanBaseConnection => format!("{CLUSTER_PREFIX}{}", self.connection.name),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        let name = name.strip_prefix("obc/").unwrap_or(name);
        self.label() == name
    }

    fn of(connection: OceanBaseConnection) -> Self {
        let name = connection.metadata.name.unwrap_or_default();
        Self { connection: ConnectionRef { kind: ConnectionKind::OceanBaseConnection, name }, spec: connection.spec }
    }

    /// None if it certainly does not allow the namespace. By labels it may: only the operator can tell.
    fn of_cluster(connection: ClusterOceanBaseConnection, namespace: &str) -> Option<Self> {
        let ClusterOceanBaseConnection { metadata, spec, .. } = connection;
        let allowed = &spec.allowed_namespaces;
        let may = allowed.selector.is_some() || allowed.names.iter().any(|name| name == namespace);
        let name = metadata.name.unwrap_or_default();
        let connection = ConnectionRef { kind: ConnectionKind::ClusterOceanBaseConnection, name };
        may.then_some(Self { connection, spec: spec.connection })
    }
}

/// The tenant that is meant, by the name of its connection if that is given.
pub async fn choose(
    place: &Place,
    connection: Option<&str>,
    flags: &Flags,
    interrupt: &mut Interrupt,
) -> Result<Target> {
    let all = interrupt.or(candidates(place)).await?;
    if let Some(name) = unread(&all, connection) {
        return interrupt.or(blind(place, name, flags)).await;
    }
    let candidate = choose_connection(all, connection, &place.namespace, interrupt).await?;
    let (_, instances) = candidate.spec.backend.instance_ids();
    let instance_id = choose_id("instances", "--instance", flags.instance.as_ref(), instances, interrupt).await?;
    let tenants = match candidate.spec.backend.tenant_id() {
        Some((_, tenant)) => vec![tenant.clone()],
        None => candidate.spec.tenant_ids.clone(),
    };
    let tenant_id = choose_id("tenants", "--tenant", flags.tenant.as_ref(), &tenants, interrupt).await?;
    let is_sql = Some(matches!(candidate.spec.backend, BackendSpec::Sql(_)));
    Ok(Target { connection: candidate.connection, is_sql, instance_id, tenant_id })
}

/// The name of a connection of no namespace that the list lacks: users of one namespace may not list those.
fn unread<'a>(all: &[Candidate], connection: Option<&'a str>) -> Option<&'a str> {
    let label = connection?;
    let is_listed = all.iter().any(|candidate| candidate.is_called(label));
    label.strip_prefix(CLUSTER_PREFIX).filter(|_| !is_listed)
}

/// The tenant of a connection that may not be read: the user must know both IDs, and the operator judges them.
async fn blind(place: &Place, name: &str, flags: &Flags) -> Result<Target> {
    if let Ok(all) = place.cluster_connections().await {
        let is_there = all.iter().any(|connection| connection.metadata.name.as_deref() == Some(name));
        let why = if is_there { "does not allow it" } else { "does not exist" };
        return Err(failure(format!(
            "namespace {} cannot use {CLUSTER_PREFIX}{name}: the connection {why}",
            place.namespace
        )));
    }
    let (Some(instance_id), Some(tenant_id)) = (flags.instance.clone(), flags.tenant.clone()) else {
        return Err(failure(format!(
            "you may not read {CLUSTER_PREFIX}{name}: give --instance and --tenant, which it would tell"
        )));
    };
    let kind = ConnectionKind::ClusterOceanBaseConnection;
    Ok(Target { connection: ConnectionRef { kind, name: name.to_owned() }, is_sql: None, instance_id, tenant_id })
}

/// The connections that requests of the namespace may name. Those of no namespace are left out where they cannot be
/// read, as not each cluster has them.
pub async fn candidates(place: &Place) -> Result<Vec<Candidate>> {
    let (own, shared) = tokio::join!(place.connections(), place.cluster_connections());
    let shared = shared.unwrap_or_default();
    let shared = shared.into_iter().filter_map(|connection| Candidate::of_cluster(connection, &place.namespace));
    Ok(own?.into_iter().map(Candidate::of).chain(shared).collect())
}

async fn choose_connection(
    mut all: Vec<Candidate>,
    name: Option<&str>,
    namespace: &str,
    interrupt: &mut Interrupt,
) -> Result<Candidate> {
    let labels: Vec<String> = all.iter().map(Candidate::label).collect();
    let at = match name {
        _ if all.is_empty() => {
            return Err(failure(format!(
                "namespace {namespace} has no connection: choose another with -n, or create an OceanBaseConnection"
            )));
        }
        Some(name) => all.iter().position(|candidate| candidate.is_called(name)).ok_or_else(|| {
            failure(format!("namespace {namespace} has no connection {name:?}: it has {}", labels.join(", ")))
        })?,
        None if all.len() == 1 => 0,
        None => ask::one_of("connections", "CONNECTION or --connection", &labels, interrupt).await?,
    };
    Ok(all.swap_remove(at))
}

async fn choose_id(
    what: &str,
    flag: &str,
    given: Option<&String>,
    allowed: &[String],
    interrupt: &mut Interrupt,
) -> Result<String> {
    match (given, allowed) {
        (Some(id), []) => Ok(id.clone()),
        (Some(id), _) if allowed.contains(id) => Ok(id.clone()),
        (Some(id), _) => Err(failure(format!(
            "the connection does not allow {id:?}: of its {what} choose one of {}",
            allowed.join(", ")
        ))),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(failure(format!("the connection does not say which {what} there are: name one with {flag}"))),
        (None, _) => Ok(allowed[ask::one_of(what, flag, allowed, interrupt).await?].clone()),
    }
}
