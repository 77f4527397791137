//! The backends, and what each calls to end sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// The name of a backend in a status.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendName {
    /// The API of ApsaraDB for OceanBase.
    AlibabaCloud,
    /// The SQL of any OceanBase.
    #[serde(rename = "SQL")]
    Sql,
    /// A server that a test answers for.
    #[cfg(feature = "scripted")]
    #[schemars(skip)]
    Scripted,
}

/// What ends sessions: an operation of the OceanBasePro API (version 2019-09-01), or the SQL statement KILL.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray,
)]
pub enum Operation {
    /// Synchronous. The answer has a row for each session.
    #[default]
    KillProcessList,
    /// Asynchronous. The answer names no session: only the process list shows what happened to them.
    BatchKillProcessList,
    /// SQL: one KILL statement for each session, one after the other.
    Kill,
}

impl Operation {
    /// The backend that has it.
    #[must_use]
    pub const fn backend(self) -> BackendName {
        match self {
            Self::KillProcessList | Self::BatchKillProcessList => BackendName::AlibabaCloud,
            Self::Kill => BackendName::Sql,
        }
    }

    /// The name of the action.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
