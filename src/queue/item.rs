//! The items of the queue, and the results of submitting and processing them. No I/O.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;

use crate::domain::kill::sharing::Sharing;
use crate::domain::tenant::TenantKey;
use crate::kubernetes::watch::cached::Cached;

/// One object to process. The object is looked up when its turn comes, so that its newest version is used.
#[derive(Clone, Debug)]
pub struct Item {
    /// The object.
    pub object: ObjectRef<Cached>,
    /// Its UID, as an object re-created under the same name is another object.
    pub uid: String,
    /// Its generation when it was submitted; an edit of the spec increases it.
    pub generation: Option<i64>,
    /// Its resource version when it was submitted.
    pub version: Option<String>,
    /// How many sessions it names.
    pub sessions: usize,
    /// Nothing is sent for it after this time.
    pub not_after: Timestamp,
    /// When the watch delivered it, or when its wait ended.
    pub seen: Instant,
    /// Since when this process has been putting it off.
    pub put_off_since: Option<Timestamp>,
    /// The event that it waited for has come: ignore `nextAttemptTime` in its status.
    pub is_woken: bool,
    /// The most requests that may share its call.
    pub sharing: Sharing,
}

/// Identifies an item: the UID of its request, and when it was seen.
pub type ItemKey = (String, Instant);

impl Item {
    /// The key of this item.
    pub fn key(&self) -> ItemKey {
        (self.uid.clone(), self.seen)
    }
}

/// What to do after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the request has ended.
    Ended,
    /// Look again at this time.
    Later(Timestamp),
    /// Look again at this time, or when its connection works again.
    WithConnection(Timestamp),
    /// Look again at this time, or when the object has changed.
    Unchanged(Timestamp),
}

/// The result of submitting an item.
#[derive(Debug, PartialEq, Eq)]
pub enum Submitted {
    /// It will be processed, or already is.
    Accepted {
        /// The tenant if no worker processes it yet: the caller must start one.
        starts: Option<Arc<TenantKey>>,
    },
    /// It is on hold until this time.
    Held(Timestamp),
    /// Too many items of its tenant, of its namespace or in total are waiting. It is submitted again once there is
    /// room, in the order of creation.
    Full,
}
