//! The preconditions of a kill. Session IDs are reused, so an ID alone may name an innocent session.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the process list must show for a session right before the kill. If a given field differs, the session is
/// skipped.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = (
        "has(self.user) || has(self.database) || has(self.clientIP) || has(self.command) || has(self.state) || has(self.sqlID) || has(self.proxySessionID) || has(self.minExecutionSeconds) || has(self.clientPort) || has(self.traceID) || has(self.transactionID) || has(self.transaction)",
        "expect must have at least one field: leave it out to kill whatever session has the ID"
    )
)]
pub struct Expect {
    /// The database user, exactly as in the process list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub user: Option<String>,

    /// The database, exactly as in the process list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub database: Option<String>,

    /// The client's IP address, in any notation.
    #[serde(rename = "clientIP", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = ("isIP(self)", "clientIP must be an IP address, such as 10.2.3.4 or fd00::1"))]
    pub client_ip: Option<String>,

    /// The type of command, such as Query, in upper or lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub command: Option<String>,

    /// Active: the session runs a statement. Sleep: it waits for its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SessionState>,

    /// The ID of the statement (SqlId), in upper or lower case.
    #[serde(rename = "sqlID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = ("self.matches('^[0-9A-Fa-f]+$')", "sqlID must be hexadecimal digits, such as 45CCBDC7F1D2A0B34C5D6E7F8091A2B3"))]
    pub sql_id: Option<String>,

    /// The ID of the proxy's session (ProxySessId). Write it in quotes, as it may be larger than a signed 64-bit
    /// number.
    #[serde(rename = "proxySessionID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = ("self.matches('^[0-9]+$')", "proxySessionID must be digits in a string, such as \"752113700739156671\""))]
    pub proxy_session_id: Option<String>,

    /// The number of seconds that the session must at least have been in its present state (ExecuteTime).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub min_execution_seconds: Option<i32>,

    /// The port of the client's connection, which tells apart the sessions of one client. Through a proxy, only newer
    /// servers tell it. By SQL only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub client_port: Option<i32>,

    /// The trace ID of the running statement (TRACE_ID), which no other statement has. By SQL only.
    #[serde(rename = "traceID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = ("self.matches('^[0-9A-Za-z-]+$')", "traceID must be letters, digits and -, such as YB42AC11000A-000651C2B1A1B2C3-0-0"))]
    pub trace_id: Option<String>,

    /// The ID of the open transaction (TRANS_ID). Write it in quotes. By SQL only.
    #[serde(rename = "transactionID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(validation = ("self.matches('^[0-9]+$')", "transactionID must be digits in a string, such as \"2713\""))]
    pub transaction_id: Option<String>,

    /// Open: a transaction is open. None: no transaction is open. By SQL only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionState>,
}

/// Whether a transaction is open.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionState {
    /// A transaction is open.
    Open,
    /// No transaction is open.
    None,
}

/// Active: the session runs a statement. Sleep: it waits for its client.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionState {
    /// A statement is running: ACTIVE in the process list.
    Active,
    /// Waiting for the client: SLEEP in the process list.
    Sleep,
}

impl SessionState {
    /// As the process list has it.
    #[must_use]
    pub const fn as_listed(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Sleep => "SLEEP",
        }
    }
}
