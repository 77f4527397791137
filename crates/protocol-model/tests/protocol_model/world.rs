//! Everything outside the operators: the API server, the gateway and its sessions, the network between them, and the
//! clocks.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use sessionkill_api::{SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionKillStatus};
use sessionkill_backends::alibaba::stamp::ACCEPTANCE;
use sessionkill_core::clock::{Bounds, Now};
use sessionkill_core::kill::claim::receipt_name;
use sessionkill_core::session::Seen;
use sessionkill_core::snapshot::Snapshot;

use super::operator::Operator;
use super::protocol::{Protocol, Rule};
use super::stored::Stored;
use super::time::{NOT_AFTER, at};

/// A state of the model.
#[derive(Clone, Debug, Hash, PartialEq)]
pub(crate) struct World {
    pub(crate) moments: &'static [i64],
    /// The index of the current moment.
    pub(crate) now: usize,
    pub(crate) clocks: Clocks,
    pub(crate) requests: [Request; 2],
    pub(crate) receipts: Vec<Stored<SessionKillReceipt>>,
    /// Whether each session exists.
    pub(crate) sessions: [bool; 3],
    pub(crate) backend: Backend,
    /// Calls that were sent and have not arrived.
    pub(crate) network: Vec<Call>,
    /// Claims that were sent to the API server and have not arrived.
    pub(crate) posts: Vec<Stored<SessionKillReceipt>>,
    /// What the API server refuses to store, until the end of the run.
    pub(crate) trouble: Trouble,
    pub(crate) operators: [Operator; 2],
    pub(crate) executions: Vec<Execution>,
    /// Whether the outcome of a finished request was changed.
    pub(crate) is_overwritten: bool,
    /// Calls for more than one request that the gateway rejected.
    pub(crate) refused_together: Vec<Call>,
    /// Whether the gateway refused a time stamp with time left. The connection would then send without the fence.
    pub(crate) is_fence_given_up: bool,
    /// How many more faults may happen.
    pub(crate) faults: u8,
    /// How many more claims may be tried.
    pub(crate) attempts: u8,
}

/// What ends sessions.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Backend {
    /// One call for all sessions.
    Gateway,
    /// A database, by one kill for each session.
    Server,
}

/// What the API server refuses to store, in whatever form.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// The record of any receipt, as with an older definition that lacks a value.
    Records,
    /// The status of the first request, as with an object that is too large already.
    Status,
}

/// How many seconds each clock is ahead of the slowest one.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Clocks {
    pub(crate) operators: [i64; 2],
    pub(crate) gateway: i64,
}

/// One request, that is, one UID.
#[derive(Clone, Debug, Hash, PartialEq)]
pub(crate) struct Request {
    /// The indices of the sessions that it names.
    pub(crate) sessions: &'static [usize],
    /// The name of the receipt for its content.
    pub(crate) receipt_name: Arc<str>,
    pub(crate) is_created: bool,
    /// The stored object. `None` before its creation and after its deletion.
    pub(crate) object: Option<Stored<SessionKill>>,
    /// Every unfinished version that was stored. A watch cache may show any of them at any time: events can be late,
    /// doubled or lost, and a list can be old.
    pub(crate) versions: Vec<Stored<SessionKill>>,
    /// How it ended. Kept after the deletion of the object.
    pub(crate) end: Option<Stored<SessionKillStatus>>,
}

/// A kill on its way to the gateway.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Call {
    /// The attempt that its nonce is for, and the number of the request within that attempt.
    pub(crate) nonce: (String, u8),
    /// The requests that it is for, each with the ID of its attempt.
    pub(crate) members: Vec<(usize, String)>,
    /// Its signed time stamp, in seconds from the start. For a kill by SQL: when it is too late by the server's clock.
    pub(crate) stamp: i64,
    /// The one session that it ends, by SQL.
    pub(crate) only: Option<usize>,
    /// The one session that it ends, as the selector of its request chose it.
    pub(crate) chosen: Option<usize>,
}

/// A kill that was executed for one session of one request.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) struct Execution {
    pub(crate) request: usize,
    pub(crate) session: usize,
    pub(crate) attempt_id: String,
    pub(crate) is_late: bool,
}

/// Why the API server refused a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotFound,
    /// The name is taken, or a precondition does not hold.
    Conflict,
    /// A rule of the kind forbids it.
    Invalid,
    /// The API server does not store it in any form.
    Unstorable,
}

/// A request with this `uid`, created at `created`, for the sessions with these indices.
pub(crate) fn request(name: &str, uid: &str, sessions: &[usize], created: i64) -> SessionKill {
    let session = |index: &usize| json!({"serverIP": "10.0.0.1", "sessionID": index + 1});
    let not_after = if sessions.first() == Some(&0) { NOT_AFTER } else { NOT_AFTER + 5 };
    let mut object: SessionKill = serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "SessionKill",
        "metadata": {"name": name, "namespace": "dba", "uid": uid, "generation": 1},
        "spec": {
            "connectionRef": {"name": "prod-ob"}, "instanceID": "ob1", "tenantID": "t1",
            "sessions": sessions.iter().map(session).collect::<Vec<_>>(),
            "verification": {"timeoutSeconds": 1},
            "notAfterTime": at(not_after),
        },
    }))
    .unwrap();
    object.metadata.creation_timestamp = Some(Time(at(created)));
    object
}

impl World {
    /// The index of the last moment.
    pub(crate) fn last(&self) -> usize {
        self.moments.len() - 1
    }

    /// The time by the clock of `operator`.
    pub(crate) fn time(&self, operator: usize) -> Timestamp {
        self.time_at(self.now, operator)
    }

    /// The time at `moment` by the clock of `operator`.
    pub(crate) fn time_at(&self, moment: usize, operator: usize) -> Timestamp {
        at(self.moments[moment] + self.clocks.operators[operator])
    }

    /// The same, with what the answers of the API server show of its clock, which is the slowest one.
    pub(crate) fn known_time(&self, operator: usize) -> Now {
        let server = self.moments[self.now];
        Now::new(self.time(operator), Some(Bounds { earliest: at(server), latest: at(server + 1) }))
    }

    /// The first moment that is not before `time` by the clock of `operator`.
    pub(crate) fn moment(&self, operator: usize, time: Timestamp) -> usize {
        let is_reached = |moment: &usize| self.time_at(*moment, operator) >= time;
        (0..self.last()).find(is_reached).unwrap_or(self.last())
    }

    pub(crate) fn create(&mut self, index: usize, object: SessionKill) {
        let request = &mut self.requests[index];
        request.receipt_name = receipt_name(&object.spec).into();
        let object = Stored::new(object);
        (request.is_created, request.object) = (true, Some(object.clone()));
        request.versions.push(object);
    }

    /// Writes the status of the request `index`. It was computed from the version `base`. The UID must match, and the
    /// rules of the kind apply.
    pub(crate) fn write_status(
        &mut self,
        protocol: Protocol,
        index: usize,
        base: &SessionKill,
        mut status: SessionKillStatus,
    ) -> Result<(), Refused> {
        if self.trouble == Trouble::Status && index == 0 {
            return Err(Refused::Unstorable);
        }
        // Drop the time of the next try: a request may be tried again at any time, as the protocol must be right
        // without pauses.
        status.next_attempt_time = None;
        let request = &mut self.requests[index];
        let Some(object) = &request.object else { return Err(Refused::NotFound) };
        let old = object.status.clone().unwrap_or_default();
        // Two start times always differ in reality, even if the model has the same moment for both.
        let is_new_start = base.status.as_ref().is_none_or(|status| status.start_time.is_none());
        if old.start_time.is_some() && is_new_start
            || protocol.has(Rule::OutcomeWriteOnce) && !is_allowed(&old, &status)
        {
            return Err(Refused::Invalid);
        }
        let object = object.with(|object| object.status = Some(status.clone()));
        if status.completion_time.is_none() && !request.versions.contains(&object) {
            request.versions.push(object.clone());
        }
        let status = Stored::new(status);
        self.is_overwritten |= request.end.as_ref().is_some_and(|end| *end != status);
        if status.completion_time.is_some() {
            request.end = Some(status);
        }
        request.object = Some(object);
        Ok(())
    }

    /// The request that is stored under `name`.
    pub(crate) fn stored(&self, name: &str) -> Option<&SessionKill> {
        let mut stored = self.requests.iter().filter_map(|request| request.object.as_deref());
        stored.find(|object| object.metadata.name.as_deref() == Some(name))
    }

    pub(crate) fn receipt(&self, name: &str) -> Option<&Stored<SessionKillReceipt>> {
        self.receipts.iter().find(|receipt| receipt.metadata.name.as_deref() == Some(name))
    }

    /// The receipt for the content of a request.
    pub(crate) fn receipt_of(&self, protocol: Protocol, index: usize) -> Option<Stored<SessionKillReceipt>> {
        let request = &self.requests[index];
        if protocol.has(Rule::NameByContent) {
            return self.receipt(&request.receipt_name).cloned();
        }
        let uid = request.versions.first()?.metadata.uid.as_deref()?;
        self.receipt(&format!("{}{uid}", request.receipt_name)).cloned()
    }

    pub(crate) fn create_receipt(&mut self, receipt: &Stored<SessionKillReceipt>) -> Result<(), Refused> {
        if self.receipt(receipt.metadata.name.as_deref().unwrap()).is_some() {
            return Err(Refused::Conflict);
        }
        self.receipts.push(receipt.clone());
        self.receipts.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name));
        Ok(())
    }

    /// Deletes `receipt`, with its UID and its version as preconditions.
    pub(crate) fn delete_receipt(&mut self, receipt: &Stored<SessionKillReceipt>) -> Result<(), Refused> {
        let name = receipt.metadata.name.as_deref().unwrap();
        if *self.receipt(name).ok_or(Refused::NotFound)? != *receipt {
            return Err(Refused::Conflict);
        }
        self.receipts.retain(|stored| stored != receipt);
        Ok(())
    }

    /// A user edits the labels of a receipt: it gets another version and stays the same otherwise.
    pub(crate) fn edit_receipt(&mut self, index: usize) {
        let edited = |receipt: &mut SessionKillReceipt| receipt.metadata.resource_version = Some("edited".to_owned());
        self.receipts[index] = self.receipts[index].with(edited);
    }

    pub(crate) fn write_record(
        &mut self,
        receipt: &SessionKillReceipt,
        record: &SessionKillReceiptStatus,
    ) -> Result<(), Refused> {
        let stored = self.receipts.iter_mut().find(|stored| stored.metadata.uid == receipt.metadata.uid);
        let stored = stored.ok_or(Refused::NotFound)?;
        if self.trouble == Trouble::Records || stored.status.as_ref().is_some_and(|status| status != record) {
            return Err(Refused::Invalid);
        }
        *stored = stored.with(|receipt| receipt.status = Some(record.clone()));
        Ok(())
    }

    /// The process list, with the time by the clock of `operator`.
    pub(crate) fn list(&self, operator: usize) -> Snapshot {
        let there = (0..3).filter(|session| self.sessions[*session]);
        Snapshot::new(there.map(seen).collect(), true, self.time(operator))
    }

    /// Whether the gateway accepts the time stamp of `call`, or the server its condition.
    pub(crate) fn is_accepted(&self, call: &Call) -> bool {
        let now = self.moments[self.now] + self.clocks.gateway;
        if call.only.is_some() {
            return now < call.stamp;
        }
        (now - call.stamp).abs() <= ACCEPTANCE.as_secs()
    }

    /// Whether a shared call for the requests of `call` was refused before.
    pub(crate) fn were_refused_together(&self, call: &Call) -> bool {
        let was =
            |request: &usize| self.refused_together.iter().flat_map(|it| &it.members).any(|(it, _)| it == request);
        call.members.iter().all(|(request, _)| was(request))
    }

    /// Executes `call`.
    pub(crate) fn execute(&mut self, call: &Call) {
        for (request, attempt_id) in &call.members {
            let request = *request;
            let not_after = self.requests[request].versions[0].spec.not_after_time.0;
            // By the gateway's own clock, as the fence depends on it.
            let is_late = at(self.moments[self.now] + self.clocks.gateway) > not_after;
            let is_named = |session: &usize| call.only.or(call.chosen).is_none_or(|only| only == *session);
            for session in self.requests[request].sessions.iter().copied().filter(is_named) {
                self.sessions[session] = false;
                self.executions.push(Execution { request, session, attempt_id: attempt_id.clone(), is_late });
            }
        }
    }
}

/// A session as the list or an answer shows it.
pub(crate) fn seen(session: usize) -> Seen {
    Seen {
        server_ip: "10.0.0.1".to_owned(),
        session_id: i64::try_from(session).unwrap() + 1,
        status: "ACTIVE".to_owned(),
        user: "report_ro".to_owned(),
        ..Seen::default()
    }
}

/// The rules of the kind for its status: the outcome is write-once.
fn is_allowed(old: &SessionKillStatus, new: &SessionKillStatus) -> bool {
    let same_end = old.completion_time == new.completion_time
        && old.sessions == new.sessions
        && old.dispatch == new.dispatch
        && old.conditions == new.conditions;
    old.completion_time.is_none() || same_end
}
