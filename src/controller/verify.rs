//! After the call: reads the process list until the sessions are gone from it, or the time is up. Does I/O, in a task of its
//! own.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::context::Context;
use super::dispatch::tenant;
use super::observer::{NotRead, observe};
use super::queue::Item;
use super::request::Request;
use super::settle::{Target, report};
use crate::api::{SessionKill, SessionKillReceipt, SessionOutcome, SessionStatus, VerificationPolicy};
use crate::domain::conclusion::Conclusion;
use crate::domain::status::{InVerification, verifying};
use crate::domain::verification::{close, look};

/// The pause after the first look, doubling up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Most sessions are gone sooner: a status that says so is not worth a write.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// A call that was made, on the way to its conclusion.
pub struct Made {
    /// The receipt of its claim.
    pub receipt: SessionKillReceipt,
    /// The call, and how the sessions stand.
    pub call: InVerification,
    /// Why an outcome that cannot be told cannot.
    pub detail: String,
}

/// Follows a call to its conclusion, and concludes it.
pub async fn verify(context: Arc<Context>, object: SessionKill, item: Item, made: Made) {
    let Made { receipt, mut call, detail } = made;
    follow(&context, &object, &mut call).await;
    let request = Request { context: &context, object: &object, now: Timestamp::now() };
    let conclusion = Conclusion {
        target_mismatch: call.target_mismatch,
        ..Conclusion::called(call.sessions, call.dispatch, &detail)
    };
    let next = request.conclude(&receipt, &conclusion).await;
    context.queue.done(item, next);
}

/// Looks at the process list until nothing more can be learned of the sessions of `call`.
async fn follow(context: &Arc<Context>, object: &SessionKill, call: &mut InVerification) {
    let (spec, namespace) = (&object.spec, object.namespace().unwrap_or_default());
    let policy = spec.verification.policy;
    let (started, mut pause, mut shown) = (Instant::now(), SHORTEST_PAUSE, false);
    loop {
        let snapshot = observe(context, &namespace, &spec.connection_ref.name, &tenant(spec)).await;
        if let Ok(snapshot) = &snapshot {
            let looked = look(&call.sessions, snapshot, policy);
            call.sessions = looked.sessions;
            if !looked.is_open {
                return;
            }
        }
        let now = Timestamp::now();
        let left = Duration::try_from(call.until.duration_since(now)).unwrap_or_default();
        if left.is_zero() || is_in_vain(&call.sessions, snapshot.as_ref().err(), policy) {
            call.sessions = close(&call.sessions, snapshot.as_deref().ok(), policy, now);
            return;
        }
        if !shown && started.elapsed() >= SHOWN_AFTER {
            shown = show(context, object, call).await;
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether there is nothing to wait for: the list is refused, and the word of the API is good enough for every session.
fn is_in_vain(sessions: &[SessionStatus], not_read: Option<&NotRead>, policy: VerificationPolicy) -> bool {
    not_read == Some(&NotRead::Refused)
        && policy == VerificationPolicy::BestEffort
        && sessions.iter().all(|session| session.outcome != SessionOutcome::Unknown)
}

/// Shows what the call came to so far, for people, and for another operator should this one go away.
async fn show(context: &Context, object: &SessionKill, call: &InVerification) -> bool {
    let status = verifying(object, call, Timestamp::now());
    match report(context, &Target::of(object), &status).await {
        Ok(()) => true,
        // Gone or re-created: the receipt gets the outcome.
        Err(error) if error.is_not_found() || error.is_invalid() => true,
        Err(error) => {
            tracing::warn!(%error, name = object.name_any(), "verification not shown yet");
            false
        }
    }
}
