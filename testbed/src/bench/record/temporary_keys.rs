//! The records of kills with temporary access keys.

use serde::{Deserialize, Serialize};

use super::super::usage::MemoryBytes;

/// A contender that has killed with keys that live for seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShortKeysRun {
    /// Who killed.
    pub contender: String,
    /// How many seconds keys lived at least.
    pub key_seconds: u64,
    /// The time from the first call of the gateway to the last one, in seconds.
    pub seconds: f64,
    /// How many kills were requested.
    pub requests: u32,
    /// Sessions that were killed, by the gateway's ledger.
    pub killed: u32,
    /// The highest number of kills of one session.
    pub most_kills_of_one: u32,
    /// Requests that did not end as `SessionsKilled`.
    pub failed: u32,
    /// Calls that were refused, other than those of STS.
    pub refused_calls: u32,
    /// Calls in all, other than those of STS.
    pub calls: u32,
    /// Calls of STS, each of which is a renewal.
    pub renewals: u32,
    /// How many seconds a key is used: see [`Self::lifetimes`].
    pub used_seconds: f64,
}

impl ShortKeysRun {
    /// How many keys the time is worth if each is used as long as it may be.
    #[must_use]
    pub fn lifetimes(&self) -> f64 {
        self.seconds / self.used_seconds
    }
}

/// A contender whose connections have a role each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolesRun {
    /// Who killed.
    pub contender: String,
    /// The number of connections, each with its own role.
    pub roles: u32,
    /// The number of namespaces that they are in.
    pub namespaces: u32,
    /// How many seconds keys lived at least.
    pub key_seconds: u64,
    /// At rest, before there was any of these connections.
    pub before: Phase,
    /// All connections are made, and each kills once, as soon as it can.
    pub first_keys: Phase,
    /// At rest after that: each connection holds a key.
    pub at_rest: Phase,
    /// Each connection kills once, with the key that it holds.
    pub in_use: Phase,
    /// Each connection kills once, and its key is due to be renewed.
    pub renewing: Phase,
}

/// One part of the measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How many sessions were killed, each once.
    pub kills: u32,
    /// The median time of a kill from due to ended, in milliseconds. `None` without kills.
    pub p50_ms: Option<f64>,
    /// The 99th percentile, in milliseconds.
    pub p99_ms: Option<f64>,
    /// Processor time of the contender, in seconds.
    pub cpu_seconds: f64,
    /// Memory of the contender.
    pub memory_bytes: MemoryBytes,
    /// Calls of STS.
    pub sts_calls: u32,
    /// The most calls of STS that the gateway had not answered at one time.
    pub sts_at_once: u32,
}

impl Phase {
    /// Processor seconds per minute.
    #[must_use]
    pub fn cpu_per_minute(&self) -> f64 {
        self.cpu_seconds * 60.0 / self.seconds
    }
}
