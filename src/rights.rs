//! The rights that the operator needs, as its roles grant them. No I/O.

use crate::api::GROUP;

/// Group, resource, subresource, and verbs.
pub type Needed = (&'static str, &'static str, &'static str, &'static [&'static str]);

/// The rights that the operator needs on what connections name: Secrets, and the Services of databases.
pub const NAMED: [Needed; 2] = [("", "secrets", "", &["get"]), ("", "services", "", &["get"])];

/// The rights that the operator needs on each kind in each namespace that it works in.
pub const NEEDED: [Needed; 9] = [
    (GROUP, "sessionkills", "", &["get", "list", "watch", "delete"]),
    (GROUP, "sessionkills", "status", &["patch"]),
    (GROUP, "oceanbaseconnections", "", &["list", "watch"]),
    (GROUP, "oceanbaseconnections", "status", &["patch"]),
    (GROUP, "sessionkillreceipts", "", &["get", "list", "create", "delete"]),
    (GROUP, "sessionkillreceipts", "status", &["patch"]),
    ("events.k8s.io", "events", "", &["create", "patch"]),
    NAMED[0],
    NAMED[1],
];

/// The rights that the operator needs on `ClusterOceanBaseConnection`s, if requests may name them. They are of no namespace.
pub const NEEDED_OF_CLUSTER: [Needed; 2] = [
    (GROUP, "clusteroceanbaseconnections", "", &["list", "watch"]),
    (GROUP, "clusteroceanbaseconnections", "status", &["patch"]),
];

/// The right to read the labels of each namespace that it works in, by which such a connection may select namespaces.
pub const NEEDED_OF_NAMESPACES: Needed = ("", "namespaces", "", &["get"]);

/// The rights that the operator needs on its Lease, and whether each can be granted by name. For create that is not
/// possible.
pub const NEEDED_OF_LEASE: [(&str, bool); 4] = [("get", true), ("watch", true), ("update", true), ("create", false)];
