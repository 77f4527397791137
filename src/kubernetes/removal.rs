//! Removes exactly what was looked at. Does I/O.

use kube::api::{Api, DeleteParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use crate::kubernetes::calls::{ApiError, bounded};

/// An object as it was when it was looked at, by what tells it from any other and from itself after an edit.
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
    /// Of `object`, as it is.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            version: object.resource_version(),
        }
    }

    /// Deletes it, unless it changed since: then the next sweep looks at it again.
    pub async fn remove<K>(&self, client: &Client) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let preconditions = Preconditions { uid: Some(self.uid.clone()), resource_version: self.version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let all: Api<K> = Api::namespaced(client.clone(), &self.namespace);
        ignore_change(bounded("delete", all.delete(&self.name, &params)).await.map(drop))
    }

    /// Says so if it could not be done with what was due. It costs nobody else anything, and the next sweep tries again.
    pub fn report(&self, swept: Result<(), ApiError>) {
        if let Err(error) = swept {
            tracing::warn!(%error, name = self.name, namespace = self.namespace, "object not swept");
        }
    }
}

/// An object that changed or went away meanwhile is left to the next sweep.
pub fn ignore_change(result: Result<(), ApiError>) -> Result<(), ApiError> {
    match result {
        Err(error) if error.is_not_found() || error.is_conflict() || error.is_invalid() => Ok(()),
        result => result,
    }
}
