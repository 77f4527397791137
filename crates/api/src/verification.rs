//! How a request has its end checked.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the operator checks that the sessions have ended.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verification {
    /// What proves that a session has ended. Required: it is absent from the process list. If the list cannot be read,
    /// the outcome is Unknown. BestEffort: the same, but if the list cannot be read, the API's answer counts. None: the
    /// API's answer counts. The list is read only if there is no answer.
    #[serde(default)]
    pub policy: VerificationPolicy,
    /// How many seconds after the call the operator keeps reading the process list, until the sessions are gone from
    /// it: 1 to 300.
    #[serde(default = "default_timeout_seconds")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: i32,
}

impl Default for Verification {
    fn default() -> Self {
        Self { policy: VerificationPolicy::default(), timeout_seconds: default_timeout_seconds() }
    }
}

/// In seconds. Killed sessions may stay in the process list for a while.
const fn default_timeout_seconds() -> i32 {
    60
}

/// What proves that a session has ended.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerificationPolicy {
    /// Only its absence from the process list. If the list cannot be read, the outcome is `Unknown`.
    Required,
    /// Its absence from the process list. If the list cannot be read, the API's answer.
    #[default]
    BestEffort,
    /// The API's answer. The list is read only if there is no answer.
    None,
}
