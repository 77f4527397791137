//! Where the operator works: in all namespaces at once, or in each of some. No I/O.

use kube::core::NamespaceResourceScope;
use kube::{Api, Client};

/// The places that the operator works in.
#[derive(Clone)]
pub struct Scope {
    client: Client,
    namespaces: Option<Vec<String>>,
}

impl Scope {
    /// Each of `namespaces`, or all at once if that is `None`.
    pub const fn new(client: Client, namespaces: Option<Vec<String>>) -> Self {
        Self { client, namespaces }
    }

    /// The client of the API server.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Namespaces by their names, or `None` for all of them at once.
    pub fn places(&self) -> Vec<Option<&str>> {
        let named = self.namespaces.as_ref();
        named.map_or_else(|| vec![None], |namespaces| namespaces.iter().map(|name| Some(name.as_str())).collect())
    }

    /// Objects of each of these places.
    pub fn everywhere<K>(&self) -> impl Iterator<Item = Api<K>>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.places().into_iter().map(|place| self.objects_of(place))
    }

    /// Objects of `place`, which is a namespace, or all of them if it is `None`.
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
