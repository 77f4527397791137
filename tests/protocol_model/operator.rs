//! An operator: a process with its requests in work. Where each stands, and how its turn begins.

use std::hash::Hash;

use sessionkill::api::{
    Operation, Outcome, SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionKillStatus, SessionReason,
    SessionStatus, SqlTextPolicy, WaitReason,
};
use sessionkill::domain::kill::backoff::next_attempt;
use sessionkill::domain::kill::claim::Attempt;
use sessionkill::domain::kill::conclusion::Conclusion;
use sessionkill::domain::kill::orphan::without_receipt;
use sessionkill::domain::kill::plan::{Intent, Step};
use sessionkill::domain::kill::precheck::{MustSee, precheck};
use sessionkill::domain::kill::status::{Waiting, differs, finished, waiting};
use sessionkill::oceanbase::ErrorKind;

use super::claiming::find;
use super::live_claims::holder;
use super::protocol::{Protocol, Rule};
use super::stored::{Stored, made_once};
use super::time::{DISPATCH_WINDOW, REQUEST_TIMEOUT, at};
use super::world::{Call, World};

/// A process. After a crash only the number of its life is left.
#[derive(Clone, Debug, Default, Hash, PartialEq)]
pub(crate) struct Operator {
    pub(crate) life: u8,
    /// The attempts of this life.
    pub(crate) attempts: u8,
    pub(crate) tasks: Vec<Task>,
    /// Of `LiveClaims`: the attempts whose claims were given up, so that nothing was or will be sent under them.
    pub(crate) given_up: Vec<String>,
    /// Of `Claim`: those whose claims were tried more than once.
    pub(crate) tried_again: Vec<String>,
    /// Of `Item::sharing`: the requests whose shared call was refused, so that each goes alone.
    pub(crate) narrowed: Vec<usize>,
}

/// Requests that go together.
#[derive(Clone, Debug, Hash, PartialEq)]
pub(crate) struct Task {
    pub(crate) members: Vec<Member>,
    /// Beside the queue of its tenant: it makes no attempt.
    pub(crate) is_aside: bool,
}

impl Task {
    /// Whether the answer to `call` is for it.
    pub(crate) fn waits_for(&self, call: &Call) -> bool {
        let is_for = |member: &Member| matches!(&member.stage, Stage::Calling { nonce, .. } if *nonce == call.nonce);
        self.members.iter().any(is_for)
    }
}

/// One request in work.
#[derive(Clone, Debug, Hash, PartialEq)]
pub(crate) struct Member {
    pub(crate) request: usize,
    /// As the watch cache showed it when its turn came.
    pub(crate) object: Stored<SessionKill>,
    pub(crate) stage: Stage,
}

/// What a request in work does next.
#[derive(Clone, Debug, Hash, PartialEq)]
pub(crate) enum Stage {
    /// Reads the process list, then makes its claim.
    Observing,
    /// Creates its receipt.
    Posting { wanted: Stored<SessionKillReceipt>, is_unanswered: bool },
    /// Has its claim, and waits for the others of its call. `is_found` says that the answer to its claim had been lost.
    Claimed { receipt: Stored<SessionKillReceipt>, request: u8, is_found: bool },
    /// Looked at the clock for the last time.
    Sending { receipt: Stored<SessionKillReceipt>, nonce: (String, u8), stamp: i64 },
    /// Waits for the answer.
    Calling { receipt: Stored<SessionKillReceipt>, nonce: (String, u8) },
    /// Its call was not executed: releases its claim.
    Refused { receipt: Stored<SessionKillReceipt>, kind: Refusal },
    /// Its call was made: follows what becomes of it until a moment.
    Made { receipt: Stored<SessionKillReceipt>, sessions: Stored<Vec<SessionStatus>>, until: usize, is_shown: bool },
    /// Everything was learned that can be.
    Told { receipt: Stored<SessionKillReceipt>, sessions: Stored<Vec<SessionStatus>> },
    /// Records the outcome in its receipt.
    Recording { receipt: Stored<SessionKillReceipt>, record: Stored<SessionKillReceiptStatus> },
    /// Finds out what became of an orphaned claim for the same content.
    Resolving { receipt: Stored<SessionKillReceipt> },
    /// Records that.
    Resolved { receipt: Stored<SessionKillReceipt>, record: Stored<SessionKillReceiptStatus> },
    /// Ends its request.
    Ending { status: Stored<SessionKillStatus> },
    /// Says why it waits.
    Reporting { status: Stored<SessionKillStatus> },
    /// Is given back to the queue.
    Done,
}

impl Stage {
    /// Whether nothing is left to do, or only what is lost if its request `is_deleted`.
    pub(crate) fn is_over(&self, is_deleted: bool) -> bool {
        let is_lost = is_deleted && matches!(self, Self::Ending { .. } | Self::Reporting { .. });
        is_lost || *self == Self::Done
    }

    /// Whether it is off the queue of its tenant, which works on one task at a time.
    pub(crate) fn is_off_queue(&self) -> bool {
        matches!(self, Self::Made { .. } | Self::Told { .. } | Self::Recording { .. })
    }

    /// The claim that it has at work.
    pub(crate) fn own_claim(&self) -> Option<&SessionKillReceipt> {
        match self {
            Self::Posting { wanted: receipt, .. }
            | Self::Claimed { receipt, .. }
            | Self::Sending { receipt, .. }
            | Self::Calling { receipt, .. }
            | Self::Refused { receipt, .. }
            | Self::Made { receipt, .. }
            | Self::Told { receipt, .. }
            | Self::Recording { receipt, .. } => Some(receipt),
            Self::Observing
            | Self::Resolving { .. }
            | Self::Resolved { .. }
            | Self::Ending { .. }
            | Self::Reporting { .. }
            | Self::Done => None,
        }
    }

    /// Whether it may yet come to a claim, for which the others of its task wait.
    pub(crate) fn is_before_call(&self) -> bool {
        matches!(self, Self::Posting { .. } | Self::Resolving { .. } | Self::Resolved { .. })
    }
}

/// Why a call was not executed, as far as it matters.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Refusal {
    Throttled,
    Rejected,
    /// Rejected with others.
    Together,
    TimeStamp,
    Deadline,
}

impl Refusal {
    pub(crate) fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Throttled { .. } => Self::Throttled,
            ErrorKind::Rejected => Self::Rejected,
            ErrorKind::ClockRefused { .. } => Self::TimeStamp,
            ErrorKind::DeadlinePassed => Self::Deadline,
            other => panic!("the gateway of the model does not answer {other:?}"),
        }
    }
}

impl Member {
    /// `Request::end`, as `conclude` says. Of the times in it nobody decides, so one status stands for all of one `cause`, and
    /// all have the same: states that differ in these alone are one.
    pub(crate) fn ends(&self, cause: &impl Hash, conclude: impl FnOnce() -> Conclusion) -> Stage {
        let end = || finished(&self.object, &conclude(), at(0));
        Stage::Ending { status: made_once(&(&self.object, cause), end) }
    }

    /// `Request::wait`.
    pub(crate) fn waits(&self, reason: WaitReason, world: &World, operator: usize) -> Stage {
        let now = world.time(operator);
        // The shortest pause, whenever it was first worked on: a longer one is a turn that is not taken, and states that differ
        // in that time alone stay one.
        let uid = self.object.metadata.uid.as_deref().unwrap_or_default();
        let next_attempt = Some(next_attempt(now, now, None, uid, self.object.spec.not_after_time.0));
        let status = waiting(&self.object, &Waiting { reason, message: String::new(), next_attempt }, now);
        // Texts are no part of a state.
        let old = self.object.status.clone().map(|mut old| {
            old.conditions.iter_mut().for_each(|condition| condition.message.clear());
            old
        });
        if differs(old.as_ref(), &status) { Stage::Reporting { status: Stored::new(status) } } else { Stage::Done }
    }
}

/// `group::work_on`: the turn of `picks`, each a request and a version of it that the watch cache shows. None if there is
/// nothing to do.
///
/// One that has expired looks for its receipt at once, and so does one whose session is gone, below: neither changes with
/// time, so that a pause before the look is a later turn.
pub(crate) fn take(protocol: Protocol, world: &mut World, operator: usize, picks: &[(usize, usize)]) -> Option<()> {
    let now = protocol.now(world, operator);
    let (mut attempts, mut others) = (vec![], vec![]);
    for (request, version) in picks {
        let object = world.requests[*request].versions[*version].clone();
        let mut member = Member { request: *request, object, stage: Stage::Observing };
        match protocol.plan(&member.object, now) {
            Step::Rest | Step::Wait { .. } => continue,
            Step::Attempt(Intent::Kill(_)) => {
                world.attempts = world.attempts.checked_sub(1)?;
                attempts.push(member);
                continue;
            }
            Step::Attempt(Intent::DryRun) => panic!("no request of the model is a DryRun"),
            // What is written of a request that was deleted is lost.
            Step::Follow | Step::End(_) if world.requests[*request].object.is_none() => continue,
            // `Request::follow`.
            Step::Follow => {
                let end = || without_receipt(&member.object, None, now.own()).unwrap();
                member.stage = find(protocol, world, operator, &member, ("without receipt", end));
            }
            // `Request::end_unsent`.
            Step::End(outcome) => {
                let end = || protocol.unsent(&member.object, outcome);
                let looks = outcome != Outcome::ExpiredOnArrival || protocol.has(Rule::ReceiptBeforeExpiry);
                member.stage = if looks {
                    find(protocol, world, operator, &member, (outcome.as_str(), end))
                } else {
                    member.ends(&outcome.as_str(), end)
                };
            }
        }
        others.push(member);
    }
    others.retain(|member| member.stage != Stage::Done);
    if attempts.is_empty() && others.is_empty() {
        return None;
    }
    let tasks = &mut world.operators[operator].tasks;
    tasks.extend(others.into_iter().map(|member| Task { members: vec![member], is_aside: true }));
    tasks.extend((!attempts.is_empty()).then_some(Task { members: attempts, is_aside: false }));
    Some(())
}

/// `group::observe` and `Request::attempt` up to the claim: one read of the list for all, then how each session stands.
/// `is_read` is false if the list cannot be read.
pub(crate) fn observe(
    protocol: Protocol,
    world: &mut World,
    operator: usize,
    task: &mut Task,
    is_read: bool,
) -> Option<()> {
    let snapshot = is_read.then(|| world.list(operator));
    for member in &mut task.members {
        if member.stage != Stage::Observing {
            continue;
        }
        let sessions = &member.object.spec.sessions;
        let planned = precheck(sessions, snapshot.as_ref(), MustSee::Expected, SqlTextPolicy::None).ok()?;
        member.stage = if planned.iter().any(|session| session.reason == SessionReason::Waiting) {
            let wanted = wanted(protocol, world, operator, &member.object, planned);
            if protocol.has(Rule::ClaimBeforeCall) {
                Stage::Posting { wanted, is_unanswered: false }
            } else {
                Stage::Claimed { receipt: wanted, request: 0, is_found: false }
            }
        } else {
            find(protocol, world, operator, member, ("nothing left", || Conclusion::nothing_left(planned)))
        };
    }
    Some(())
}

/// The beginning of `claim::claim`.
fn wanted(
    protocol: Protocol,
    world: &mut World,
    operator: usize,
    object: &SessionKill,
    planned: Vec<SessionStatus>,
) -> Stored<SessionKillReceipt> {
    let holder_identity = holder(world, operator);
    let attempts = &mut world.operators[operator].attempts;
    *attempts += 1;
    let attempt = Attempt {
        attempt_id: format!("{holder_identity}-{attempts}"),
        holder_identity,
        claim_time: world.time(operator),
        dispatch_window: DISPATCH_WINDOW,
        request_timeout: REQUEST_TIMEOUT,
        operation: Operation::KillProcessList,
        planned,
    };
    Stored::new(protocol.receipt(object, &attempt))
}
