//! What waits in the queue, and what becomes of it. No I/O.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;

use crate::domain::kill::sharing::Sharing;
use crate::domain::tenant::TenantKey;
use crate::kubernetes::watch::cached::Cached;

/// One object to work on. The object itself is looked up when its turn comes, to see it as it is then.
#[derive(Clone, Debug)]
pub struct Item {
    /// The object.
    pub object: ObjectRef<Cached>,
    /// Its UID: a re-created object of the same name is another one.
    pub uid: String,
    /// Its generation when it was submitted: it goes up when a user edits the spec.
    pub generation: Option<i64>,
    /// Its version when it was submitted.
    pub version: Option<String>,
    /// How many sessions it names.
    pub sessions: usize,
    /// Nothing is sent for it after this time.
    pub not_after: Timestamp,
    /// When the watch, or the end of a wait, brought it.
    pub seen: Instant,
    /// Since when it has been put off again and again, as far as this process knows.
    pub put_off_since: Option<Timestamp>,
    /// What it waited for has come, whatever its status says of the next try.
    pub is_woken: bool,
    /// With how many others it may share a call.
    pub sharing: Sharing,
}

/// What an item is known by: the UID of its request, and when it was submitted.
pub type ItemKey = (String, Instant);

impl Item {
    /// What it is known by.
    pub fn key(&self) -> ItemKey {
        (self.uid.clone(), self.seen)
    }
}

/// What an attempt left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Ended,
    /// Look again then.
    Later(Timestamp),
    /// Look again then, or when its connection works again.
    WithConnection(Timestamp),
    /// Look again then, or when anybody has changed the object.
    Unchanged(Timestamp),
}

/// What became of an item that was submitted.
#[derive(Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It will be worked on, or already is.
    Accepted {
        /// The tenant, if nobody works on its requests yet: whoever submitted it must have somebody begin.
        starts: Option<Arc<TenantKey>>,
    },
    /// Not before this time.
    Held(Timestamp),
    /// Too many of its tenant, of its namespace or in all are waiting: it is looked at again, in the order in which it was
    /// created, once there is room.
    Full,
}
