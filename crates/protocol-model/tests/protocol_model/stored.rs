//! Objects of the real types inside a model state. They are cheap to clone, and equal if no decision can tell them
//! apart.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use sessionkill_api::{SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionKillStatus, SessionStatus};

use super::time::MISSED_WITHIN;

/// A value, and the digest of what decisions read of it. Messages and times that only people read are left out: two
/// states that differ only in these have the same future.
#[derive(Clone)]
pub(crate) struct Stored<T> {
    value: Arc<T>,
    digest: u64,
}

impl<T: Decisive> Stored<T> {
    pub(crate) fn new(value: T) -> Self {
        let mut hasher = DefaultHasher::new();
        value.feed(&mut hasher);
        Self { value: Arc::new(value), digest: hasher.finish() }
    }

    /// A changed copy.
    pub(crate) fn with(&self, change: impl FnOnce(&mut T)) -> Self
    where
        T: Clone,
    {
        let mut value = (*self.value).clone();
        change(&mut value);
        Self::new(value)
    }
}

impl<T> Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Hash for Stored<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl<T> PartialEq for Stored<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl<T: Decisive> std::fmt::Debug for Stored<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.value.shown())
    }
}

/// The digest of a key.
pub(crate) fn digest(key: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

thread_local! {
    static ENDS: RefCell<HashMap<u64, Stored<SessionKillStatus>>> = RefCell::default();
}

/// The status that `make` returns, computed once for each `key`. The real functions would otherwise be called millions
/// of times with the same arguments.
pub(crate) fn made_once(key: &impl Hash, make: impl FnOnce() -> SessionKillStatus) -> Stored<SessionKillStatus> {
    let key = digest(key);
    if let Some(known) = ENDS.with_borrow(|ends| ends.get(&key).cloned()) {
        return known;
    }
    let status = Stored::new(make());
    ENDS.with_borrow_mut(|ends| ends.insert(key, status.clone()));
    status
}

/// What decisions read of a value.
pub(crate) trait Decisive {
    fn feed(&self, hasher: &mut DefaultHasher);
    /// The text for a counterexample.
    fn shown(&self) -> String;
}

impl Decisive for Vec<SessionStatus> {
    fn feed(&self, hasher: &mut DefaultHasher) {
        for session in self {
            (session.session_id, session.outcome as u8, session.reason as u8).hash(hasher);
            session.observed.is_some().hash(hasher);
        }
    }

    fn shown(&self) -> String {
        let each = self.iter().map(|s| format!("{} {:?}/{:?}", s.session_id, s.outcome, s.reason));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Decisive for SessionKillStatus {
    fn feed(&self, hasher: &mut DefaultHasher) {
        // For a finished request, no decision depends on the time of its end.
        self.completion_time.is_some().hash(hasher);
        // For an unfinished request, decisions depend only on whether it has started: see `World::write_status`.
        (self.completion_time.is_none() && self.start_time.is_some()).hash(hasher);
        self.next_attempt_time.as_ref().map(|time| time.0).hash(hasher);
        let call = self.dispatch.as_ref();
        call.map(|call| (&call.receipt_name, &call.attempt_id, call.operation as u8)).hash(hasher);
        summary(self).hash(hasher);
        self.sessions.feed(hasher);
    }

    fn shown(&self) -> String {
        let end = self.completion_time.as_ref().map(|_| " ended").unwrap_or_default();
        let attempt = self.dispatch.as_ref().map(|call| format!(" by {}", call.attempt_id)).unwrap_or_default();
        format!("{}{end}{attempt} [{}]", summary(self).unwrap_or_default(), self.sessions.shown())
    }
}

fn summary(status: &SessionKillStatus) -> Option<&str> {
    status.conditions.iter().find(|condition| condition.type_ == "Succeeded").map(|c| c.reason.as_str())
}

/// Whether it was created too late, and whether it then counts as missed.
pub(crate) fn lateness(object: &SessionKill) -> (bool, bool) {
    let late = object.metadata.creation_timestamp.as_ref().map(|it| it.0.duration_since(object.spec.not_after_time.0));
    let is_late = late.is_some_and(|late| !late.is_negative());
    (is_late, is_late && late < Some(MISSED_WITHIN))
}

impl Decisive for SessionKill {
    fn feed(&self, hasher: &mut DefaultHasher) {
        self.metadata.uid.hash(hasher);
        lateness(self).hash(hasher);
        self.status.is_some().hash(hasher);
        if let Some(status) = &self.status {
            status.feed(hasher);
        }
    }

    fn shown(&self) -> String {
        let uid = self.metadata.uid.as_deref().unwrap_or_default();
        format!("{uid}: {}", self.status.as_ref().map(Decisive::shown).unwrap_or_default())
    }
}

impl Decisive for SessionKillReceiptStatus {
    fn feed(&self, hasher: &mut DefaultHasher) {
        self.outcome.as_str().hash(hasher);
        self.sessions.feed(hasher);
    }

    fn shown(&self) -> String {
        format!("{:?} [{}]", self.outcome, self.sessions.shown())
    }
}

impl Decisive for SessionKillReceipt {
    fn feed(&self, hasher: &mut DefaultHasher) {
        let spec = &self.spec;
        self.metadata.resource_version.hash(hasher);
        (&self.metadata.name, &spec.session_kill_ref.uid, &spec.attempt_id, &spec.holder_identity).hash(hasher);
        (spec.dispatch_deadline_time.0, spec.settle_deadline_time.0).hash(hasher);
        spec.sessions.feed(hasher);
        self.status.is_some().hash(hasher);
        if let Some(status) = &self.status {
            status.feed(hasher);
        }
    }

    fn shown(&self) -> String {
        let spec = &self.spec;
        let record = self.status.as_ref().map_or_else(|| "no record".to_owned(), Decisive::shown);
        format!("attempt {} of {}, {record}", spec.attempt_id, spec.session_kill_ref.uid)
    }
}
