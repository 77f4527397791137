//! Makes the requests of a stream, at once or at a fixed rate.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use sessionkill::api::SessionKill;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::mpsc, task::JoinSet};

use super::{
    super::{
        client,
        plan::{Plan, Stream},
        request,
    },
    made::Made,
};

/// The most requests in flight to the API server when all are made at once.
const AT_ONCE: usize = 32;

/// Makes requests as a plan says.
#[derive(Clone)]
pub(super) struct Maker {
    plan: Arc<Plan>,
    client: Client,
    announcements: Option<mpsc::UnboundedSender<SessionKill>>,
    others_ended: Arc<AtomicBool>,
}

impl Maker {
    /// Set when all requests of the other streams have ended. Streams that last as long as the others stop then.
    pub(super) async fn new(plan: Arc<Plan>, others_ended: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let client = client::fast(&plan.kubeconfig).await?;
        client::connect(&client).await?;
        let announcements = match plan.announce_to {
            Some(address) => Some(announce_on(TcpStream::connect(address).await?)?),
            None => None,
        };
        Ok(Self { plan, client, announcements, others_ended })
    }

    /// Makes all requests of a stream and returns them when all are stored.
    pub(super) async fn make(self, index: usize) -> anyhow::Result<Vec<Made>> {
        let stream = &self.plan.streams[index];
        match stream.rate {
            None => {
                let requests = (0..stream.requests).map(|number| self.make_one(index, number, None));
                stream::iter(requests).buffer_unordered(AT_ONCE).try_collect().await
            }
            Some(rate) => self.make_at(index, rate).await,
        }
    }

    async fn make_at(&self, index: usize, rate: f64) -> anyhow::Result<Vec<Made>> {
        let mut due = pace(&self.plan.streams[index], rate, self.others_ended.clone());
        let mut requests = JoinSet::new();
        while let Some((number, due)) = due.recv().await {
            let maker = self.clone();
            requests.spawn(async move { maker.make_one(index, number, Some(due)).await });
        }
        let mut made = vec![];
        while let Some(request) = requests.join_next().await {
            made.push(request??);
        }
        Ok(made)
    }

    async fn make_one(&self, index: usize, number: u32, due: Option<Instant>) -> anyhow::Result<Made> {
        let (request, tenant) = request::session_kill(&self.plan, index, number)?;
        let due = due.unwrap_or_else(Instant::now);
        let session_kills: Api<SessionKill> = Api::namespaced(self.client.clone(), &self.plan.place(number)?.namespace);
        let stored = session_kills.create(&PostParams::default(), &request).await;
        let stored = stored.with_context(|| format!("SessionKill {} was not created", request.name_any()))?;
        let version = stored.resource_version().unwrap_or_default().parse().context("no resource version")?;
        let made = Made { stream: index, name: stored.name_any(), tenant, due, version };
        if let Some(announcements) = &self.announcements {
            announcements.send(stored).context("nobody listens to the announcements any more")?;
        }
        Ok(made)
    }
}

/// Sends each number, with the time at which it is due, at that time. It is a thread, as the runtime's timers have a
/// resolution of a millisecond, which is too coarse for the measurement.
fn pace(stream: &Stream, rate: f64, others_ended: Arc<AtomicBool>) -> mpsc::UnboundedReceiver<(u32, Instant)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (requests, while_others_last) = (stream.requests, stream.while_others_last);
    thread::spawn(move || {
        let start = Instant::now();
        for number in 0..requests {
            let due = start + Duration::from_secs_f64(f64::from(number) / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let is_over = while_others_last && others_ended.load(Ordering::Relaxed);
            if is_over || sender.send((number, due)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Writes each received object as one line of JSON.
fn announce_on(mut connection: TcpStream) -> anyhow::Result<mpsc::UnboundedSender<SessionKill>> {
    connection.set_nodelay(true)?;
    let (sender, mut receiver) = mpsc::unbounded_channel::<SessionKill>();
    tokio::spawn(async move {
        while let Some(object) = receiver.recv().await {
            let mut line = serde_json::to_vec(&object)?;
            line.push(b'\n');
            connection.write_all(&line).await?;
        }
        anyhow::Ok(())
    });
    Ok(sender)
}
