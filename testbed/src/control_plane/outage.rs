//! Outages of a running control plane.

/// Which server fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The API server is killed, and started again on its port.
    ApiServerKilled,
    /// Etcd is killed, and started again on its port and its data.
    EtcdKilled,
    /// Etcd is paused, and goes on. It may then still carry out what it was asked meanwhile.
    EtcdFrozen,
}

impl Outage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ApiServerKilled, Self::EtcdKilled, Self::EtcdFrozen];
}
