//! After a call: reads the process list until its sessions are gone from it, or the time is up. Does I/O, in a task of its
//! own for each call.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio::time::{Instant, timeout};

use crate::connections::call_permits::Lane;
use crate::connections::process_lists::NotRead;
use crate::domain::kill::status::verifying;
use crate::domain::kill::verification as domain;
use crate::domain::session::Snapshot;
use crate::domain::tenant::TenantKey;
use crate::kill::conclude::{Made, conclude_all};
use crate::kill::context::Context;
use crate::kill::report::report_called;
use crate::kill::target::tenant;

/// The pause after the first look, doubling up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Most sessions are gone sooner: a status that says so is not worth a write.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// For a look that begins when the time is up: longer than a list may take, and part of the margin after which others may
/// take a claim for lost.
const LAST_LOOK: Duration = Duration::from_secs(6);

type Read = Result<Arc<Snapshot>, NotRead>;

/// Follows what one call left to its conclusions; one look serves all of it.
pub async fn verify(context: Arc<Context>, key: Arc<TenantKey>, mut open: Vec<Made>) {
    let (started, mut pause, mut is_shown) = (Instant::now(), SHORTEST_PAUSE, false);
    loop {
        // All of one call are of one tenant and one connection.
        let Some(first) = open.first() else { return };
        let spec = &first.request.object.spec;
        let namespace = first.request.object.namespace().unwrap_or_default();
        let (connection, tenant) = ((namespace.as_str(), spec.connection_ref.name.as_str()), tenant(spec));
        let ids: Vec<i64> =
            open.iter().flat_map(|made| &made.call.sessions).map(|session| session.session_id).collect();
        let reading = context.process_lists.observe_by_name(connection, &tenant, &ids, Lane::Kills);
        // Whatever the list waits for, the first whose time is up must be told: later on others may take its claim for lost.
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

/// The time left until the first of `open` is told, whatever is known of it then.
fn time_left(open: &[Made], now: Timestamp) -> Duration {
    open.iter().map(|made| made.left(now)).min().unwrap_or_default()
}

impl Made {
    /// After a look at the list, and whether nothing more is to be learned.
    fn looked(mut self, read: &Read, now: Timestamp) -> (Self, bool) {
        let policy = self.request.object.spec.verification.policy;
        let read = match read {
            Ok(snapshot) => domain::Read::List(snapshot),
            Err(NotRead::Yet) => domain::Read::NotYet,
            Err(NotRead::Refused) => domain::Read::Refused,
        };
        let looked = domain::follow(&self.call.sessions, read, policy, self.call.until, now);
        self.call.sessions = looked.sessions;
        (self, !looked.is_open)
    }

    /// The time left for its verification.
    fn left(&self, now: Timestamp) -> Duration {
        Duration::try_from(self.call.until.duration_since(now)).unwrap_or_default()
    }

    /// Shows what the call came to so far, for people, and for another operator should this one go away. False if that
    /// is to be tried again.
    async fn show(&self) -> bool {
        let object = &self.request.object;
        let status = verifying(object, &self.call, Timestamp::now());
        let (context, key) = (&self.request.context, &self.request.key);
        match report_called(context, key, &self.request.target(), &status).await {
            Ok(()) => true,
            // Gone or re-created: the receipt gets the outcome.
            Err(error) if error.is_not_found() || error.is_invalid() => true,
            Err(error) => {
                tracing::warn!(%error, name = object.name_any(), "verification not shown yet");
                false
            }
        }
    }
}
