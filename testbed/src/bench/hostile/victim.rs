//! The victim: one kill per second in its own namespace, through a connection to a healthy gateway.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::PostParams,
    runtime::wait::{await_condition, conditions::is_deleted},
};
use serde_json::json;
use sessionkill::api::{OceanBaseConnection, SessionKill};
use tokio::time::{Instant, timeout};

use super::{
    super::{
        contender::Running,
        plan::{CONNECTION, NAMESPACE, Plan, Report, SERVER, Sample, Sessions, Stream},
        reasons,
        record::Kills,
        request, run,
        scene::{Scene, is_ready},
        statistics::percentile,
    },
    plain_writes::PlainWrites,
};

/// The time from a kill's creation to its `notAfterTime`: how long a person waits in an emergency.
const LIFE: Duration = Duration::from_secs(15);
/// The time after which a kill that has not ended is given up.
const LIMIT: Duration = Duration::from_mins(1);
/// The longest wait for a connection and for a removal.
const OTHERS_LIMIT: Duration = Duration::from_mins(1);

/// Makes the victim's kills.
pub(super) struct Victims<'a> {
    pub(super) scene: &'a Scene,
    /// The directory for the files of the load.
    pub(super) directory: &'a Path,
    /// How many kills, one a second.
    pub(super) seconds: u32,
}

impl Victims<'_> {
    /// Makes all kills. Meanwhile makes a new connection and a request to be removed, and waits for them.
    pub(super) async fn kill(&self, running: &Running) -> anyhow::Result<Kills> {
        let plan = self.plan();
        self.scene.gateway.set_sessions(request::all_sessions(&plan)?)?;
        self.scene.gateway.clear_calls();
        let writes = PlainWrites::new(self.scene.client.clone(), &plan.name);
        let kills = Box::pin(async { Ok(writes.beside(run::make(&plan, running, self.directory)).await) });
        let connection = Box::pin(told(self.new_connection(&plan.name)));
        let removal = Box::pin(told(self.removal(&plan.name)));
        let ((report, writes), connection_ms, removal_ms) = tokio::try_join!(kills, connection, removal)?;
        let Report { streams, .. } = report?;
        let samples = streams.first().context("a load without requests")?;
        let waited = |sample: &Sample| sample.latency_ms().unwrap_or(LIMIT.as_secs_f64() * 1000.0);
        let waits: Vec<f64> = samples.iter().map(waited).collect();
        let wait = |percent| percentile(&waits, percent).context("no kill was made");
        let reasons = reasons::of_load(self.scene.client.clone(), &plan).await?;
        let ended_as = |reason: &str| reasons.iter().filter(|it| *it == reason).count();
        let kills = self.scene.gateway.kills_per_session();
        Ok(Kills {
            requests: u32::try_from(samples.len())?,
            p50_ms: wait(50.0)?,
            p99_ms: wait(99.0)?,
            max_ms: wait(100.0)?,
            writes_p99_ms: percentile(&writes, 99.0).context("no plain write was made")?,
            killed: u32::try_from(ended_as("SessionsKilled"))?,
            expired: u32::try_from(ended_as("DeadlineExceeded"))?,
            unended: u32::try_from(samples.iter().filter(|sample| sample.ended.is_none()).count())?,
            most_kills_of_one: kills.values().copied().max().unwrap_or_default(),
            connection_ms,
            removal_ms,
        })
    }

    fn plan(&self) -> Plan {
        static NEXT_SESSION: AtomicU32 = AtomicU32::new(1);
        let stream = Stream {
            tenants: self.scene.tenants[..1].to_vec(),
            sessions: Sessions::From(NEXT_SESSION.fetch_add(self.seconds, Ordering::Relaxed).into()),
            requests: self.seconds,
            rate: Some(1.0),
            while_others_last: false,
        };
        Plan { lives_for: Some(LIFE), ..self.scene.plan("victim", LIMIT, vec![stream]) }
    }

    /// The time until a new connection is known to work.
    async fn new_connection(&self, name: &str) -> anyhow::Result<Option<f64>> {
        let connections: Api<OceanBaseConnection> = Api::namespaced(self.scene.client.clone(), NAMESPACE);
        let like = connections.get(CONNECTION).await?;
        let made = serde_json::from_value(json!({
            "apiVersion": "sessionkill.dev/v1alpha1",
            "kind": "OceanBaseConnection",
            "metadata": {"name": name},
            "spec": like.spec,
        }))?;
        let started = Instant::now();
        connections.create(&PostParams::default(), &made).await?;
        let known = timeout(OTHERS_LIMIT, await_condition(connections, name, is_ready)).await;
        Ok(known.is_ok().then(|| started.elapsed().as_secs_f64() * 1000.0))
    }

    /// The time until a request is removed. Its `notAfterTime` is in two seconds, and its TTL is 0 s.
    async fn removal(&self, name: &str) -> anyhow::Result<Option<f64>> {
        let session_kills: Api<SessionKill> = Api::namespaced(self.scene.client.clone(), NAMESPACE);
        let name = format!("{name}-removed");
        let made = serde_json::from_value(json!({
            "apiVersion": "sessionkill.dev/v1alpha1",
            "kind": "SessionKill",
            "metadata": {"name": name},
            "spec": {
                "connectionRef": {"name": CONNECTION},
                "instanceID": self.scene.instance,
                "tenantID": self.scene.tenants[0],
                "mode": "DryRun",
                "sessions": [{"serverIP": SERVER, "sessionID": 1}],
                "notAfterTime": Timestamp::now() + SignedDuration::from_secs(2),
                "ttlSecondsAfterFinished": 0,
            },
        }))?;
        let uid = session_kills.create(&PostParams::default(), &made).await?.uid().unwrap_or_default();
        let started = Instant::now();
        let removed = timeout(OTHERS_LIMIT, await_condition(session_kills, &name, is_deleted(&uid))).await;
        Ok(removed.is_ok().then(|| started.elapsed().as_secs_f64() * 1000.0))
    }
}

/// Turns an error into `None`: if the API server fails under the attack, the figures of the kills must not be lost.
async fn told(figure: impl Future<Output = anyhow::Result<Option<f64>>>) -> anyhow::Result<Option<f64>> {
    Ok(figure.await.unwrap_or_else(|error| {
        eprintln!("not measured: {error:#}");
        None
    }))
}
