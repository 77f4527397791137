//! The record of one attack on one contender.

use serde::{Deserialize, Serialize};

use super::super::usage::MemoryBytes;

/// One attack on one contender, and the results of the victim's kills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttackRun {
    /// Who was attacked.
    pub contender: String,
    /// The attack, as the command line spells it.
    pub attack: String,
    /// The number of objects stored, or connections opened, by the attack.
    pub made: u64,
    /// The number that was refused.
    pub refused: u64,
    /// Why the first one was refused.
    pub first_refusal: Option<String>,
    /// The victim's kills before the attack.
    pub alone: Kills,
    /// The victim's kills during the attack.
    pub beside: Kills,
    /// Memory of the contender: before, at most, and after the victim's last kill had ended.
    pub memory_bytes: MemoryBytes,
    /// Requests of the contender to the API server during the victim's kills beside the attack.
    pub api_requests: u64,
    /// The longest start beside the stored objects of the attack, if it was restarted.
    pub ready_ms: Option<f64>,
}

/// The results of the victim's kills.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kills {
    /// How many kills were requested.
    pub requests: u32,
    /// The median time from due to ended, in milliseconds. A kill that did not end counts with the time waited.
    pub p50_ms: f64,
    /// The 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
    /// Kills whose session was ended.
    pub killed: u32,
    /// Kills that reached their `notAfterTime`, 15 s after their creation, even if the status said so later.
    pub expired: u32,
    /// Kills that had not ended a minute after the last one was made. They may have expired since.
    pub unended: u32,
    /// How often one session was killed at most.
    pub most_kills_of_one: u32,
    /// The 99th percentile of the plain writes of a kill, made meanwhile in the same namespace, in milliseconds.
    pub writes_p99_ms: f64,
    /// The time until a new connection was known to work, in milliseconds. `None` if it took more than a minute.
    pub connection_ms: Option<f64>,
    /// The time until a request was removed after its TTL, in milliseconds. `None` if it took more than a minute.
    pub removal_ms: Option<f64>,
}

impl Kills {
    /// The worse of the two values of each figure.
    pub(crate) fn worse(self, other: Self) -> Self {
        let later = |one: Option<f64>, other| one.zip(other).map(|(one, other): (f64, f64)| one.max(other));
        Self {
            requests: self.requests + other.requests,
            p50_ms: self.p50_ms.max(other.p50_ms),
            p99_ms: self.p99_ms.max(other.p99_ms),
            max_ms: self.max_ms.max(other.max_ms),
            writes_p99_ms: self.writes_p99_ms.max(other.writes_p99_ms),
            killed: self.killed + other.killed,
            expired: self.expired + other.expired,
            unended: self.unended + other.unended,
            most_kills_of_one: self.most_kills_of_one.max(other.most_kills_of_one),
            connection_ms: later(self.connection_ms, other.connection_ms),
            removal_ms: later(self.removal_ms, other.removal_ms),
        }
    }
}
