//! What all arenas of a process share. It outlives the runtime of each test, so it holds no client.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::{Api, Client, api::ListParams, config::Kubeconfig};
use sessionkill::api::{OceanBaseConnection, SessionKill, SessionKillReceipt};
use tokio::{
    sync::RwLock,
    time::{Instant, sleep},
};

use super::sessions::{SQL_PASSWORD, SQL_USER};
use crate::{
    base::{NAMESPACE, SERVICE_ACCOUNT, start_control_plane},
    control_plane::{ControlPlane, Outage, client_for},
    fault_proxy::Certificate,
    oceanbase::Engine,
};

const LIMIT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);
/// The least with which sessions can be ended.
const SQL_RIGHTS: [&str; 2] = ["PROCESS, SUPER ON *.*", "SELECT ON oceanbase.*"];

/// A control plane with the definitions and `deploy/base` installed, and the binary under test.
pub struct Ground {
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The engine whose sessions are killed, if there is one.
    pub engine: Option<Engine>,
    /// The operator's kubeconfig: its service account, with the rights of `deploy/base` and no others.
    pub(super) kubeconfig: PathBuf,
    pub(super) binary: PathBuf,
    pub(super) directory: PathBuf,
    /// The certificate of all doors.
    pub(super) certificate: Certificate,
    /// Locked for writing while the control plane fails, so that only the operators send it requests then.
    pub(super) outage: RwLock<()>,
}

impl Ground {
    /// Starts the control plane below `directory`; `binary` is the operator.
    pub async fn prepare(directory: &Path, binary: &Path) -> anyhow::Result<Self> {
        let control_plane = start_control_plane(directory).await?;
        let kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT).await?;
        knows_the_rights(client_for(&kubeconfig).await?).await?;
        Ok(Self {
            control_plane,
            engine: None,
            kubeconfig,
            binary: binary.into(),
            directory: directory.into(),
            certificate: Certificate::new()?,
            outage: RwLock::default(),
        })
    }

    /// Starts an engine below the directory of the control plane, whose sessions arenas may end.
    pub async fn start_engine(&mut self) -> anyhow::Result<()> {
        let engine = Engine::start(&self.directory.join("engine")).await?;
        engine.create_user(SQL_USER, SQL_PASSWORD, &SQL_RIGHTS).await?;
        self.engine = Some(engine);
        Ok(())
    }

    /// Makes the control plane fail for `pause`, and calls `begun` when it has failed. Only one failure runs at a time,
    /// and no arena sends requests meanwhile. Returns when the control plane serves the operator again.
    pub async fn fail(&self, outage: Outage, pause: Duration, begun: impl FnOnce()) -> anyhow::Result<()> {
        let _alone = self.outage.write().await;
        self.control_plane.suffer(outage, pause, begun).await?;
        knows_the_rights(client_for(&self.kubeconfig).await?).await
    }

    pub(super) fn authority(&self) -> anyhow::Result<Vec<u8>> {
        let kubeconfig = Kubeconfig::read_from(self.control_plane.kubeconfig())?;
        let cluster = kubeconfig.clusters.into_iter().next().and_then(|named| named.cluster);
        let data = cluster.and_then(|cluster| cluster.certificate_authority_data);
        Ok(STANDARD.decode(data.context("the kubeconfig names no authority")?)?)
    }
}

/// The API server learns of new rights a moment after they were granted, and cannot list a new kind at first.
async fn knows_the_rights(client: Client) -> anyhow::Result<()> {
    let requests: Api<SessionKill> = Api::all(client.clone());
    let receipts: Api<SessionKillReceipt> = Api::all(client.clone());
    let connections: Api<OceanBaseConnection> = Api::all(client);
    let deadline = Instant::now() + LIMIT;
    loop {
        let params = ListParams::default();
        let listed = async {
            requests.list(&params).await?;
            receipts.list(&params).await?;
            connections.list(&params).await.map(drop)
        };
        match listed.await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error).context("the operator has no rights"),
            Err(_) => sleep(POLL).await,
        }
    }
}
