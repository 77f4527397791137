//! The protocol as it is shipped, and the rules that can be taken from it to see that the properties notice.
//!
//! Each decision is the crate's own function. A rule that is left out is a wrapper around it, or a switch of the order in
//! which `operator` calls them: the shipped code has no hooks.

use jiff::{SignedDuration, Timestamp};
use sessionkill::api::{Outcome, SessionKill, SessionKillReceipt};
use sessionkill::domain::clock::Now;
use sessionkill::domain::kill::claim::{Attempt, Judge, Standing, receipt};
use sessionkill::domain::kill::conclusion::Conclusion;
use sessionkill::domain::kill::plan::{Step, plan};
use sessionkill::domain::kill::retention::receipt_expired;
use sessionkill::domain::kill::unsent::unsent;
use sessionkill::domain::kill::verification::followed_until;
use sessionkill::oceanbase::error_codes::from_body;
use sessionkill::oceanbase::{ErrorKind, TimeSource};

use super::live_claims::{holder, is_at_work};
use super::time::{MISSED_WITHIN, RETENTION, SKEW, seconds};
use super::world::World;

/// One rule of the protocol.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A call is made under a claim that is stored.
    ClaimBeforeCall,
    /// The same content has the same receipt, whatever the object.
    NameByContent,
    /// A claim has a dispatch deadline, never after `notAfterTime`.
    DispatchDeadline,
    /// The clock is looked at right before the call is sent.
    ClockCheck,
    /// The call is signed so that the gateway refuses it after the dispatch deadline.
    Fence,
    /// What may have been executed is not sent again.
    NeverResend,
    /// What may have been executed keeps its claim.
    ReleaseOnlyUnexecuted,
    /// What the gateway refused for good keeps its claim: else another operator, behind in what it sees, may send it again.
    KeepRejected,
    /// What the gateway refused of several requests is asked for each half of them.
    NarrowDown,
    /// Only what was provably not executed is split.
    SplitOnlyUnexecuted,
    /// Each half is claimed anew, and so has a nonce of its own.
    ClaimHalvesAgain,
    /// Of a half, too, the clock is looked at, and the gateway fenced.
    HalvesInTime,
    /// A claim that is there already may be our own, its answer lost. Taken for another's, it is given up and made again.
    OursAfterConflict,
    /// Only the attempt's own claim is withdrawn.
    WithdrawOnlyOurs,
    /// Nobody but the holder moves a claim on before its settle deadline.
    SettleDeadline,
    /// A session is failed only when no call can reach it any more.
    FollowUnanswered,
    /// A request that was created too late ends by the receipt of its content, if there is one.
    ReceiptBeforeExpiry,
    /// One without a receipt that came too late by little was missed.
    MissedIsNoSuccess,
    /// Nothing is called expired before clocks that are behind agree.
    ExpiryMargin,
    /// A clock is held against the API server's, and not believed if it is further from it than clocks may be.
    ServerClock,
    /// A receipt is kept until long after `notAfterTime`.
    Retention,
    /// A receipt is kept until its outcome is recorded and its request has ended.
    ReceiptUntilSettled,
    /// The API server refuses to change the outcome of a finished request.
    OutcomeWriteOnce,
    /// A claim that a user has edited is no less released.
    ReleaseWhatWasEdited,
    /// A claim that could not be released is kept in mind, and deleted by whoever finds it.
    RememberGivenUp,
    /// So is one that was tried more than once: what was not answered may be stored yet.
    GiveUpAllTries,
    /// Of the claims of a process that lives only those at work are left to it.
    OnlyThoseAtWork,
    /// A request ends by a claim whose record the API server does not take.
    EndWithoutRecord,
    /// An outcome is recorded even if its request cannot be told.
    RecordWhatIsNotTold,
}

/// All rules but some.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Protocol {
    left_out: &'static [Rule],
}

impl Protocol {
    /// As shipped.
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

    /// The end of `object`, of whose content no receipt was found.
    pub(crate) fn unsent(self, object: &SessionKill, outcome: Outcome) -> Conclusion {
        unsent(object, outcome, if self.has(Rule::MissedIsNoSuccess) { MISSED_WITHIN } else { SignedDuration::ZERO })
    }

    /// The receipt that claims `object`; its UID is that of the attempt, as a claim is stored once.
    pub(crate) fn receipt(self, object: &SessionKill, attempt: &Attempt) -> SessionKillReceipt {
        let mut receipt = receipt(object, attempt);
        receipt.metadata.uid = Some(attempt.attempt_id.clone());
        if !self.has(Rule::DispatchDeadline) {
            // Not later: the gateway refuses a time stamp that is far ahead of its clock, too.
            receipt.spec.dispatch_deadline_time.0 += SignedDuration::from_mins(10);
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
        let attempt_id = if self.has(Rule::OursAfterConflict) { judge.attempt_id } else { "" };
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

/// What the client makes of an error Code of the gateway.
pub(crate) fn kind_of(code: &str) -> ErrorKind {
    from_body(code, "", "R", None, None).kind
}

/// The bound of the clocks is the one that the product names.
pub(crate) fn is_bound_as_shipped() -> bool {
    sessionkill::domain::clock::CLOCK_SKEW == SignedDuration::from_secs(SKEW)
}
