//! One open connection to a server, and what its checks found. No I/O of its own.

use super::columns::Columns;
use super::wire::Connection;

/// One open connection that has passed its checks.
pub(super) struct Session {
    /// The connection.
    pub(super) connection: Connection,
    /// The ID of this session itself, as the list has it.
    pub(super) own_id: i64,
    /// The address of the server.
    pub(super) server_ip: String,
    /// The list of sessions that the server has.
    pub(super) view: &'static str,
    /// The columns of that list.
    pub(super) columns: Columns,
    /// Whether the user sees the sessions of others.
    pub(super) sees_all: bool,
    /// Whether the server lists the sessions that are asked for. One that refuses that is asked for all.
    pub(super) lists_some: bool,
    /// Whether the server evaluates a condition in `KILL`.
    pub(super) has_fence: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("own_id", &self.own_id).field("view", &self.view).finish_non_exhaustive()
    }
}
