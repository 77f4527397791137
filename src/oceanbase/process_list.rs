//! The list of a tenant's sessions (DescribeProcessStatsComposition): bytes in, sessions or a typed error out. Pure, and
//! total: no input makes it panic.
//!
//! Conclusions are drawn from the absence of a session, so nothing that is missing may look like an empty list.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::answer::{RawAnswer, integer, text, text_of};
use super::error::CallError;

/// The most bytes of a list that are read: some 30,000 sessions with their statements.
pub const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;

/// The most sessions that are kept, more than that many bytes hold of documented rows. Rows stripped to their IDs would
/// take many times the memory that they had as text.
const MAX_SESSIONS: usize = 65_536;

/// How deep rows may stand within rows: three levels are documented.
const MAX_DEPTH: usize = 4;

/// The sessions of a tenant at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessList {
    /// Each session once, in the order of the answer.
    pub sessions: Vec<ListedSession>,
    /// Whether all sessions are in `sessions`. False when the API counts more than it lists, or when a row could not be
    /// read: then the absence of a session proves nothing.
    pub complete: bool,
}

/// A row of the list, fields as documented, as the API wrote them. Missing and null fields are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ListedSession {
    /// Positive. Unique on its server, and used again later for another session.
    #[serde(deserialize_with = "integer")]
    pub session_id: i64,
    /// The server's address.
    #[serde(deserialize_with = "text")]
    pub server_ip: String,
    /// The client's address.
    #[serde(deserialize_with = "text")]
    pub client_ip: String,
    /// The tenant.
    #[serde(deserialize_with = "text")]
    pub tenant_id: String,
    /// The database user.
    #[serde(deserialize_with = "text")]
    pub user: String,
    /// The database.
    #[serde(deserialize_with = "text")]
    pub database: String,
    /// The type of command, such as Query.
    #[serde(deserialize_with = "text")]
    pub command: String,
    /// The session's state, such as ACTIVE.
    #[serde(deserialize_with = "text")]
    pub status: String,
    /// The statement.
    #[serde(deserialize_with = "text")]
    pub sql_text: String,
    /// The ID of the statement.
    #[serde(deserialize_with = "text")]
    pub sql_id: String,
    /// For how long it has been in this state, in seconds.
    #[serde(deserialize_with = "text")]
    pub execute_time: String,
    /// The proxy's session in front of it: an unsigned number of 64 bits.
    #[serde(deserialize_with = "text")]
    pub proxy_sess_id: String,
}

impl ProcessList {
    /// Reads an answer. One without `Data.AllProcessList` is ambiguous: an absent list is not an empty one.
    pub fn read(raw: &RawAnswer) -> Result<Self, CallError> {
        raw.request_id_of_success()?;
        let Some(Data { rows: Some(rows), total }) = raw.data()? else {
            return Err(raw.unreadable("Data that has no AllProcessList"));
        };
        let complete = rows.all_read && covers(rows.sessions.len(), &total);
        Ok(Self { sessions: rows.sessions, complete })
    }
}

/// Whether the API counts no more than is listed; `total` is empty if it gave no count. One that cannot be read vouches
/// for nothing.
fn covers(listed: usize, total: &str) -> bool {
    let total = total.trim();
    total.is_empty() || total.parse::<usize>().is_ok_and(|total| total <= listed)
}

struct Data {
    rows: Option<Rows>,
    total: String,
}

impl<'de> Deserialize<'de> for Data {
    /// By hand, because a derived one would take an array for an object: its first element for the list.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Data;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Data, A::Error> {
                let mut data = Data { rows: None, total: String::new() };
                while let Some(name) = members.next_key::<String>()? {
                    match name.as_str() {
                        "AllProcessList" if data.rows.is_some() => {
                            return Err(A::Error::duplicate_field("AllProcessList"));
                        }
                        "AllProcessList" => data.rows = members.next_value()?,
                        "TotalSessionCount" => data.total = text_of(&members.next_value()?),
                        _ => {
                            members.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(data)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// What the rows came to, those within other rows among them.
struct Rows {
    sessions: Vec<ListedSession>,
    /// Where each session stands in `sessions`, and how deep its row stood.
    places: HashMap<(String, i64), (usize, usize)>,
    all_read: bool,
}

impl Rows {
    fn read(&mut self, row: &Value, depth: usize) {
        let Value::Object(members) = row else {
            self.all_read = false;
            return;
        };
        let inner: Vec<_> =
            ["ProcessSqlLists", "ProcessSqlList"].iter().filter_map(|name| members.get(*name)).collect();
        let has_inner = inner.iter().any(|rows| rows.as_array().is_some_and(|rows| !rows.is_empty()));
        // A row that only groups others names no session itself.
        let groups = has_inner && members.get("SessionId").is_none_or(Value::is_null);
        match ListedSession::deserialize(row) {
            Ok(session) if session.session_id > 0 => self.keep(session, depth),
            _ => self.all_read &= groups,
        }
        for rows in inner {
            self.read_inner(rows, depth + 1);
        }
    }

    fn read_inner(&mut self, rows: &Value, depth: usize) {
        match rows {
            Value::Null => {}
            Value::Array(rows) if rows.is_empty() => {}
            Value::Array(rows) if depth <= MAX_DEPTH => rows.iter().for_each(|row| self.read(row, depth)),
            _ => self.all_read = false,
        }
    }

    /// Of the rows that name the same session the outermost is kept.
    fn keep(&mut self, session: ListedSession, depth: usize) {
        // Without its server nobody can tell which session it is.
        self.all_read &= !session.server_ip.is_empty();
        let full = self.sessions.len() >= MAX_SESSIONS;
        match self.places.entry((session.server_ip.clone(), session.session_id)) {
            Entry::Occupied(mut place) => {
                let (index, kept_depth) = *place.get();
                if depth < kept_depth {
                    place.insert((index, depth));
                    self.sessions[index] = session;
                }
            }
            Entry::Vacant(_) if full => self.all_read = false,
            Entry::Vacant(place) => {
                place.insert((self.sessions.len(), depth));
                self.sessions.push(session);
            }
        }
    }
}

impl<'de> Deserialize<'de> for Rows {
    /// Row by row: a tree of the whole list would take many times the memory of its text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Rows;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rows, A::Error> {
                let mut rows = Rows { sessions: Vec::new(), places: HashMap::new(), all_read: true };
                while let Some(row) = list.next_element::<Value>()? {
                    rows.read(&row, 1);
                }
                Ok(rows)
            }
        }
        deserializer.deserialize_seq(List)
    }
}
