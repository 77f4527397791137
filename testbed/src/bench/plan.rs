//! What the load process is told, and what it reports: JSON files, because it is a process of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sessionkill::api::VerificationPolicy;

/// The server that all sessions are on.
pub(super) const SERVER: &str = "192.168.13.119";
/// Where requests are made, and where their connection is.
pub(super) const NAMESPACE: &str = "default";
/// The connection that they name.
pub(super) const CONNECTION: &str = "prod-ob";
/// The label that tells the requests of one load from those of others.
pub(super) const LABEL: &str = "bench";

/// A load: requests to make and to see ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Who makes the requests.
    pub kubeconfig: PathBuf,
    /// Unique to the load: the label and the first part of all names.
    pub name: String,
    /// The instance that they name.
    pub instance: String,
    /// Their `notAfterTime`, another one in each load: the same content would be the same request.
    pub not_after: Timestamp,
    /// If there is such a time, each request's `notAfterTime` is so long after it is made instead.
    pub lives_for: Option<Duration>,
    /// Their `ttlSecondsAfterFinished`.
    pub ttl_seconds: Option<i32>,
    /// How many sessions each names.
    pub sessions_each: u32,
    /// How their ends are made sure of.
    pub verification: VerificationPolicy,
    /// Who is told of each request by a line of JSON, for want of a watch.
    pub announce_to: Option<SocketAddr>,
    /// After this time, those that have not ended are given up.
    pub limit: Duration,
    /// Made side by side.
    pub streams: Vec<Stream>,
}

/// Requests for some tenants in turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stream {
    /// The tenants.
    pub tenants: Vec<String>,
    /// The id of the first session; the others follow.
    pub first_session: i64,
    /// The most requests.
    pub requests: u32,
    /// Requests per second, each due at its time whatever became of those before; without it, all at once.
    pub rate: Option<f64>,
    /// Whether it stops as soon as all requests of the other streams have ended.
    pub while_others_last: bool,
}

/// What became of a load: the requests of each stream in the order in which they were stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// One list for each stream of the plan.
    pub streams: Vec<Vec<Sample>>,
    /// Processor time that making and watching took, in seconds.
    pub cpu_seconds: f64,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Which of the stream's tenants it is for.
    pub tenant: u32,
    /// When it was due, in seconds since the load began; without a rate, when it was sent.
    pub due: f64,
    /// When it was seen to have ended, if it was.
    pub ended: Option<Ended>,
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// In seconds since the load began.
    pub at: f64,
    /// Counts up over all requests of the load.
    pub rank: u32,
}

impl Sample {
    /// From due to ended, in milliseconds.
    pub(super) fn latency_ms(&self) -> Option<f64> {
        self.ended.map(|ended| (ended.at - self.due) * 1000.0)
    }
}

/// Writes `value` as JSON.
pub(super) fn write(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    std::fs::write(path, serde_json::to_vec(value)?).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads what [`write`] wrote.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not what it should be", path.display()))
}
