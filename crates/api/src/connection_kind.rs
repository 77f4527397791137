//! The two kinds of connections.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// The kind of a connection.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr,
)]
pub enum ConnectionKind {
    /// One of the namespace of its requests.
    #[default]
    OceanBaseConnection,
    /// One of no namespace, which says from which namespaces requests may use it.
    ClusterOceanBaseConnection,
}

impl ConnectionKind {
    /// Whether its objects are in a namespace.
    #[must_use]
    pub const fn is_namespaced(&self) -> bool {
        matches!(self, Self::OceanBaseConnection)
    }

    /// The name of the kind.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
