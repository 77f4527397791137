//! Sweeps ended requests: removes those with an expired TTL, and observes edits after the end. Does I/O.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::Api;

use crate::api::SessionKill;
use crate::domain::kill::retention::{observed_again, record_of, ttl_due, ttl_ignored};
use crate::domain::names::is_object_name;
use crate::kill::context::Context;
use crate::kill::settle::write_record;
use crate::kubernetes::calls::{ApiError, found};
use crate::kubernetes::pages::walk;
use crate::kubernetes::removal::{Sighting, ignore_change};
use crate::kubernetes::status_patch::{Target, write_status};
use crate::kubernetes::watch::stored_request::Guarded;
use crate::queue::chores::Chores;

/// Selects only ended requests.
const FINISHED: &str = "status.completionTime!=";

/// Sweeps the requests in `all`. Returns the cost of the lists, and when the next request falls due.
pub async fn sweep_requests(
    context: &Arc<Context>,
    all: &Api<Guarded>,
    chores: &Chores<String>,
) -> (Duration, Option<Timestamp>) {
    let mut look = Look { context, chores, now: context.clock.now().earliest(), soonest: None };
    let see = |guarded: Guarded| {
        if let Ok(request) = guarded.0 {
            look.see(&request);
        }
    };
    let cost = walk(all, "list finished SessionKills", Some(FINISHED), see).await;
    (cost, look.soonest)
}

/// One pass over all of them.
struct Look<'a> {
    context: &'a Arc<Context>,
    chores: &'a Chores<String>,
    now: Timestamp,
    soonest: Option<Timestamp>,
}

impl Look<'_> {
    fn see(&mut self, request: &SessionKill) {
        match ttl_due(request) {
            Some(due) if due <= self.now => return self.have_removed(Removal::of(request)),
            Some(due) => self.come_again(due),
            None => {}
        }
        if observed_again(request).is_some() {
            self.have_observed(Sighting::of(request));
        }
    }

    fn come_again(&mut self, due: Timestamp) {
        self.soonest = Some(self.soonest.map_or(due, |soonest| soonest.min(due)));
    }

    fn have_removed(&mut self, removal: Removal) {
        let (context, namespace) = (self.context.clone(), removal.request.namespace.clone());
        let key = removal.request.uid.clone();
        if !self.chores.add(&namespace, key, move || async move { removal.execute(&context).await }) {
            // Too many chores wait: sweep again as soon as possible.
            self.come_again(self.now);
        }
    }

    fn have_observed(&self, edited: Sighting) {
        let (context, namespace, key) = (self.context.clone(), edited.namespace.clone(), edited.uid.clone());
        self.chores.add(&namespace, key, move || async move {
            let observed = observe(&context, &edited).await;
            edited.report(observed);
        });
    }
}

/// Raises the status of a request that was edited after its end to its generation.
async fn observe(context: &Context, edited: &Sighting) -> Result<(), ApiError> {
    if !context.leadership.leads() {
        return Ok(());
    }
    // Read it again: the waiting chore does not keep the object, which may be large.
    let Some(request) = read(context, edited).await? else { return Ok(()) };
    let Some(status) = observed_again(&request) else { return Ok(()) };
    let target = Target::of(request.as_ref());
    let written = write_status::<SessionKill>(&context.client, &target, "update SessionKill", &status).await;
    // The edit may have set a TTL.
    if let (Ok(()), Some(why)) = (&written, ttl_ignored(&request)) {
        context.events.ttl_ignored(&request, &why);
    }
    ignore_change(written)
}

/// The request of `sighting`, if it still exists and is readable.
async fn read(context: &Context, sighting: &Sighting) -> Result<Option<Arc<SessionKill>>, ApiError> {
    let requests: Api<Guarded> = Api::namespaced(context.client.clone(), &sighting.namespace);
    let found = found("read SessionKill", requests.get(&sighting.name)).await?;
    let request = found.and_then(|guarded| guarded.0.ok());
    Ok(request.filter(|request| request.metadata.uid.as_ref() == Some(&sighting.uid)))
}

/// The removal of a request with an expired TTL.
struct Removal {
    request: Sighting,
    /// The receipt of its call, if any.
    receipt_name: Option<String>,
}

impl Removal {
    fn of(request: &SessionKill) -> Self {
        let dispatch = request.status.as_ref().and_then(|status| status.dispatch.as_ref());
        Self { request: Sighting::of(request), receipt_name: dispatch.map(|dispatch| dispatch.receipt_name.clone()) }
    }

    async fn execute(self, context: &Context) {
        self.request.report(self.try_to(context).await);
    }

    /// Removes the request once its outcome is recorded. It reads the record each time, although this process usually
    /// wrote it: a restore may have undone it, and removing the request would then lose the outcome.
    async fn try_to(&self, context: &Context) -> Result<(), ApiError> {
        if context.leadership.leads() && self.is_recorded(context).await? {
            return self.request.remove::<SessionKill>(&context.client).await;
        }
        Ok(())
    }

    /// Whether the receipt has the outcome. If not, it writes the outcome, for the next sweep to see.
    async fn is_recorded(&self, context: &Context) -> Result<bool, ApiError> {
        let Some(name) = self.receipt_name.as_ref().filter(|name| is_object_name(name)) else { return Ok(true) };
        let receipts = context.receipts(&self.request.namespace);
        let found = found("read SessionKillReceipt", receipts.get(name)).await?;
        let Some(receipt) = found.filter(|receipt| receipt.status.is_none()) else { return Ok(true) };
        let request = read(context, &self.request).await?;
        if let Some(record) = request.and_then(|request| record_of(&request, &receipt)) {
            ignore_change(write_record(context, &Target::of(&receipt), &record).await)?;
        }
        Ok(false)
    }
}
