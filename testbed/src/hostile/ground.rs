//! The attackers: users of their own namespaces, with no more rights than their role needs.

use std::{
    collections::HashMap,
    fmt::Debug,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use futures::{StreamExt as _, stream};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Secret};
use kube::{
    Api, Client, Resource,
    api::{ListParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, SessionKill};
use tokio::time::{Instant, sleep};

use super::{objects, victim::Victim};
use crate::control_plane::{ControlPlane, client_for};

/// How many objects one attacker sends to the API server at once. With more, the API server itself would be measured.
pub(super) const AT_ONCE: usize = 8;
const RIGHTS_LIMIT: Duration = Duration::from_secs(30);

/// The target of an attack.
pub struct Ground<'a> {
    /// The control plane with the users and their rights.
    pub control_plane: &'a ControlPlane,
    /// A client with the administrator's rights.
    pub client: Client,
    /// The victim, which must not suffer.
    pub victim: Victim,
    /// The address of the operator's health port.
    pub health: SocketAddr,
    /// The counts of made and refused objects.
    pub tally: Tally,
    /// Users by namespace. The user that lays an attack also strikes.
    users: Mutex<HashMap<String, Client>>,
}

/// How much of an attack was admitted.
#[derive(Debug, Default)]
pub struct Tally {
    made: AtomicU64,
    refused: AtomicU64,
    why: Mutex<Option<String>>,
}

impl Tally {
    /// Counts a stored object, or an accepted connection.
    pub fn made(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a refused one.
    pub fn refused(&self, why: &dyn std::fmt::Display) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_string());
    }

    /// The numbers of made and of refused ones.
    pub fn counts(&self) -> (u64, u64) {
        (self.made.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Why the first one was refused, if any.
    pub fn first_refusal(&self) -> Option<String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The namespace of an attacker that needs only one.
pub(super) const TEAM: &str = "team-1";

/// The rights of a user.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    /// Requests kills.
    Requester,
    /// Also writes connections, and has the Secrets of the namespace.
    Owner,
}

impl Role {
    /// The cluster roles of the installation and of Kubernetes itself. Nothing aggregates roles here.
    fn cluster_roles(self) -> &'static [&'static str] {
        match self {
            Self::Requester => &["sessionkill-requester"],
            Self::Owner => &["sessionkill-admin", "system:aggregate-to-edit"],
        }
    }
}

/// A user of one namespace.
pub(super) struct User<'a> {
    pub(super) namespace: String,
    client: Client,
    tally: &'a Tally,
}

impl<'a> Ground<'a> {
    /// Nothing has been made on it.
    pub fn new(control_plane: &'a ControlPlane, client: Client, victim: Victim, health: SocketAddr) -> Self {
        Self { control_plane, client, victim, health, tally: Tally::default(), users: Mutex::default() }
    }

    /// The user of a namespace. If the namespace is new, it is made with the rights of `role`.
    pub(super) async fn user(&self, namespace: &str, role: Role) -> anyhow::Result<User<'_>> {
        let known = self.users().get(namespace).cloned();
        let client = match known {
            Some(client) => client,
            None => self.new_user(namespace, role).await?,
        };
        Ok(User { namespace: namespace.into(), client, tally: &self.tally })
    }

    async fn new_user(&self, namespace: &str, role: Role) -> anyhow::Result<Client> {
        let account = json!({"kind": "ServiceAccount", "name": "attacker", "namespace": namespace});
        let mut objects = vec![
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "attacker", "namespace": namespace}}),
        ];
        objects.extend(role.cluster_roles().iter().enumerate().map(|(number, role)| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": format!("attacker-{number}"), "namespace": namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [account],
            })
        }));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.control_plane.apply(&list.to_string()).await?;
        let kubeconfig = self.control_plane.service_account_kubeconfig(namespace, "attacker").await?;
        let client = client_for(&kubeconfig).await?;
        self.users().insert(namespace.into(), client.clone());
        User { namespace: namespace.into(), client: client.clone(), tally: &self.tally }.has_rights().await?;
        Ok(client)
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The administrator, in an existing namespace: for objects that only an earlier operator could have left.
    pub(super) fn administrator(&self, namespace: &str) -> User<'_> {
        User { namespace: namespace.into(), client: self.client.clone(), tally: &self.tally }
    }
}

impl User<'_> {
    /// Waits until the API server knows the new binding.
    async fn has_rights(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + RIGHTS_LIMIT;
        while let Err(error) = self.api::<SessionKill>().list(&ListParams::default().limit(1)).await {
            ensure!(Instant::now() < deadline, "no rights in namespace {}: {error}", self.namespace);
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Stores the Secret of all gateways, and a connection to `endpoint` with it.
    pub(super) async fn connect(&self, endpoint: &str) -> anyhow::Result<()> {
        self.store::<Secret>(objects::secret()).await?;
        self.store::<OceanBaseConnection>(objects::connection(objects::CONNECTION, endpoint)).await?;
        Ok(())
    }

    /// The objects of a kind in the namespace.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Stores `object` and returns the stored object. `None` if it was refused. A refusal is counted and is no error:
    /// an attacker goes on.
    pub(super) async fn store<K>(&self, object: Value) -> anyhow::Result<Option<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let object: K = serde_json::from_value(object)?;
        match self.api::<K>().create(&PostParams::default(), &object).await {
            Ok(stored) => {
                self.tally.made();
                Ok(Some(stored))
            }
            Err(error) => {
                self.tally.refused(&sentence(&error));
                Ok(None)
            }
        }
    }

    /// Stores all of them, a few at a time.
    pub(super) async fn store_all<K>(&self, objects: impl IntoIterator<Item = Value>) -> anyhow::Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let mut stored = stream::iter(objects.into_iter().map(|it| self.store::<K>(it))).buffer_unordered(AT_ONCE);
        while let Some(outcome) = stored.next().await {
            outcome?;
        }
        Ok(())
    }

    /// Halves `size` until `object` is admitted, and returns the admitted size. The object stays stored.
    pub(super) async fn largest<K>(&self, size: usize, object: impl Fn(usize) -> Value) -> anyhow::Result<usize>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
    {
        let mut size = size;
        while size > 0 && self.store::<K>(object(size)).await?.is_none() {
            size /= 2;
        }
        Ok(size)
    }
}

/// The API server's message, if there is one.
fn sentence(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
