//! What befalls a control plane that runs.

/// Which server fails, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The API server is killed, and started again on its port.
    ApiServerKilled,
    /// Etcd is killed, and started again on its port and its data.
    EtcdKilled,
    /// Etcd stands still, and goes on: what it was asked meanwhile it may do then.
    EtcdFrozen,
}

impl Outage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ApiServerKilled, Self::EtcdKilled, Self::EtcdFrozen];
}
