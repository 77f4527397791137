//! Step 8: after a call, reads the process list until its sessions are gone or the time is over. Does I/O, in a task
//! per call.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::time::{Instant, timeout};

use crate::connections::call_permits::Lane;
use crate::connections::process_lists::{NotRead, pause_between_lists};
use crate::domain::kill::status::verifying;
use crate::domain::kill::verification as domain;
use crate::domain::snapshot::Snapshot;
use crate::domain::tenant::TenantKey;
use crate::kill::conclude::{Made, conclude_all};
use crate::kill::context::Context;
use crate::kill::report::report_called;

/// The pauses between two looks double up to this one.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Most sessions are gone sooner, which saves the write of this status.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// The time for a look that begins when the time is over: longer than a list may take, and part of the margin before
/// others may treat the claim as orphaned.
const LAST_LOOK: Duration = Duration::from_secs(6);

type Read = Result<Arc<Snapshot>, NotRead>;

/// Follows one call to its conclusions; one read of the list serves all its requests.
pub async fn verify(context: Arc<Context>, key: Arc<TenantKey>, mut open: Vec<Made>) {
    let connection = context.routes.connection(&key.connection_key());
    let shortest = connection.map_or(LONGEST_PAUSE, |connection| pause_between_lists(&connection));
    let (started, mut pause, mut is_shown) = (Instant::now(), shortest, false);
    loop {
        if open.is_empty() {
            return;
        }
        let ids: Vec<i64> =
            open.iter().flat_map(|made| &made.call.sessions).map(|session| session.session_id).collect();
        let reading = context.process_lists.observe_by_name(&key, &ids, Lane::Kills);
        // However slow the list, a request out of time must end: others may soon treat its claim as orphaned.
        let time = time_left(&open, Timestamp::now()) + LAST_LOOK;
        let read = timeout(time, reading).await.unwrap_or(Err(NotRead::Yet));
        let now = Timestamp::now();
        let (told, still_open): (Vec<_>, Vec<_>) =
            open.into_iter().map(|made| made.looked(&read, now)).partition(|(_, is_told)| *is_told);
        open = still_open.into_iter().map(|(made, _)| made).collect();
        if !told.is_empty() {
            let told = told.into_iter().map(|(made, _)| made).collect();
            context.tasks.spawn(conclude_all(context.clone(), key.clone(), told));
        }
        if !is_shown && started.elapsed() >= SHOWN_AFTER {
            is_shown = !context.write_slots.collect_each(&open, Made::show).await.contains(&false);
        }
        tokio::time::sleep(pause.min(time_left(&open, now))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The time left until the first of `open` must end, whatever is known.
fn time_left(open: &[Made], now: Timestamp) -> Duration {
    open.iter().map(|made| made.left(now)).min().unwrap_or_default()
}

impl Made {
    /// Applies a read of the list. The flag says that nothing more can be learned.
    fn looked(mut self, read: &Read, now: Timestamp) -> (Self, bool) {
        let spec = &self.request.object.spec;
        let goal = domain::Goal { scope: spec.scope, policy: spec.verification.policy };
        let read = match read {
            Ok(snapshot) => domain::Read::List(snapshot),
            Err(NotRead::Yet) => domain::Read::NotYet,
            Err(NotRead::Refused) => domain::Read::Refused,
        };
        let looked = domain::follow(&self.call.sessions, read, goal, self.call.until, now);
        self.call.sessions = looked.sessions;
        (self, !looked.is_open)
    }

    /// The time left for its verification.
    fn left(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.call.until.duration_since(now)).unwrap_or_default()
    }

    /// Writes the results so far, for people and for another operator should this process end. Returns false if it must
    /// be tried again.
    async fn show(&self) -> bool {
        let object = &self.request.object;
        let status = verifying(object, &self.call, Timestamp::now());
        let (context, key) = (&self.request.context, &self.request.key);
        match report_called(context, key, &self.request.target(), &status).await {
            Ok(()) => true,
            // The object is gone or was re-created, but the receipt gets the outcome.
            Err(error) if error.is_not_found() || error.is_invalid() => true,
            Err(error) => {
                tracing::warn!(%error, name = object.name_any(), "verification not shown yet");
                false
            }
        }
    }
}
