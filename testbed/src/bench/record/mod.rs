//! The records of measurements: one JSON object for each run, and one for each summary.

mod attack;
mod ratios;
mod soak;
mod temporary_keys;

use std::{collections::BTreeMap, fmt};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sessionkill::api::VerificationPolicy;

pub use self::{
    attack::{AttackRun, Kills},
    ratios::{CpuSpread, Ratios},
    soak::{Held, SoakRun},
    temporary_keys::{Phase, RolesRun, ShortKeysRun},
};
use super::{
    statistics::Spread,
    usage::{CpuSeconds, MemoryBytes},
};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Record {
    /// The setting of the measurement.
    Setting(Setting),
    /// One load on one contender.
    Run(Box<Run>),
    /// One start of a contender.
    Start(Start),
    /// The runs of one load on one contender together.
    Summary(Box<Summary>),
    /// One attack on one contender.
    Attack(Box<AttackRun>),
    /// One soak of a contender.
    Soak(Box<SoakRun>),
    /// Kills with keys that live for seconds.
    ShortKeys(Box<ShortKeysRun>),
    /// Kills through connections with a role each.
    Roles(Box<RolesRun>),
    /// A measurement that did not finish.
    Failure(Failure),
}

/// The setting: machine, time and parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// When it began.
    pub time: jiff::Timestamp,
    /// The number of usable processors.
    pub cores: usize,
    /// The model of the processors.
    pub processor: String,
    /// The cargo profile of the operator.
    pub profile: String,
    /// How many sessions each request names.
    pub sessions: u32,
    /// The verification policy of the requests.
    pub verification: VerificationPolicy,
    /// The number of tenants. Requests name them in turn.
    pub tenants: u32,
    /// How long each call of the gateway takes, in milliseconds.
    pub delay_ms: u64,
    /// The most calls per second that the gateway lets through, if limited.
    pub quota: Option<u32>,
    /// How often each contender was measured.
    pub repeats: u32,
    /// Where sessions are, and how they are ended.
    #[serde(default)]
    pub backend: BackendKind,
}

/// Where sessions are, and how they are ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum BackendKind {
    /// In the memory of a gateway, by its API.
    #[default]
    Gateway,
    /// In a real engine, by SQL.
    Sql,
}

/// A measurement that did not finish, for example because the contender ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Who was measured.
    pub contender: String,
    /// The load.
    pub what: String,
    /// What happened.
    pub why: String,
}

/// A load: which requests are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "camelCase")]
pub enum Load {
    /// All at once.
    AtOnce {
        /// How many.
        requests: u32,
    },
    /// At a fixed rate.
    Rate {
        /// Requests per second.
        per_second: f64,
        /// How many.
        requests: u32,
    },
    /// One tenant makes requests at a fixed rate, which are measured. Another tenant makes many at once.
    Lone {
        /// The requests of the other tenant. 0 means that there is no other tenant.
        crowd: u32,
        /// Requests per second of the measured tenant.
        #[serde(default = "once")]
        per_second: u32,
        /// The most requests of the measured tenant. It stops when the requests of the other have ended.
        requests: u32,
        /// Which of these requests the figures describe.
        #[serde(default)]
        part: Part,
    },
}

/// The rate of records without one.
const fn once() -> u32 {
    1
}

/// Requests of one tenant beside many of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// All of them.
    #[default]
    All,
    /// Requests that were due while the other tenant's requests were still being created.
    WhileMade,
    /// Requests that were due after all of the other tenant's requests were created.
    OnceMade,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtOnce { requests } => write!(f, "{requests} at once"),
            Self::Rate { per_second, .. } => write!(f, "{per_second}/s"),
            Self::Lone { crowd: 0, per_second, .. } => write!(f, "{per_second}/s, alone"),
            Self::Lone { crowd, per_second, part, .. } => {
                write!(f, "{per_second}/s, beside {crowd} of another tenant")?;
                f.write_str(match part {
                    Part::All => "",
                    Part::WhileMade => ": while they are made",
                    Part::OnceMade => ": once all are made",
                })
            }
        }
    }
}

/// One load on one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Counts up from 1.
    pub repeat: u32,
    /// Who finished the requests.
    pub contender: String,
    /// What requests were made.
    pub load: Load,
    /// How many were measured: with a lone tenant, only its own.
    pub requests: u32,
    /// How long they took, and in which order they ended.
    pub times: Times,
    /// Requests of the contender to the API server per request of the load, by verb and resource. With a lone tenant,
    /// this and all following figures are for both tenants together.
    pub api_requests: BTreeMap<String, f64>,
    /// Calls that reached the gateway per request, by action; or statements that reached the engine, by kind.
    pub upstream_calls: BTreeMap<String, f64>,
    /// Connections to the engine that were open, or were opened.
    #[serde(default)]
    pub sql_connections: Option<u32>,
    /// Calls that the gateway refused because of its quota.
    pub throttled_calls: u64,
    /// Processor time of the contender and the control plane.
    pub cpu_seconds: CpuSeconds,
    /// Processor time of the load process.
    pub load_cpu_seconds: f64,
    /// All requests that were made: the divisor for the processor time.
    pub requests_made: u32,
    /// Memory of the contender.
    pub memory_bytes: MemoryBytes,
    /// The results of the sessions and requests.
    pub ends: Ends,
    /// The average number of runnable processes in the minute before.
    pub load_average: Option<f64>,
}

/// How long requests took, from due to seen to have ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// The longest, in milliseconds.
    pub max_ms: f64,
    /// Requests per second, from the first one due to the last one ended.
    pub requests_per_second: f64,
    /// Kendall's tau of the order of ends and the order in the store, within each tenant. `None` if there is no pair.
    pub order_kept: Option<f64>,
}

/// Whether everything was done, and only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ends {
    /// Requests that had not ended when the load gave up.
    pub unfinished: u32,
    /// Sessions that the requests named.
    pub sessions: u32,
    /// Sessions that were killed.
    pub sessions_killed: u32,
    /// The highest number of kills of one session.
    pub most_kills_of_one: u32,
}

/// One start of a contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// Counts up from 1.
    pub repeat: u32,
    /// Who was started.
    pub contender: String,
    /// The number of finished requests in the store.
    pub finished_objects: u32,
    /// The time from the start of the process until it was ready.
    pub ready_ms: f64,
    /// Its memory after it has come to rest.
    pub resting_bytes: u64,
}

/// The summary of all runs of one load on one contender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Who finished the requests.
    pub contender: String,
    /// What requests were made.
    pub load: Load,
    /// How many runs.
    pub runs: u32,
    /// See [`Times`].
    pub p50_ms: Spread,
    /// See [`Times`].
    pub p99_ms: Spread,
    /// See [`Times`].
    pub max_ms: Spread,
    /// See [`Times`].
    pub requests_per_second: Spread,
    /// See [`Times`].
    pub order_kept: Option<Spread>,
    /// All requests of the contender to the API server, for each request.
    pub api_requests: Spread,
    /// All calls that reached the gateway, for each request.
    pub upstream_calls: Spread,
    /// Processor seconds per thousand requests. `None` if there were too few requests.
    pub cpu_per_thousand: Option<CpuSpread>,
    /// The most memory that the contender took.
    #[serde(default)]
    pub peak_bytes: Option<Spread>,
    /// Its medians, divided by those of each other contender under the same load.
    pub ratios: BTreeMap<String, Ratios>,
}
