//! Deletes an object only in the version that was judged. Does I/O.

use kube::api::{Api, DeleteParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::kubernetes::calls::{ApiError, bounded};

/// Identifies an object in the version that was seen, by UID and resource version.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    version: Option<String>,
}

impl Sighting {
    /// The current version of `object`.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            version: object.resource_version(),
        }
    }

    /// Deletes it unless it has changed; the next sweep looks at a changed object again.
    pub async fn remove<K>(&self, client: &Client) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let preconditions = Preconditions { uid: Some(self.uid.clone()), resource_version: self.version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let all: Api<K> = Api::namespaced(client.clone(), &self.namespace);
        ignore_change(bounded("delete", all.delete(&self.name, &params)).await.map(drop))
    }

    /// Logs a failure. Other objects are not affected, and the next sweep tries again.
    pub fn report(&self, swept: Result<(), ApiError>) {
        if let Err(error) = swept {
            tracing::warn!(%error, name = self.name, namespace = self.namespace, "object not swept");
        }
    }
}

/// Ignores an object that changed or vanished, and leaves it to the next sweep.
pub fn ignore_change(result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if error.is_not_found() || error.is_conflict() || error.is_invalid() => Ok(()),
        result => result,
    }
}
