//! The floor: whatever finishes a `SessionKill` at most once must store a claim, an outcome and a record. This does these
//! three writes and nothing else: it watches nothing, as the load tells it of each request, and it calls nobody.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use sessionkill::{
    api::{SessionKill, SessionKillReceipt},
    domain::status::finished,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
};

use super::{client, plan::NAMESPACE, request};

const FIELD_MANAGER: &str = "sessionkill-operator";

/// How to run the floor.
#[derive(Args, Debug)]
pub struct FloorArgs {
    /// Who writes.
    kubeconfig: PathBuf,
    /// Where the load tells of its requests.
    listen: SocketAddr,
    /// The most requests that are worked on at once.
    concurrency: usize,
}

/// Runs until killed; ends with an error at the first write that fails. On one thread, as the operator does: what is handed
/// from thread to thread takes time that need not be.
pub fn floor(args: FloorArgs) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run(args))
}

async fn run(args: FloorArgs) -> anyhow::Result<()> {
    let client = client::fast(&args.kubeconfig).await?;
    client::connect(&client).await?;
    let writes = Arc::new(Writes {
        session_kills: Api::namespaced(client.clone(), NAMESPACE),
        receipts: Api::namespaced(client, NAMESPACE),
        turns: Semaphore::new(args.concurrency),
    });
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let (failures, mut failed) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                tokio::spawn(serve(accepted?.0, writes.clone(), failures.clone()));
            }
            Some(failure) = failed.recv() => return Err(failure),
        }
    }
}

async fn serve(connection: TcpStream, writes: Arc<Writes>, failures: mpsc::UnboundedSender<anyhow::Error>) {
    let mut lines = BufReader::new(connection).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (writes, failures) = (writes.clone(), failures.clone());
        tokio::spawn(async move {
            if let Err(failure) = writes.finish(&line).await {
                let _ = failures.send(failure);
            }
        });
    }
}

struct Writes {
    session_kills: Api<SessionKill>,
    receipts: Api<SessionKillReceipt>,
    turns: Semaphore,
}

impl Writes {
    async fn finish(&self, line: &str) -> anyhow::Result<()> {
        let object: SessionKill = serde_json::from_str(line)?;
        let _turn = self.turns.acquire().await?;
        let claimed = request::claimed(&object, Timestamp::now());
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let receipt = self.receipts.create(&params, &claimed).await?;
        let conclusion = request::killed(&receipt);
        let now = Timestamp::now();
        write_status(&self.session_kills, &object, &finished(&object, &conclusion, now)).await?;
        write_status(&self.receipts, &receipt, &conclusion.record(now)).await
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
