//! The steps that one request takes by itself on its way to the call. Does I/O; called by the batch of the request.

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{Mode, Outcome, SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionReason, WaitReason};
use crate::connections::allowed_use::NotAllowed;
use crate::connections::call_permits::Lane;
use crate::connections::route::Route;
use crate::domain::backend::ErrorKind;
use crate::domain::kill::claim::Standing;
use crate::domain::kill::conclusion::Conclusion;
use crate::domain::kill::orphan::without_receipt;
use crate::domain::kill::outcome::sends_nothing;
use crate::domain::kill::plan::{Intent, KillIntent};
use crate::domain::kill::unsent::unsent;
use crate::domain::selection::Wanted;
use crate::kill::claim::{Claim, Claimed, claim, find};
use crate::kill::orphan::resolve;
use crate::kill::planned::{Observed, Planned, Unplanned};
use crate::kill::request::Request;
use crate::kill::settle::{has_ended, record};
use crate::kubernetes::calls::ApiError;
use crate::metrics::labels::ClaimResult;
use crate::queue::item::Next;

/// The result of an attempt's own steps.
pub enum Attempted {
    /// It may send its call, for the sessions of this object: those that it names, or that its selector takes.
    Claimed(Claim, Arc<SessionKill>),
    /// It needs no call.
    Not(Decision),
    /// The holder of the claim for its content is gone. Finding the outcome may need a read of the process list, which
    /// must not delay new kills.
    Orphaned(Box<SessionKillReceipt>),
}

/// What to do with a request that needs no call. It writes to the API server, which may be slow: hold nothing meanwhile
/// that others wait for.
pub enum Decision {
    /// End with this.
    End(Conclusion),
    /// End with what this claim of it says: nothing is sent, as its selector matched nothing, or too much.
    SendNothing(Claim),
    /// End with the outcome recorded in the receipt.
    Copy(Box<SessionKillReceipt>, Box<SessionKillReceiptStatus>),
    /// Wait, and say why.
    Wait(WaitReason, String),
    /// Look again later.
    Again(Next),
}

impl Request {
    /// Step 3: ends a request that has expired or is being deleted. An existing claim for its content decides the
    /// outcome, whoever made it and whenever, as its call may have been sent; only without a claim was nothing sent. A
    /// `DryRun` makes no claim, and a Kill's claim does not answer it.
    pub async fn end_unsent(&self, outcome: Outcome) -> Result<Next, ApiError> {
        if self.object.spec.mode == Mode::Kill
            && let Some((receipt, standing)) = find(&self.context, &self.object).await?
        {
            return self.settled(receipt, standing).await;
        }
        Ok(self.end(&unsent(&self.object, outcome, self.context.config.missed_within())).await)
    }

    /// Finds the outcome of a request for which a call was made, by its claim, however old. Sends nothing.
    pub async fn follow(&self) -> Result<Next, ApiError> {
        if let Some((receipt, standing)) = find(&self.context, &self.object).await? {
            return self.settled(receipt, standing).await;
        }
        let ids = self.followed_ids();
        let seen = self.context.process_lists.observe_by_name(&self.key, &ids, Lane::Housekeeping).await.ok();
        Ok(match without_receipt(&self.object, seen.as_deref(), Timestamp::now()) {
            Some(conclusion) => self.end(&conclusion).await,
            None => Next::Later(Timestamp::now()),
        })
    }

    /// Steps 4 and 5: decides on each session right before the kill, then claims. The request is put off if this
    /// replica no longer leads, if its clock is off, or if the list has become too old, because earlier claims of the
    /// batch took long or the process was frozen.
    pub async fn attempt(&self, intent: Intent, route: &Route, observed: &Observed) -> Result<Attempted, ApiError> {
        let (now, is_skewed) = (Timestamp::now(), self.context.clock.now().skew().is_some());
        let is_old = matches!(observed, Some(Ok(list)) if !list.may_decide(now));
        if is_old || is_skewed || !self.context.leadership.leads() {
            return Ok(Attempted::Not(Decision::Again(Next::Later(now))));
        }
        if let Some(Err(error)) = observed
            && error.kind == ErrorKind::NotAllowed
        {
            // The other side is not what the connection says.
            let message = format!("{}: {}", route.connection(), error.message);
            return self.unless_claimed(&intent, self.not_allowed(message)).await;
        }
        let planned = match self.planned(route, observed) {
            Ok(planned) => planned,
            // Without a list nothing is sent.
            Err(Unplanned::Waits(reason, message)) => {
                return self.unless_claimed(&intent, Decision::Wait(reason, message)).await;
            }
            Err(Unplanned::Unusable(why)) => {
                let message = format!("{why}: nothing was sent; correct it in a new SessionKill");
                let conclusion = Conclusion::uncalled(Outcome::PreconditionFailed, message, vec![]);
                return self.unless_claimed(&intent, Decision::End(conclusion)).await;
            }
        };
        match intent {
            Intent::DryRun => {
                let found = find(&self.context, &self.object).await?;
                let executed = found.map(|(receipt, _)| receipt.spec.session_kill_ref.name);
                let conclusion = Conclusion::dry_run(&planned.sessions, planned.matched, executed.as_deref());
                Ok(Attempted::Not(Decision::End(conclusion)))
            }
            // Every session is gone or is not the one that was meant, perhaps because this very request was executed before.
            Intent::Kill(_) if planned.is_nothing_left() => {
                self.unless_claimed(&intent, Decision::End(Conclusion::nothing_left(planned.sessions))).await
            }
            Intent::Kill(intent) => self.claim(intent, route, planned).await,
        }
    }

    /// What it wants of the process list.
    pub fn wanted(&self) -> Wanted {
        match &self.filter {
            Ok(Some(filter)) => Wanted::by(filter.clone()),
            Ok(None) => Wanted::by_id(self.object.spec.sessions.iter().map(|session| session.session_id)),
            Err(_) => Wanted::default(),
        }
    }

    /// The IDs of the sessions for which a call was made.
    fn followed_ids(&self) -> Vec<i64> {
        let named = self.object.spec.sessions.iter().map(|session| session.session_id);
        let told = self.object.status.iter().flat_map(|status| &status.sessions).map(|session| session.session_id);
        named.chain(told).collect()
    }

    /// The connection does not allow the request.
    fn not_allowed(&self, message: String) -> Decision {
        let (outcome, reason) = (Outcome::NotAllowed, SessionReason::NotAllowed);
        Decision::End(Conclusion::nothing_sent(&self.object, outcome, reason, message))
    }

    /// Step 2: ends a request that its connection does not allow.
    pub async fn end_not_allowed(&self, intent: &Intent, message: String) -> Result<Next, ApiError> {
        let attempted = self.unless_claimed(intent, self.not_allowed(message)).await?;
        self.settle_attempted(attempted).await
    }

    /// Nothing is sent, as `decision` says. But the same content may have been executed before, or be executed now.
    async fn unless_claimed(&self, intent: &Intent, decision: Decision) -> Result<Attempted, ApiError> {
        if let (Intent::Kill(_), Some((receipt, standing))) = (intent, find(&self.context, &self.object).await?) {
            return Ok(self.taken(receipt, standing));
        }
        Ok(Attempted::Not(decision))
    }

    async fn claim(&self, intent: KillIntent, route: &Route, planned: Planned) -> Result<Attempted, ApiError> {
        let context = &self.context;
        if let Err(not_allowed) = context.allowances.ask_again(&route.used, &self.key).await {
            let decision = match not_allowed {
                NotAllowed::Refused(message) => self.not_allowed(message),
                NotAllowed::Waits(reason, message) => Decision::Wait(reason, message),
                NotAllowed::Unanswered(error) => return Err(error),
            };
            return self.unless_claimed(&Intent::Kill(intent), decision).await;
        }
        let Some(sessions) = context.shared_sessions.take(&route.used, &self.key, &planned.sessions) else {
            let message = format!(
                "a call through {} for another namespace names a session of this request: looked at again when that is over",
                route.connection()
            );
            return Ok(Attempted::Not(Decision::Wait(WaitReason::Dispatching, message)));
        };
        let Planned { object, sessions: states, matched } = planned;
        let claimed = claim(context, intent, &object, route, (states, matched, sessions)).await;
        self.context.metrics.claim(match &claimed {
            Ok(Claimed::Granted(_)) => ClaimResult::Granted,
            Ok(Claimed::Taken(..)) => ClaimResult::Taken,
            Err(_) => ClaimResult::Failed,
        });
        Ok(match claimed? {
            Claimed::Granted(claim) if sends_nothing(&claim.receipt().spec) => {
                Attempted::Not(Decision::SendNothing(claim))
            }
            Claimed::Granted(claim) => Attempted::Claimed(claim, object),
            Claimed::Taken(receipt, standing) => self.taken(*receipt, standing),
        })
    }

    /// Handles another claim for the same content, up to the request's next step.
    async fn settled(&self, receipt: SessionKillReceipt, standing: Standing) -> Result<Next, ApiError> {
        self.settle_attempted(self.taken(receipt, standing)).await
    }

    async fn settle_attempted(&self, attempted: Attempted) -> Result<Next, ApiError> {
        match attempted {
            Attempted::Orphaned(receipt) => self.find_out(&receipt).await,
            Attempted::Not(decision) => self.carry_out(decision).await,
            // Unreachable: nothing claims here.
            Attempted::Claimed(..) => Ok(Next::Later(Timestamp::now())),
        }
    }

    /// Decides by another claim for the same content.
    fn taken(&self, receipt: SessionKillReceipt, standing: Standing) -> Attempted {
        Attempted::Not(match standing {
            Standing::Recorded(record) => Decision::Copy(Box::new(receipt), Box::new(record)),
            Standing::Orphaned => return Attempted::Orphaned(Box::new(receipt)),
            // Another operator, or this one before a restart, may be about to end it: a write now would only make the
            // status flicker.
            Standing::InFlight { until, own: true } => {
                Decision::Again(Next::Later(self.context.clock.now().own_time_at(until)))
            }
            Standing::InFlight { own: false, .. } | Standing::Ours => {
                let other = &receipt.spec.session_kill_ref.name;
                let message = format!("SessionKill {other} is executing the same request: its outcome will be copied");
                Decision::Wait(WaitReason::Dispatching, message)
            }
        })
    }

    /// Carries out `decision`.
    pub async fn carry_out(&self, decision: Decision) -> Result<Next, ApiError> {
        match decision {
            Decision::End(conclusion) => Ok(self.end(&conclusion).await),
            Decision::SendNothing(claim) => Ok(self.end_unsendable(&claim).await),
            Decision::Copy(receipt, record) => self.copy(&receipt, &record).await,
            Decision::Wait(reason, message) => Ok(self.wait(reason, message, None).await),
            Decision::Again(next) => Ok(next),
        }
    }

    /// Ends the request under its own claim, by which nothing is sent, and records it.
    async fn end_unsendable(&self, claim: &Claim) -> Next {
        let receipt = claim.receipt();
        let conclusion = Conclusion::unsendable(receipt);
        let (next, _) = self.end_called(&conclusion).await;
        record(&self.context, &self.key, receipt, &conclusion.record(Timestamp::now())).await;
        next
    }

    /// Ends the request with the outcome of `receipt`, whose holder is gone, or waits until that outcome is known.
    pub async fn find_out(&self, receipt: &SessionKillReceipt) -> Result<Next, ApiError> {
        if let Some(record) = resolve(&self.context, receipt, &self.orphans).await? {
            return self.copy(receipt, &record).await;
        }
        let holder = &receipt.spec.holder_identity;
        let message = format!(
            "operator {holder} claimed the call and is gone: nothing is sent again, and the process list is read to see what \
             came of it"
        );
        Ok(self.wait(WaitReason::Verifying, message, None).await)
    }

    /// Ends the request with the outcome recorded in `receipt`.
    async fn copy(&self, receipt: &SessionKillReceipt, record: &SessionKillReceiptStatus) -> Result<Next, ApiError> {
        let same_object = Some(&receipt.spec.session_kill_ref.uid) == self.object.metadata.uid.as_ref();
        // A list may be older than the request's end. Times are stored in seconds, so that within the same second the
        // same end would be stored and announced twice.
        if same_object && has_ended(&self.context, &self.target()).await? {
            return Ok(Next::Ended);
        }
        Ok(self.end(&Conclusion::recorded(receipt, record, same_object)).await)
    }
}
