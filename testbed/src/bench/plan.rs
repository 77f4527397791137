//! The load's plan and report: JSON files, as the load is a separate process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sessionkill::api::VerificationPolicy;

/// The server that all sessions in a gateway's memory are on.
pub(super) const SERVER: &str = "192.168.13.119";
/// The namespace of the requests and their connection, if there is only one.
pub(super) const NAMESPACE: &str = "default";
/// The connection that they name then.
pub(super) const CONNECTION: &str = "prod-ob";
/// The label that distinguishes the requests of one load.
pub(super) const LABEL: &str = "bench";

/// A load: requests to make, and to watch until they end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The kubeconfig of the user that makes the requests.
    pub kubeconfig: PathBuf,
    /// Unique to the load. It is the label's value and the prefix of all names.
    pub name: String,
    /// The instance that they name.
    pub instance: String,
    /// The server that their sessions are on.
    pub server: String,
    /// Their `notAfterTime`. It differs in each load, as requests of equal content have one receipt.
    pub not_after: Timestamp,
    /// If set, each request's `notAfterTime` is this long after its creation instead.
    pub lives_for: Option<Duration>,
    /// Their `ttlSecondsAfterFinished`.
    pub ttl_seconds: Option<i32>,
    /// How many sessions each names.
    pub sessions_each: u32,
    /// Their verification policy.
    pub verification: VerificationPolicy,
    /// The connections that they name, in turn.
    pub places: Vec<Place>,
    /// Where each request is announced with a line of JSON, for a contender that does not watch.
    pub announce_to: Option<SocketAddr>,
    /// The time after which requests that have not ended are given up.
    pub limit: Duration,
    /// The streams, which run side by side.
    pub streams: Vec<Stream>,
}

/// A connection, and the namespace of it and its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The namespace.
    pub namespace: String,
    /// The name of the connection.
    pub connection: String,
}

impl Default for Place {
    /// The connection of most loads.
    fn default() -> Self {
        Self { namespace: NAMESPACE.into(), connection: CONNECTION.into() }
    }
}

impl Plan {
    /// The place of request `number` of a stream.
    pub(super) fn place(&self, number: u32) -> anyhow::Result<&Place> {
        let places = self.places.len();
        ensure!(places > 0, "the plan has no places");
        Ok(&self.places[number as usize % places])
    }

    /// The namespace of all requests. `None` if there are several.
    pub(super) fn only_namespace(&self) -> Option<&str> {
        let first = self.places.first()?.namespace.as_str();
        self.places.iter().all(|place| place.namespace == first).then_some(first)
    }
}

/// Requests that name some tenants in turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stream {
    /// The tenants.
    pub tenants: Vec<String>,
    /// Their sessions.
    pub sessions: Sessions,
    /// The most requests.
    pub requests: u32,
    /// Requests per second. Each is due at its time, even if earlier ones have not ended. `None` means all at once.
    pub rate: Option<f64>,
    /// Whether it stops as soon as all requests of the other streams have ended.
    pub while_others_last: bool,
}

/// The IDs of the sessions that a stream names, in the order of its requests.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Sessions {
    /// This one and those that follow.
    From(i64),
    /// These: real sessions have the IDs that a server gave them.
    Of(Vec<i64>),
}

impl Sessions {
    /// The ID of session `number`, counted from 0.
    pub(super) fn id(&self, number: u32) -> anyhow::Result<i64> {
        match self {
            Self::From(first) => Ok(first + i64::from(number)),
            Self::Of(ids) => ids.get(number as usize).copied().context("there are fewer sessions than requests name"),
        }
    }
}

/// The results of a load: the requests of each stream in the order in which they were stored.
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
    /// When it was due, in seconds since the load began. Without a rate: when it was sent.
    pub due: f64,
    /// When it was seen to have ended, if it was.
    pub ended: Option<Ended>,
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// In seconds since the load began.
    pub at: f64,
    /// The place in the order of all ends.
    pub rank: u32,
}

impl Sample {
    /// The time from due to ended, in milliseconds.
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
