//! An operator: a process and the requests that it works on, each at its stage.

use std::hash::Hash;

use sessionkill_api::{
    Operation, Outcome, SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionKillStatus, SessionReason,
    SessionStatus, SqlTextPolicy, WaitReason,
};
use sessionkill_backends::alibaba::ErrorKind;
use sessionkill_core::kill::backoff::next_attempt;
use sessionkill_core::kill::claim::Attempt;
use sessionkill_core::kill::conclusion::Conclusion;
use sessionkill_core::kill::orphan::without_receipt;
use sessionkill_core::kill::plan::{Intent, Step};
use sessionkill_core::kill::precheck::{MustSee, precheck};
use sessionkill_core::kill::status::{Waiting, differs, finished, waiting};

use super::claiming::find;
use super::in_order::InOrder;
use super::live_claims::holder;
use super::protocol::{Protocol, Rule};
use super::stored::{Stored, made_once};
use super::time::{DISPATCH_WINDOW, REQUEST_TIMEOUT, at};
use super::world::{Call, World};

/// A process. After a crash it keeps only the number of its life.
#[derive(Clone, Debug, Default, Hash, PartialEq)]
pub(crate) struct Operator {
    pub(crate) life: u8,
    /// The number of attempts in this life.
    pub(crate) attempts: u8,
    pub(crate) tasks: Vec<Task>,
    /// The attempts whose claims were given up, as in `LiveClaims`: nothing was or will be sent under them.
    pub(crate) given_up: Vec<String>,
    /// The attempts whose claims were tried more than once, as in `Claim`.
    pub(crate) tried_again: Vec<String>,
    /// The requests whose shared call was refused, as in `Item::sharing`. Each has its own call from now on.
    pub(crate) narrowed: Vec<usize>,
}

/// Requests that share a call.
#[derive(Clone, Debug, Hash, PartialEq)]
pub(crate) struct Task {
    pub(crate) members: Vec<Member>,
    /// Whether it runs beside the tenant's queue. Such a task makes no attempt.
    pub(crate) is_aside: bool,
    /// Its call by SQL, while that is under way.
    pub(crate) in_order: Option<InOrder>,
}

impl Task {
    /// Whether the answer to `call` is for this task.
    pub(crate) fn waits_for(&self, call: &Call) -> bool {
        let is_for = |member: &Member| matches!(&member.stage, Stage::Calling { nonce, .. } if *nonce == call.nonce);
        self.members.iter().any(is_for)
    }
}

/// One request that is being worked on.
#[derive(Clone, Debug, Hash, PartialEq)]
pub(crate) struct Member {
    pub(crate) request: usize,
    /// The object in the watch cache when the request was taken from the queue.
    pub(crate) object: Stored<SessionKill>,
    pub(crate) stage: Stage,
}

/// What a request does next.
#[derive(Clone, Debug, Hash, PartialEq)]
pub(crate) enum Stage {
    /// Reads the process list, then makes its claim.
    Observing,
    /// Creates its receipt.
    Posting { wanted: Stored<SessionKillReceipt>, is_unanswered: bool },
    /// Has its claim, and waits for the other members of its call. `is_found` means that the answer to the claim was
    /// lost and the claim was read later.
    Claimed { receipt: Stored<SessionKillReceipt>, request: u8, is_found: bool },
    /// Has checked the clock for the last time, and sends the call.
    Sending { receipt: Stored<SessionKillReceipt>, nonce: (String, u8), stamp: i64 },
    /// Waits for the answer.
    Calling { receipt: Stored<SessionKillReceipt>, nonce: (String, u8) },
    /// Its call was not executed. It releases its claim.
    Refused { receipt: Stored<SessionKillReceipt>, kind: Refusal },
    /// Its call was made. It follows the sessions until a moment.
    Made { receipt: Stored<SessionKillReceipt>, sessions: Stored<Vec<SessionStatus>>, until: usize, is_shown: bool },
    /// Nothing more can be learned. It writes the outcome.
    Told { receipt: Stored<SessionKillReceipt>, sessions: Stored<Vec<SessionStatus>> },
    /// Records the outcome in its receipt.
    Recording { receipt: Stored<SessionKillReceipt>, record: Stored<SessionKillReceiptStatus> },
    /// Resolves an orphaned claim for the same content.
    Resolving { receipt: Stored<SessionKillReceipt> },
    /// Records the result.
    Resolved { receipt: Stored<SessionKillReceipt>, record: Stored<SessionKillReceiptStatus> },
    /// Ends its request.
    Ending { status: Stored<SessionKillStatus> },
    /// Writes why the request waits.
    Reporting { status: Stored<SessionKillStatus> },
    /// Returns to the queue.
    Done,
}

impl Stage {
    /// Whether nothing is left to do. If the request `is_deleted`, writes of its status are not needed either.
    pub(crate) fn is_over(&self, is_deleted: bool) -> bool {
        let is_lost = is_deleted && matches!(self, Self::Ending { .. } | Self::Reporting { .. });
        is_lost || *self == Self::Done
    }

    /// Whether it has left the queue of its tenant, which works on one task at a time.
    pub(crate) fn is_off_queue(&self) -> bool {
        matches!(self, Self::Made { .. } | Self::Told { .. } | Self::Recording { .. })
    }

    /// The claim that it works under.
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

    /// Whether it may still get a claim. The other members of its task wait for it.
    pub(crate) fn is_before_call(&self) -> bool {
        matches!(self, Self::Posting { .. } | Self::Resolving { .. } | Self::Resolved { .. })
    }
}

/// The reasons why a call was not executed that the model distinguishes.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Refusal {
    Throttled,
    Rejected,
    /// Rejected in a shared call.
    Together,
    TimeStamp,
    Deadline,
    /// There is no connection to the server.
    Unreachable,
    /// Nothing was sent for it in a call that was executed in part.
    Unsent,
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
    /// `Request::end` with this conclusion. No decision depends on the times in a finished status. So all ends of one
    /// `cause` have the same status, and states that differ only in these times are one state.
    pub(crate) fn ends(&self, cause: &impl Hash, conclude: impl FnOnce() -> Conclusion) -> Stage {
        let end = || finished(&self.object, &conclude(), at(0));
        Stage::Ending { status: made_once(&(&self.object, cause), end) }
    }

    /// `Request::wait`.
    pub(crate) fn waits(&self, reason: WaitReason, world: &World, operator: usize) -> Stage {
        let now = world.time(operator);
        // The shortest pause, whenever the first attempt was. A longer pause is the same as a step that is not taken.
        // States that differ only in that time are one state.
        let uid = self.object.metadata.uid.as_deref().unwrap_or_default();
        let next_attempt = Some(next_attempt(now, now, None, uid, self.object.spec.not_after_time.0));
        let status = waiting(&self.object, &Waiting { reason, message: String::new(), next_attempt }, now);
        // Messages are not part of a state.
        let old = self.object.status.clone().map(|mut old| {
            old.conditions.iter_mut().for_each(|condition| condition.message.clear());
            old
        });
        if differs(old.as_ref(), &status) { Stage::Reporting { status: Stored::new(status) } } else { Stage::Done }
    }
}

/// `work::work_on` for `picks`: each is a request and a version of it in the watch cache. `None` if there is nothing to
/// do.
///
/// An expired request looks for its receipt in the same step, and so does a request whose session is gone, below.
/// Neither result changes with time, so a pause before the look is the same as taking this step later.
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
            // A write to a deleted request would be lost.
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
    tasks.extend(others.into_iter().map(|member| Task { members: vec![member], is_aside: true, in_order: None }));
    tasks.extend((!attempts.is_empty()).then_some(Task { members: attempts, is_aside: false, in_order: None }));
    Some(())
}

/// `batch::observe`, and `Request::attempt` up to the claim: one read of the list for all members, then a check of each
/// session. `is_read` is false if the list cannot be read.
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
            let wanted = wanted(protocol, world, operator, &member.object, (planned, None));
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
pub(crate) fn wanted(
    protocol: Protocol,
    world: &mut World,
    operator: usize,
    object: &SessionKill,
    (planned, matched): (Vec<SessionStatus>, Option<i32>),
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
        matched,
    };
    Stored::new(protocol.receipt(object, &attempt))
}
