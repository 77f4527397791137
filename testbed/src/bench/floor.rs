//! The floor: every program that finishes a `SessionKill` at most once must store a claim, call, and store an outcome
//! and a record. This one makes these four requests and nothing else. It does not watch, as the load tells it of each
//! request. It reads no Secret, and no process list of a gateway before or after the call. By SQL the call is what
//! [`FloorSession`] asks, and an Event is written after the record, as the operator does.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use sessionkill::{
    api::{SessionKill, SessionKillReceipt},
    backends::addresses::Addresses,
    domain::kill::status::finished,
    oceanbase::{
        Access, AccessKey, Called, Client, ClientOptions, Endpoint, KillCall, KillPermit, KillTarget, Operation,
        Tenant, TimeSource,
    },
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};

use super::{by_sql::floor::FloorSession, client, plan::NAMESPACE, request};
use crate::gateway::GatewayOptions;

const FIELD_MANAGER: &str = "sessionkill-operator";

/// The operator's default time-out of a call.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of the floor.
#[derive(Args, Debug)]
pub struct FloorArgs {
    /// Who writes.
    kubeconfig: PathBuf,
    /// The gateway. It accepts the testbed's own access key.
    gateway: String,
    /// Where the load announces its requests.
    listen: SocketAddr,
    /// The most requests that are worked on at once.
    concurrency: usize,
    /// The engine, if sessions are ended by SQL.
    #[arg(long)]
    sql: Option<SocketAddr>,
}

/// Runs until killed. Ends with an error at the first request that fails. Runs on one thread, as the operator does:
/// handing work between threads takes time.
pub fn floor(args: FloorArgs) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(args))
}

async fn run(args: FloorArgs) -> anyhow::Result<()> {
    let client = client::fast(&args.kubeconfig).await?;
    client::connect(&client).await?;
    let floor = Arc::new(Floor {
        session_kills: Api::namespaced(client.clone(), NAMESPACE),
        receipts: Api::namespaced(client.clone(), NAMESPACE),
        events: Api::namespaced(client, NAMESPACE),
        backend: match args.sql {
            None => Backend::Gateway(gateway(&args.gateway)?),
            Some(host) => Backend::Sql(FloorSession::open(host).await?),
        },
        turns: Semaphore::new(args.concurrency),
    });
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let (failures, mut failed) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                tokio::spawn(serve(accepted?.0, floor.clone(), failures.clone()));
            }
            Some(failure) = failed.recv() => return Err(failure),
        }
    }
}

async fn serve(connection: TcpStream, floor: Arc<Floor>, failures: mpsc::UnboundedSender<anyhow::Error>) {
    let mut lines = BufReader::new(connection).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (floor, failures) = (floor.clone(), failures.clone());
        tokio::spawn(async move {
            if let Err(failure) = floor.finish(&line).await {
                let _ = failures.send(failure);
            }
        });
    }
}

struct Floor {
    session_kills: Api<SessionKill>,
    receipts: Api<SessionKillReceipt>,
    events: Api<Event>,
    backend: Backend,
    turns: Semaphore,
}

enum Backend {
    Gateway(Gateway),
    Sql(FloorSession),
}

impl Floor {
    async fn finish(&self, line: &str) -> anyhow::Result<()> {
        let object: SessionKill = serde_json::from_str(line)?;
        let _turn = self.turns.acquire().await?;
        let seen = match &self.backend {
            Backend::Gateway(_) => None,
            Backend::Sql(session) => Some(session.list(&object).await?),
        };
        let claimed = request::claimed(&object, Timestamp::now());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let receipt = self.receipts.create(&params, &claimed).await?;
        match &self.backend {
            Backend::Gateway(gateway) => gateway.kill(&object, &receipt).await?,
            Backend::Sql(session) => session.kill(&object, &seen.unwrap_or_default()).await?,
        }
        let conclusion = request::killed(&receipt);
        let now = Timestamp::now();
        write_status(&self.session_kills, &object, &finished(&object, &conclusion, now)).await?;
        write_status(&self.receipts, &receipt, &conclusion.record(now)).await?;
        if matches!(self.backend, Backend::Sql(_)) {
            self.events.create(&params, &request::event(&object, &conclusion, now)).await?;
        }
        Ok(())
    }
}

struct Gateway {
    client: Client,
    access: Access,
}

fn gateway(url: &str) -> anyhow::Result<Gateway> {
    let options = ClientOptions { request_timeout: REQUEST_TIMEOUT, addresses: Addresses::Any, proxy: None };
    let key = GatewayOptions::default().access_keys.remove(0);
    let access_key = AccessKey { id: key.id, secret: key.secret, security_token: None };
    let endpoint = Endpoint::parse(url)?;
    let access = Access { endpoint, access_key, signature_v1: false };
    Ok(Gateway { client: Client::new(&options)?, access })
}

impl Gateway {
    /// Makes one call with the operator's client, for the sessions of `object` under `receipt`.
    async fn kill(&self, object: &SessionKill, receipt: &SessionKillReceipt) -> anyhow::Result<()> {
        let spec = &object.spec;
        let tenant = Tenant { instance_id: spec.instance_id.clone(), tenant_id: spec.tenant_id.clone() };
        let sessions =
            spec.sessions.iter().map(|session| (session.server_ip.clone(), session.session_id).into()).collect();
        let call = KillCall {
            operation: Operation::KillProcessList,
            target: KillTarget { tenant, sessions },
            time_source: TimeSource::DispatchDeadline,
            request: 0,
        };
        match self.client.kill(Permit(receipt), &call, &self.access).await {
            Called::Answered(_) => Ok(()),
            Called::NotExecuted(_, error) | Called::InPart(_, _, error) | Called::Ambiguous(error) => {
                bail!("the call failed: {error}")
            }
        }
    }
}

/// Stores the receipt, which is the floor's claim.
struct Permit<'a>(&'a SessionKillReceipt);

impl KillPermit for Permit<'_> {
    fn nonce_seed(&self) -> &str {
        &self.0.spec.attempt_id
    }

    fn dispatch_deadline(&self) -> Timestamp {
        self.0.spec.dispatch_deadline_time.0
    }

    fn not_after(&self) -> Timestamp {
        self.0.spec.not_after_time.0
    }

    fn time_left(&self) -> Option<Duration> {
        Duration::try_from(self.dispatch_deadline().duration_since(Timestamp::now())).ok()
    }
}

/// In the operator's form: a JSON patch that tests the UID.
async fn write_status<K>(api: &Api<K>, object: &K, status: &impl Serialize) -> anyhow::Result<()>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let patch = serde_json::from_value(json!([
        {"op": "test", "path": "/metadata/uid", "value": object.uid()},
        {"op": "add", "path": "/status", "value": status},
    ]))?;
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    api.patch_status(&object.name_any(), &params, &Patch::Json::<()>(patch)).await?;
    Ok(())
}
