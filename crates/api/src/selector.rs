//! The selector of a `SessionKill`: sessions by what they are, for those who do not know their IDs.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::expect::{SessionState, TransactionState};

/// The most entries of a list in a selector.
const MAX_ENTRIES: usize = 32;

/// Whether each entry is a range of addresses: a canonical one, as any other would be read in two ways.
const ARE_CIDRS: &str = "self.all(cidr, isCIDR(cidr) && cidr(cidr) == cidr(cidr).masked())";

/// Whether each entry can be the ID of a statement.
const ARE_SQL_IDS: &str = "self.all(id, id.matches('^[0-9A-Fa-f]+$'))";

/// Whether a pattern can be read: of one that cannot, the rule fails with the error of the API server's own regular
/// expressions, which are written alike.
const IS_PATTERN: &str = "''.matches(self) in [true, false]";

/// Whether a criterion is given.
const IS_ANY: &str = "has(self.users) || has(self.databases) || has(self.clientCIDRs) || has(self.commands) || has(self.states) || has(self.sqlIDs) || has(self.sqlTextPattern) || has(self.minExecutionSeconds) || has(self.transaction)";

/// Which sessions of the tenant are meant, by what the process list shows of them. The list is read right before the kill.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionSelector {
    /// What a session must be like: each field that is given must hold, and of a list one entry. With mode DryRun it may
    /// be empty, which means every session.
    #[serde(rename = "match")]
    pub matches: SessionCriteria,

    /// Sessions that are left alone, whatever match says: each that one field of exclude holds for, and each of which
    /// that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = (IS_ANY, "exclude must have at least one field: leave it out to exclude nothing"))]
    pub exclude: Option<SessionCriteria>,

    /// The most sessions that are ended, 1 to 100. If more match, none is ended, unless take says which. A Kill needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_sessions: Option<i32>,

    /// What to do if more than maxSessions match. None: end none. Longest: end those that have been in their present state
    /// longest. Newest: end those that have been in it for the shortest time. Unset means None.
    // No default in the schema, so that the content of a request is what its author wrote.
    #[serde(default, skip_serializing_if = "Take::is_none")]
    pub take: Take,
}

/// What a session is like.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionCriteria {
    /// Its database user is one of these, exactly as in the process list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = MAX_ENTRIES), inner(length(min = 1, max = 128)))]
    pub users: Vec<String>,

    /// Its database is one of these, exactly as in the process list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = MAX_ENTRIES), inner(length(min = 1, max = 128)))]
    pub databases: Vec<String>,

    /// Its client's address is in one of these ranges, such as 10.2.0.0/16. A single address ends with /32, or /128 for
    /// IPv6.
    #[serde(rename = "clientCIDRs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = MAX_ENTRIES), inner(length(min = 3, max = 49)))]
    #[x_kube(validation = (ARE_CIDRS, "clientCIDRs must be ranges of addresses without bits beyond the prefix, such as 10.2.0.0/16 or fd00::/8"))]
    pub client_cidrs: Vec<String>,

    /// Its type of command is one of these, such as Query or Sleep, in upper or lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = MAX_ENTRIES), inner(length(min = 1, max = 64)))]
    pub commands: Vec<String>,

    /// Active: it runs a statement. Sleep: it waits for its client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 2))]
    pub states: Vec<SessionState>,

    /// The ID of its statement (SqlId) is one of these, in upper or lower case.
    #[serde(rename = "sqlIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = MAX_ENTRIES), inner(length(min = 1, max = 64)))]
    #[x_kube(validation = (ARE_SQL_IDS, "sqlIDs must be hexadecimal digits, such as 45CCBDC7F1D2A0B34C5D6E7F8091A2B3"))]
    pub sql_ids: Vec<String>,

    /// A regular expression that is found in its statement, such as (?i)^select .* from orders. It needs no backtracking,
    /// and may be at most 512 characters long. Of a statement, the first 8 KiB count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = (IS_PATTERN, "sqlTextPattern must be a regular expression in the syntax of RE2"))]
    pub sql_text_pattern: Option<String>,

    /// It has been in its present state for at least this many seconds (ExecuteTime).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub min_execution_seconds: Option<i32>,

    /// Open: a transaction is open. None: no transaction is open. By SQL only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<TransactionState>,
}

/// Which sessions are ended if more than `maxSessions` match.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, IntoStaticStr)]
pub enum Take {
    /// None of them.
    #[default]
    None,
    /// Those that have been in their present state longest.
    Longest,
    /// Those that have been in their present state for the shortest time.
    Newest,
}

impl Take {
    /// Whether nothing is ended then.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}
