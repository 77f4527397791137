//! One attack on one contender, as it is written.

use serde::{Deserialize, Serialize};

use super::super::usage::MemoryBytes;

/// One attack on one contender, and what became of the victim's kills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttackRun {
    /// Who was attacked.
    pub contender: String,
    /// The attack, as the command line spells it.
    pub attack: String,
    /// Objects that were stored for it, or connections opened.
    pub made: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Why the first one was.
    pub first_refusal: Option<String>,
    /// The victim's kills before the attack.
    pub alone: Kills,
    /// The victim's kills while it lasted.
    pub beside: Kills,
    /// Memory of the contender: before, at most, and when the victim's last kill had ended.
    pub memory_bytes: MemoryBytes,
    /// Requests of the contender to the API server while the victim killed beside the attack.
    pub api_requests: u64,
    /// The longest start beside what the attack had stored, if it was started again.
    pub ready_ms: Option<f64>,
}

/// What became of the victim's kills.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kills {
    /// How many were asked for.
    pub requests: u32,
    /// From due to ended, in milliseconds; one that did not end counts as long as it was waited for.
    pub p50_ms: f64,
    /// All but one in a hundred took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Those whose session was ended.
    pub killed: u32,
    /// Those that ran into their `notAfterTime`, 15 s after they were made, however late that was told.
    pub expired: u32,
    /// Those that had not ended a minute after the last one was made; they may have expired since.
    pub unended: u32,
    /// How often one session was killed at most.
    pub most_kills_of_one: u32,
    /// All but one in a hundred of as many plain writes as a kill needs, made meanwhile in the same namespace, took no longer.
    pub writes_p99_ms: f64,
    /// Until a new connection was known to be good, in milliseconds; none if it was not within a minute.
    pub connection_ms: Option<f64>,
    /// Until a request was removed whose time to stay had passed, in milliseconds; none if it was not within a minute.
    pub removal_ms: Option<f64>,
}

impl Kills {
    /// Of two the worse of each figure.
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
