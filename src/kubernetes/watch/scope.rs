//! The namespaces that the operator works in: all at once, or a list of them. No I/O.

use kube::core::NamespaceResourceScope;
use kube::{Api, Client};

/// The namespaces that the operator works in, and its client.
#[derive(Clone)]
pub struct Scope {
    client: Client,
    namespaces: Option<Vec<String>>,
}

impl Scope {
    /// Each of `namespaces`, or all namespaces at once for `None`.
    pub const fn new(client: Client, namespaces: Option<Vec<String>>) -> Self {
        Self { client, namespaces }
    }

    /// The name of each namespace, or a single `None` for all at once.
    pub fn places(&self) -> Vec<Option<&str>> {
        let named = self.namespaces.as_ref();
        named.map_or_else(|| vec![None], |namespaces| namespaces.iter().map(|name| Some(name.as_str())).collect())
    }

    /// An `Api` for each of these places.
    pub fn everywhere<K>(&self) -> impl Iterator<Item = Api<K>>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.places().into_iter().map(|place| self.objects_of(place))
    }

    /// An `Api` for the namespace `place`, or for all namespaces if it is `None`.
    pub fn objects_of<K>(&self, place: Option<&str>) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match place {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}
