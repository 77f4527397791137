//! Records every call, so that a test can count kills per session.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    identity::Identity,
    request::{Placement, SignatureVersion},
};

/// One call as the gateway saw it. It is written when the call arrives and completed later. So a call that is still
/// delayed, or whose connection was dropped, shows what it has done so far.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// Counts up from 1, and goes on after the ledger is cleared.
    pub sequence: u64,
    /// When it arrived, by the gateway's clock.
    pub received_time: Timestamp,
    /// When its time stamp was accepted, by the gateway's clock. `None` if it was refused.
    pub admitted_time: Option<Timestamp>,
    /// When its answer was ready, by the gateway's clock. `None` while it runs.
    pub answered_time: Option<Timestamp>,
    /// The action it named.
    pub action: Option<String>,
    /// The access key id it named.
    pub access_key_id: Option<String>,
    /// Who made it. `None` if it was refused before that was known for sure.
    pub identity: Option<Identity>,
    /// How it was signed.
    pub signature_version: SignatureVersion,
    /// Its nonce.
    pub nonce: Option<String>,
    /// The instance it named.
    pub instance: Option<String>,
    /// The tenant it named.
    pub tenant: Option<String>,
    /// The sessions that it named, and those killed together with them.
    pub sessions: Vec<SessionRecord>,
    /// `OK` or the error's code. `None` while it runs, and if the answer has no code.
    pub result: Option<String>,
    /// The status of the answer. `None` while it runs, and if there was no answer.
    pub http_status: Option<u16>,
    /// The request id of the answer.
    pub request_id: String,
    /// The kind of fault that applied to it.
    pub fault: Option<String>,
    /// Where its parameters were.
    pub placement: Placement,
}

/// A session that a call named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// The server the session is on.
    pub server_ip: String,
    /// The session's id on that server.
    pub session_id: i64,
    /// Whether the call really killed it.
    pub executed: bool,
}

/// All calls since the start or the last clearing.
#[derive(Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    last_sequence: u64,
    calls: Vec<CallRecord>,
}

impl Ledger {
    /// Adds a call, and returns its sequence number.
    pub fn enter(&self, mut record: CallRecord) -> u64 {
        self.with(|entries| {
            entries.last_sequence += 1;
            record.sequence = entries.last_sequence;
            entries.calls.push(record);
            entries.last_sequence
        })
    }

    /// Changes the record of a call. Does nothing if it was cleared meanwhile.
    pub fn update(&self, sequence: u64, change: impl FnOnce(&mut CallRecord)) {
        self.with(|entries| {
            if let Ok(index) = entries.calls.binary_search_by_key(&sequence, |call| call.sequence) {
                change(&mut entries.calls[index]);
            }
        });
    }

    /// Records that the call killed a session, which it may not have named.
    pub fn executed(&self, sequence: u64, server_ip: &str, session_id: i64) {
        self.update(sequence, |call| {
            let same =
                |it: &&mut SessionRecord| !it.executed && it.session_id == session_id && it.server_ip == server_ip;
            if let Some(session) = call.sessions.iter_mut().find(same) {
                session.executed = true;
            } else {
                let server_ip = server_ip.to_owned();
                call.sessions.push(SessionRecord { server_ip, session_id, executed: true });
            }
        });
    }

    /// All calls in the order of their arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.with(|entries| entries.calls.clone())
    }

    /// The number of kills of each killed session.
    #[must_use]
    pub fn kills_per_session(&self) -> BTreeMap<(String, i64), u32> {
        let mut kills = BTreeMap::new();
        self.with(|entries| {
            for session in entries.calls.iter().flat_map(|call| &call.sessions).filter(|session| session.executed) {
                *kills.entry((session.server_ip.clone(), session.session_id)).or_default() += 1;
            }
        });
        kills
    }

    /// Forgets all calls.
    pub fn clear(&self) {
        self.with(|entries| entries.calls.clear());
    }

    fn with<T>(&self, use_entries: impl FnOnce(&mut Entries) -> T) -> T {
        use_entries(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
