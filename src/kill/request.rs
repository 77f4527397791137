//! One request during one attempt: how it waits and how it ends. Does I/O; the steps of the kill path use it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use tokio::time::timeout;

use crate::api::{SessionKill, SessionKillStatus, WaitReason};
use crate::domain::kill::backoff::next_attempt;
use crate::domain::kill::conclusion::Conclusion;
use crate::domain::kill::retention::ttl_ignored;
use crate::domain::kill::status::{Waiting, differs, finished, waiting};
use crate::domain::selection::Filter;
use crate::domain::tenant::TenantKey;
use crate::kill::context::Context;
use crate::kill::orphan::SharedList;
use crate::kill::report::report_waiting;
use crate::kill::settle::{Settled, settle};
use crate::kill::spans::root;
use crate::kubernetes::calls::ApiError;
use crate::kubernetes::status_patch::Target;
use crate::kubernetes::watch::metadata::Size;
use crate::metrics::labels::Stage;
use crate::queue::item::{Item, Next};
use crate::queue::permits::Permit;
use crate::traces::Span;

/// The pause after a failed call to the API server.
pub const API_PAUSE: SignedDuration = SignedDuration::from_secs(2);
/// The pause of a request that waits because a clock is off.
const CLOCK_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The pause after an answer of the API server that did not store a status.
const UNSTORED_PAUSE: SignedDuration = SignedDuration::from_secs(15);
/// The pause after the API server refused a final status in every form, unless the object changes before.
const REFUSED_PAUSE: SignedDuration = SignedDuration::from_mins(10);
/// The longest that the end of a request may delay the others of its tenant.
const ENDING_TIME: Duration = Duration::from_secs(5);
/// Like [`ENDING_TIME`], for a large object: such writes go one at a time, and an abandoned one was a cost for nothing.
const LARGE_ENDING_TIME: Duration = Duration::from_mins(1);

/// One request during one attempt, from its turn in the queue to [`Request::done`].
pub struct Request {
    pub context: Arc<Context>,
    pub key: Arc<TenantKey>,
    /// The process list for orphaned claims of its tenant, shared by its batch.
    pub orphans: Arc<SharedList>,
    pub item: Item,
    /// The object as it was when its turn came. Once its selector has matched, with the sessions that it takes.
    pub object: Arc<SessionKill>,
    /// Its selector, ready for use, if it has one; or why that cannot be used.
    pub filter: Result<Option<Arc<Filter>>, String>,
    pub size: Size,
    /// Held by a batch read from the API server, until each request is done or claimed: a verification may be long.
    pub _room: Option<Arc<Permit>>,
}

impl Request {
    /// The target of its status writes.
    pub fn target(&self) -> Target {
        Target::of(self.object.as_ref()).sized(self.size)
    }

    /// Moves the request to `stage`.
    pub fn enters(&self, stage: Stage) {
        let left = self.context.queue.enters(&self.item.uid, stage);
        leaves(&self.context, &self.item.uid, left);
    }

    /// Returns the request to the queue.
    pub fn done(self, next: Next) {
        let Self { context, item, .. } = self;
        let uid = item.uid.clone();
        let left = context.queue.done(item, next);
        leaves(&context, &uid, left);
    }

    /// Step 1: lets the request wait if it is suspended, too early, or if a clock is off.
    pub async fn hold(&self, until: Timestamp, reason: Option<WaitReason>) -> Next {
        let Some(reason) = reason else { return Next::Later(until) };
        let (message, until) = match reason {
            WaitReason::Suspended => ("held back by spec.suspend: set it to false to go on".to_owned(), until),
            WaitReason::ClockSkew => {
                self.context.metrics.put_off(reason);
                // The clock may be corrected at any time.
                (self.context.clock_is_off(), Timestamp::now() + CLOCK_PAUSE)
            }
            _ => {
                let not_before = self.object.spec.not_before_time.as_ref().map_or(until, |time| time.0);
                (format!("nothing is sent before {not_before}"), until)
            }
        };
        let why = Waiting { reason, message, next_attempt: None };
        if reason == WaitReason::ClockSkew {
            self.context.events.waiting(&self.object, &why);
        }
        self.write_waiting(&waiting(&self.object, &why, Timestamp::now())).await.unwrap_or(Next::Later(until))
    }

    /// Ends the request without a call of its own. An end that is not stored within a limit is tried again later, as
    /// the tenant's other requests wait; nothing is lost by that.
    pub async fn end(&self, conclusion: &Conclusion) -> Next {
        let ending = self.settle(conclusion, self.put_off_for());
        let limit = match self.size {
            Size::Usual => ENDING_TIME,
            Size::Large => LARGE_ENDING_TIME,
        };
        let settled = timeout(limit, ending).await;
        match settled {
            Ok(Settled::Written | Settled::Superseded) => Next::Ended,
            Ok(Settled::Refused) => Next::Unchanged(Timestamp::now() + REFUSED_PAUSE),
            Err(_) => Next::Later(Timestamp::now() + UNSTORED_PAUSE),
        }
    }

    /// Ends the request with the outcome of its own call, for as long as that takes.
    pub async fn end_called(&self, conclusion: &Conclusion) -> (Next, Settled) {
        let settled = self.settle(conclusion, Duration::ZERO).await;
        let next = match settled {
            Settled::Written | Settled::Superseded => Next::Ended,
            // The receipt has the outcome, which is copied once the request can be written again.
            Settled::Refused => Next::Unchanged(Timestamp::now() + REFUSED_PAUSE),
        };
        (next, settled)
    }

    async fn settle(&self, conclusion: &Conclusion, failing_for: Duration) -> Settled {
        let status = finished(&self.object, conclusion, Timestamp::now());
        let settled = settle(&self.context, &self.key, &self.target(), &status, failing_for).await;
        match settled {
            Settled::Written => {
                self.context.events.ended(&self.object, conclusion);
                self.count_end(conclusion);
                // Here, not in the sweep, which visits the request repeatedly and does not remember it.
                if let Some(why) = ttl_ignored(&self.object) {
                    self.context.events.ttl_ignored(&self.object, &why);
                }
            }
            Settled::Refused => self.context.events.not_stored(&self.object, conclusion),
            Settled::Superseded => {}
        }
        settled
    }

    /// How long this process has been putting it off.
    fn put_off_for(&self) -> Duration {
        let since = self.item.put_off_since;
        since.and_then(|since| Duration::try_from(Timestamp::now().duration_since(since)).ok()).unwrap_or_default()
    }

    fn count_end(&self, conclusion: &Conclusion) {
        let metrics = &self.context.metrics;
        let created = self.object.metadata.creation_timestamp.as_ref();
        let since = created.and_then(|created| Duration::try_from(Timestamp::now().duration_since(created.0)).ok());
        let uid = &self.item.uid;
        metrics.finished(conclusion.reason, since, self.context.traces.trace_id(uid));
        if self.context.traces.has(uid) {
            self.context.traces.add(&root(&self.object, conclusion, self.item.seen.elapsed()));
        }
        if conclusion.is_copied {
            metrics.duplicate_suppressed();
        } else {
            metrics.sessions_finished(&conclusion.sessions);
        }
    }

    /// Lets the request wait for its next try, and says why.
    pub async fn wait(&self, reason: WaitReason, message: String, at_least: Option<SignedDuration>) -> Next {
        let now = Timestamp::now();
        let start = self.object.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0);
        // A status that cannot be stored has no start time.
        let start = start.or(self.item.put_off_since).unwrap_or(now);
        let until = next_attempt(start, now, at_least, &self.item.uid, self.object.spec.not_after_time.0);
        if waits_for_secret(reason) {
            self.awaits_secret();
        }
        let why = Waiting { reason, message, next_attempt: Some(until) };
        self.context.events.waiting(&self.object, &why);
        self.context.metrics.put_off(reason);
        self.write_waiting(&waiting(&self.object, &why, now)).await.unwrap_or(if waits_for_connection(reason) {
            Next::WithConnection(until)
        } else {
            Next::Later(until)
        })
    }

    fn awaits_secret(&self) {
        let context = &self.context;
        if let Ok(connection) = context.routes.connection(&self.key.connection_key()) {
            context.connection_states.awaits_secret(&connection);
        }
    }

    /// `Some` if the write failed and should be retried. It waits longer if the content may be the cause, as this
    /// status only says why the request waits.
    async fn write_waiting(&self, status: &SessionKillStatus) -> Option<Next> {
        if !differs(self.object.status.as_ref(), status) {
            return None;
        }
        match report_waiting(&self.context, &self.key, &self.target(), status).await {
            Ok(()) => None,
            Err(error) if error.is_too_large() || error.is_server_error() => {
                let _logged = self.unanswered(&error);
                Some(Next::Later(Timestamp::now() + UNSTORED_PAUSE))
            }
            Err(error) => Some(self.unanswered(&error)),
        }
    }

    /// What to do after a failed call to the API server; nothing was sent.
    pub async fn put_off(&self, error: &ApiError) -> Next {
        if error.is_refused() {
            let message = format!("the API server refuses what the operator needs: {error}");
            return self.wait(WaitReason::Pending, message, None).await;
        }
        if error.is_unreadable() {
            let message = format!("what is stored cannot be read by this version of the operator: {error}");
            return self.wait(WaitReason::Pending, message, None).await;
        }
        self.unanswered(error)
    }

    /// The API server did not answer, and nothing was sent.
    fn unanswered(&self, error: &ApiError) -> Next {
        let (name, namespace) = (self.object.name_any(), self.object.namespace());
        tracing::warn!(%error, name, namespace, "attempt put off");
        Next::Later(Timestamp::now() + API_PAUSE)
    }
}

/// Whether a change of the connection's Secret may end the wait for `reason`.
const fn waits_for_secret(reason: WaitReason) -> bool {
    matches!(reason, WaitReason::CredentialsUnavailable | WaitReason::CredentialsRejected)
}

/// Whether a change of the connection or of its Secret may end the wait for `reason`.
const fn waits_for_connection(reason: WaitReason) -> bool {
    !matches!(
        reason,
        WaitReason::Pending
            | WaitReason::Scheduled
            | WaitReason::Suspended
            | WaitReason::ClockSkew
            | WaitReason::Dispatching
            | WaitReason::Verifying
    )
}

/// Records how long the request was in the stage that it left.
fn leaves(context: &Context, uid: &str, left: Option<(Stage, Instant)>) {
    let Some((stage, since)) = left else { return };
    let took = since.elapsed();
    context.metrics.leaves(stage, took);
    let name = match stage {
        Stage::Queued => "queue",
        Stage::Verifying => "verify",
        Stage::Settling => "settle",
        // Their parts have their own spans.
        Stage::Preparing | Stage::Calling => return,
    };
    context.traces.add(&Span::part(uid, name, took));
}
