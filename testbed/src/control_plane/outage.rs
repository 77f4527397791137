//! What befalls a control plane that runs.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

use super::{ControlPlane, serves, start_etcd};

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

impl ControlPlane {
    /// Lets `outage` begin, says so by `begun`, and ends it after `pause`; returns when the API server is ready again.
    pub async fn suffer(&self, outage: Outage, pause: Duration, begun: impl FnOnce()) -> anyhow::Result<()> {
        match outage {
            Outage::ApiServerKilled => self.stop_api_server(),
            Outage::EtcdKilled => self.etcd().kill(),
            Outage::EtcdFrozen => self.etcd().pause()?,
        }
        begun();
        sleep(pause).await;
        match outage {
            Outage::ApiServerKilled => return self.start_api_server().await,
            Outage::EtcdKilled => {
                let (etcd, _) = start_etcd(&self.programs, &self.directory, self.etcd_port).await?;
                *self.etcd.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(etcd);
            }
            Outage::EtcdFrozen => self.etcd().resume()?,
        }
        serves(&self.api_server(), &self.client().await?).await
    }
}
