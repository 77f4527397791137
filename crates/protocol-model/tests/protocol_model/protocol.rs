//! The shipped protocol, and the rules that can be left out to check that a property fails without them.
//!
//! Each decision is the crate's own function. Leaving out a rule means a wrapper around such a function, or another
//! order of the calls in `operator`. The shipped code has no hooks for it.

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::{Outcome, SessionKill, SessionKillReceipt};
use sessionkill_backends::alibaba::error_codes::from_body;
use sessionkill_backends::alibaba::{ErrorKind, TimeSource};
use sessionkill_core::clock::Now;
use sessionkill_core::kill::claim::{Attempt, Judge, Standing, receipt};
use sessionkill_core::kill::conclusion::Conclusion;
use sessionkill_core::kill::plan::{Step, plan};
use sessionkill_core::kill::retention::receipt_expired;
use sessionkill_core::kill::unsent::unsent;
use sessionkill_core::kill::verification::followed_until;

use super::live_claims::{holder, is_at_work};
use super::time::{MISSED_WITHIN, RETENTION, SKEW, seconds};
use super::world::World;

/// One rule of the protocol.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A call needs a stored claim.
    ClaimBeforeCall,
    /// The name of a receipt depends only on the content of the request, not on the object.
    NameByContent,
    /// A claim has a dispatch deadline, which is never after `notAfterTime`.
    DispatchDeadline,
    /// The operator checks the clock right before it sends the call.
    ClockCheck,
    /// The call is signed so that the gateway refuses it after the dispatch deadline.
    Fence,
    /// A call that may have been executed is not sent again.
    NeverResend,
    /// The claim of a call that may have been executed is not released.
    ReleaseOnlyUnexecuted,
    /// The claim of a call that the gateway rejected is kept. Otherwise another operator with an older watch cache
    /// could send the call again.
    KeepRejected,
    /// If the gateway rejects a call for several requests, each half of them is sent again.
    NarrowDown,
    /// A call is split only if it was provably not executed.
    SplitOnlyUnexecuted,
    /// Each half is claimed again, and so gets a new nonce.
    ClaimHalvesAgain,
    /// The clock check and the fence apply to halves too.
    HalvesInTime,
    /// A claim that already exists may be the attempt's own, if the answer to its creation was lost. Without this rule
    /// it is treated as another's, given up and made again.
    OursAfterConflict,
    /// An attempt withdraws only its own claim.
    WithdrawOnlyOurs,
    /// Before the settle deadline, only the holder may go on with a claim.
    SettleDeadline,
    /// A session counts as failed only when no call can reach it any more.
    FollowUnanswered,
    /// A request that was created too late ends with the outcome in the receipt of its content, if there is one.
    ReceiptBeforeExpiry,
    /// A request without a receipt that was created shortly too late ends as missed.
    MissedIsNoSuccess,
    /// A request expires only when even a slow clock shows that its time is over.
    ExpiryMargin,
    /// A clock is compared with the API server's, and not used if they differ by more than the bound of 5 s.
    ServerClock,
    /// A receipt is kept until long after `notAfterTime`.
    Retention,
    /// A receipt is kept until its outcome is recorded and its request has ended.
    ReceiptUntilSettled,
    /// The API server refuses to change the outcome of a finished request.
    OutcomeWriteOnce,
    /// A claim is released even if a user has edited its receipt.
    ReleaseWhatWasEdited,
    /// The operator remembers a claim that it could not release. When it finds the claim, it deletes it.
    RememberGivenUp,
    /// The same for a claim that was tried more than once, as a try without an answer may still be stored.
    GiveUpAllTries,
    /// A running process keeps only its claims that are at work. Its other claims are resolved like those of a holder
    /// that is gone.
    OnlyThoseAtWork,
    /// A request ends with the outcome of a claim even if the API server refuses the claim's record.
    EndWithoutRecord,
    /// An outcome is recorded even if the status of its request cannot be written.
    RecordWhatIsNotTold,
    /// After a call that was executed in part, a request keeps its claim if a kill was sent for one of its sessions.
    KeepSent,
    /// A kill without a certain answer counts as sent.
    AmbiguousIsSent,
    /// A session is not told as not sent if its kill has no certain answer.
    AmbiguousIsUnknown,
    /// That a selector matched nothing, or too much, is told only under a claim.
    ClaimWhatIsNotSent,
    /// What a selector matched is no part of the name of its receipt.
    NameBySelector,
}

/// The protocol with all rules except those left out.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Protocol {
    left_out: &'static [Rule],
}

impl Protocol {
    /// The protocol as shipped.
    pub(crate) const SHIPPED: Self = Self { left_out: &[] };

    pub(crate) const fn without(left_out: &'static [Rule]) -> Self {
        Self { left_out }
    }

    pub(crate) fn has(self, rule: Rule) -> bool {
        !self.left_out.contains(&rule)
    }

    /// The time, as `operator` knows it.
    pub(crate) fn now(self, world: &World, operator: usize) -> Now {
        if self.has(Rule::ServerClock) { world.known_time(operator) } else { world.time(operator).into() }
    }

    pub(crate) fn plan(self, object: &SessionKill, now: Now) -> Step {
        match plan(object, now) {
            Step::Wait { reason: None, .. }
                if !self.has(Rule::ExpiryMargin) && now.own() >= object.spec.not_after_time.0 =>
            {
                Step::End(Outcome::DeadlineExceeded)
            }
            step => step,
        }
    }

    /// The conclusion for `object` if its content has no receipt.
    pub(crate) fn unsent(self, object: &SessionKill, outcome: Outcome) -> Conclusion {
        unsent(object, outcome, if self.has(Rule::MissedIsNoSuccess) { MISSED_WITHIN } else { SignedDuration::ZERO })
    }

    /// The receipt that claims `object`. Its UID is the attempt ID, as each claim is stored at most once.
    pub(crate) fn receipt(self, object: &SessionKill, attempt: &Attempt) -> SessionKillReceipt {
        let mut receipt = receipt(object, attempt);
        receipt.metadata.uid = Some(attempt.attempt_id.clone());
        if !self.has(Rule::DispatchDeadline) {
            // Only 10 minutes later, as the gateway also refuses a time stamp that is far ahead of its clock.
            receipt.spec.dispatch_deadline_time.0 += SignedDuration::from_mins(10);
        }
        if !self.has(Rule::NameBySelector) {
            let matched = receipt.spec.sessions.iter().map(|session| session.session_id.to_string());
            receipt.metadata.name = receipt.metadata.name.map(|name| name + &matched.collect::<String>());
        }
        if !self.has(Rule::NameByContent) {
            receipt.metadata.name = receipt.metadata.name.map(|name| name + &receipt.spec.session_kill_ref.uid);
        }
        receipt
    }

    /// `LiveClaims::is_at_work`.
    pub(crate) fn is_at_work(self, world: &World, operator: usize, receipt: &SessionKillReceipt) -> bool {
        if self.has(Rule::OnlyThoseAtWork) {
            return is_at_work(world, operator, receipt);
        }
        receipt.spec.holder_identity == holder(world, operator)
    }

    pub(crate) fn standing(self, judge: Judge<'_>, receipt: &SessionKillReceipt, now: Timestamp) -> Standing {
        let attempt_id = judge.attempt_id.filter(|_| self.has(Rule::OursAfterConflict));
        match (Judge { attempt_id, ..judge }).standing(receipt, now) {
            Standing::InFlight { .. } if !self.has(Rule::SettleDeadline) => Standing::Orphaned,
            standing => standing,
        }
    }

    /// The signed time stamp of a call, in seconds from the start.
    pub(crate) fn stamp(self, attempt_id: &str, deadline: Timestamp, now: Timestamp) -> i64 {
        let current = TimeSource::CurrentTime { gateway_lead: SignedDuration::ZERO };
        let source = if self.has(Rule::Fence) { TimeSource::DispatchDeadline } else { current };
        let stamp: Timestamp = source.stamp(attempt_id, 0, deadline, now).time.parse().unwrap();
        seconds(stamp)
    }

    pub(crate) fn followed_until(
        self,
        object: &SessionKill,
        receipt: &SessionKillReceipt,
        is_answered: bool,
        now: Timestamp,
    ) -> Timestamp {
        let is_answered = is_answered || !self.has(Rule::FollowUnanswered);
        followed_until(receipt, &object.spec.verification, is_answered, now)
    }

    pub(crate) fn receipt_expired(self, receipt: &SessionKillReceipt, now: Timestamp) -> bool {
        !self.has(Rule::Retention) && receipt.status.is_some() || receipt_expired(receipt, RETENTION, now)
    }
}

/// The kind of error for an error code of the gateway.
pub(crate) fn kind_of(code: &str) -> ErrorKind {
    from_body(code, "", "R", None, None).kind
}

/// Whether the model's bound for clock differences is that of the shipped code.
pub(crate) fn is_bound_as_shipped() -> bool {
    sessionkill_core::clock::CLOCK_SKEW == SignedDuration::from_secs(SKEW)
}
