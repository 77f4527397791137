//! The properties that every state must have, and the situations that some state must reach. Without the situations, an
//! empty model would pass.

use sessionkill_api::{SessionKillReceipt, SessionKillStatus, SessionOutcome, SessionReason, SessionStatus};
use stateright::Property;

use super::live_claims::{holder, is_at_work};
use super::model::Checked;
use super::operator::{Operator, Refusal, Stage};
use super::scenario::Scenario;
use super::settling::settles;
use super::stored::{Stored, lateness};
use super::time::{AT_ONCE, EARLY, FEW_MOMENTS};
use super::world::{Call, Execution, Trouble, World};

pub(crate) const ONCE: &str = "a request is executed once at most, for each of its sessions";
pub(crate) const IN_TIME: &str = "nothing is executed after notAfterTime by the gateway's clock";
pub(crate) const FAILED: &str = "what is called failed was not and will not be executed";
pub(crate) const SKIPPED: &str = "what is called skipped was not and will not be executed";
pub(crate) const KILLED: &str = "what is called killed was executed or is gone";
pub(crate) const GONE: &str = "what is called gone is gone";
pub(crate) const UNTRIED: &str = "what is called expired or missed was never tried, under whatever name";
pub(crate) const NO_SUCCESS: &str = "a kill that came too late by little is no success unless its content was executed";
pub(crate) const FINAL: &str = "the outcome of a finished request never changes";
pub(crate) const OWN_REFUSAL: &str = "a request is refused for good only if it was called for alone";
pub(crate) const NONCES: &str = "no half of a refused call is sent with its nonce";
pub(crate) const FENCED: &str = "the fence is never given up while clocks keep to the bound";
pub(crate) const LET_GO: &str = "a claim that its living holder lets go of is gone, recorded, or known to be given up";
pub(crate) const RELEASED: &str = "a claim is released only if nothing was or will be executed under it";
pub(crate) const NOT_SENT: &str = "what is called not sent was not and will not be executed by its call";
pub(crate) const CHOSEN: &str = "of a selector for one session, one is ended at most, whatever matches when";
pub(crate) const UNCHOSEN: &str = "where it is told that nothing matched, or too much, nothing was or will be executed";
pub(crate) const SETTLES: &str = "every request ends once faults stop, with any one operator left";

/// The properties for all states. If time passes in `model`, also the situations that its run must reach.
pub(crate) fn of(model: &Checked) -> Vec<Property<Checked>> {
    let mut all = rules();
    if model.scenario.chooses() {
        all.extend(choices());
        return all;
    }
    if model.scenario.is_in_order() {
        all.extend(in_part(model));
        return all;
    }
    // Four attempts: two claims for the shared call, and one for each request alone.
    if model.scenario == Scenario::Group && model.faults > 0 && model.attempts >= 4 {
        all.extend(narrowed());
    }
    if model.moments == AT_ONCE {
        return all;
    }
    all.extend(situations());
    if model.faults > 0 {
        all.extend(troubles());
    }
    match model.scenario {
        // In this run, receipts are kept until its end.
        Scenario::Single if model.moments == EARLY => {}
        Scenario::Single => all.push(swept()),
        Scenario::Recreated | Scenario::Twins => all.push(executed_already()),
        Scenario::Group => all.push(shared_call()),
        Scenario::OneInOrder
        | Scenario::TwoInOrder
        | Scenario::SameInOrder
        | Scenario::Chosen
        | Scenario::ChosenTwice => {}
    }
    if model.scenario == Scenario::Single && model.moments != EARLY && model.faults > 0 {
        all.push(untold());
    }
    if model.moments == EARLY && model.faults > 0 {
        all.extend(released());
    }
    if matches!(model.scenario, Scenario::Recreated | Scenario::Twins) && model.faults > 0 {
        all.extend(unstored());
    }
    if model.scenario == Scenario::Recreated && model.moments == FEW_MOMENTS {
        all.extend(late());
    }
    all
}

fn rules() -> Vec<Property<Checked>> {
    vec![
        Property::always(ONCE, |_, world: &World| is_once(world)),
        Property::always(IN_TIME, |_, world: &World| world.executions.iter().all(|execution| !execution.is_late)),
        Property::always(FAILED, |_, world: &World| is_true_of(world, is(SessionOutcome::Failed), was_not_executed)),
        Property::always(SKIPPED, |_, world: &World| is_true_of(world, is(SessionOutcome::Skipped), was_not_executed)),
        Property::always(KILLED, |_, world: &World| {
            is_true_of(world, is(SessionOutcome::Killed), was_executed_or_is_gone)
        }),
        Property::always(GONE, |_, world: &World| is_true_of(world, is(SessionOutcome::Gone), is_gone)),
        Property::always(UNTRIED, |_, world: &World| ends(world).all(|(index, end)| is_untried(world, index, end))),
        Property::always(NO_SUCCESS, |_, world: &World| {
            ends(world).all(|(index, end)| is_no_success(world, index, end))
        }),
        Property::always(FINAL, |_, world: &World| !world.is_overwritten),
        Property::always(OWN_REFUSAL, |_, world: &World| has_own_refusal(world)),
        Property::always(NONCES, |_, world: &World| has_new_nonces(world)),
        Property::always(FENCED, |_, world: &World| !world.is_fence_given_up),
        Property::always(LET_GO, |_, world: &World| is_let_go(world)),
        Property::always(RELEASED, |_, world: &World| is_released_unsent(world)),
        Property::always(NOT_SENT, |_, world: &World| is_true_of(world, is_not_sent, was_not_executed)),
        Property::always(CHOSEN, |model: &Checked, world: &World| {
            !model.scenario.chooses() || world.executions.len() <= 1
        }),
        Property::always(UNCHOSEN, |model: &Checked, world: &World| !model.scenario.chooses() || is_unchosen(world)),
        Property::always(SETTLES, |model, world: &World| world.now != world.last() || settles(model, world)),
    ]
}

fn situations() -> Vec<Property<Checked>> {
    vec![
        Property::sometimes("an orphan is resolved", |_, world: &World| {
            world.receipts.iter().any(|receipt| {
                let record = receipt.status.as_ref();
                record.is_some_and(|record| reasons(&record.sessions).any(|r| r == SessionReason::StillPresent))
            }) && any_stage(world, |stage| matches!(stage, Stage::Resolved { .. }))
        }),
        Property::sometimes("a call is refused by the fence", |_, world: &World| {
            let is_fenced = |stage: &Stage| matches!(stage, Stage::Refused { kind: Refusal::TimeStamp, .. });
            any_stage(world, is_fenced)
        }),
        Property::sometimes("a call is kept back by the clock", |_, world: &World| {
            any_stage(world, |stage| matches!(stage, Stage::Refused { kind: Refusal::Deadline, .. }))
        }),
        Property::sometimes("a call is executed for nobody", |_, world: &World| {
            !world.executions.is_empty() && world.operators.iter().all(|operator| operator.tasks.is_empty())
        }),
        Property::sometimes("a request expires", |_, world: &World| any_reason(world, "DeadlineExceeded")),
        Property::sometimes("a session is killed", |_, world: &World| any_outcome(world, SessionOutcome::Killed)),
        Property::sometimes("a session fails", |_, world: &World| any_outcome(world, SessionOutcome::Failed)),
    ]
}

fn troubles() -> Vec<Property<Checked>> {
    vec![
        Property::sometimes("the answer to a claim is lost", |_, world: &World| {
            any_stage(world, |stage| matches!(stage, Stage::Posting { is_unanswered: true, .. }))
        }),
        Property::sometimes("a claim whose answer was lost is found to be ours", |_, world: &World| {
            any_stage(world, |stage| matches!(stage, Stage::Claimed { is_found: true, .. }))
        }),
    ]
}

fn untold() -> Property<Checked> {
    Property::sometimes("an outcome cannot be told", |_, world: &World| {
        world.receipts.iter().any(|receipt| {
            let record = receipt.status.as_ref();
            record.is_some_and(|record| record.sessions.iter().any(|s| s.outcome == SessionOutcome::Unknown))
        }) || any_outcome(world, SessionOutcome::Unknown)
    })
}

/// Situations with a claim that is released while there is time for another.
fn released() -> [Property<Checked>; 3] {
    [
        Property::sometimes("a claim is edited before it is released", |_, world: &World| {
            let is_edited = |receipt: &SessionKillReceipt| receipt.metadata.resource_version.is_some();
            any_stage(world, |stage| matches!(stage, Stage::Refused { receipt, .. } if is_edited(receipt)))
        }),
        Property::sometimes("another claim is made after one that could not be released", |_, world: &World| {
            let is_after = |operator: &Operator| {
                let members = operator.tasks.iter().flat_map(|task| &task.members);
                let mut claims = members.filter_map(|member| member.stage.own_claim());
                !operator.given_up.is_empty() && claims.any(|it| !operator.given_up.contains(&it.spec.attempt_id))
            };
            world.operators.iter().any(is_after) && any_stage(world, |stage| matches!(stage, Stage::Calling { .. }))
        }),
        Property::sometimes("a claim is stored after it was given up", |_, world: &World| {
            world.receipts.iter().any(|receipt| {
                let attempt_id = &receipt.spec.attempt_id;
                world.operators.iter().any(|operator| operator.given_up.contains(attempt_id))
            })
        }),
    ]
}

/// Situations with objects that the API server does not store.
fn unstored() -> [Property<Checked>; 2] {
    [
        Property::sometimes("a request ends by a claim without a record", |_, world: &World| {
            let is_without = world.receipts.iter().any(|receipt| receipt.status.is_none());
            world.trouble == Trouble::Records && is_without && any_reason(world, "AlreadyExecuted")
        }),
        Property::sometimes("an outcome is recorded that its request cannot be told", |_, world: &World| {
            let is_recorded = world.receipts.iter().any(|receipt| receipt.status.is_some());
            world.trouble == Trouble::Status && is_recorded && world.requests[0].end.is_none()
        }),
    ]
}

fn swept() -> Property<Checked> {
    Property::sometimes("a receipt is swept", |_, world: &World| {
        world.receipts.is_empty() && !world.executions.is_empty() && world.requests[0].end.is_some()
    })
}

fn executed_already() -> Property<Checked> {
    Property::sometimes("a request was executed already", |_, world: &World| any_reason(world, "AlreadyExecuted"))
}

/// Situations with a request that is created again too late.
fn late() -> [Property<Checked>; 4] {
    [
        Property::sometimes("what was executed is told to who comes too late", |_, world: &World| {
            is_told_late(world, "AlreadyExecuted")
        }),
        Property::sometimes("what failed is told to who comes too late", |_, world: &World| {
            is_told_late(world, "StillPresent")
        }),
        Property::sometimes("a kill is missed", |_, world: &World| is_told_late(world, "KillMissed")),
        Property::sometimes("an old request is harmless", |_, world: &World| is_told_late(world, "ExpiredOnArrival")),
    ]
}

/// Whether the request that was created again came too late and ended with `reason`.
fn is_told_late(world: &World, reason: &str) -> bool {
    let again = &world.requests[1];
    let came_late = again.versions.first().is_some_and(|object| lateness(object).0);
    came_late && again.end.as_ref().is_some_and(|end| says(end, reason))
}

fn shared_call() -> Property<Checked> {
    Property::sometimes("one call ends the sessions of two requests", |_, world: &World| {
        world.executions.iter().any(|one| world.executions.iter().any(|other| one.request != other.request))
    })
}

/// Situations with a shared call that was refused.
fn narrowed() -> [Property<Checked>; 2] {
    [
        Property::sometimes(
            "of two that were refused together one is refused alone, and one is killed",
            |_, world: &World| {
                !world.refused_together.is_empty()
                    && any_outcome(world, SessionOutcome::Killed)
                    && ends(world).any(|(_, end)| reasons(&end.sessions).any(|r| r == SessionReason::RequestRejected))
            },
        ),
        Property::sometimes("two that were refused together are both killed alone", |_, world: &World| {
            !world.refused_together.is_empty()
                && world.executions.len() > 1
                && ends(world).filter(|(_, end)| end.sessions[0].outcome == SessionOutcome::Killed).count() > 1
        }),
    ]
}

/// Situations with a call by SQL that ends before its last session.
fn in_part(model: &Checked) -> Vec<Property<Checked>> {
    let mut all = vec![Property::sometimes("what was not sent is told beside what was killed", |_, world: &World| {
        any_pair(world, |first, second| first.outcome == SessionOutcome::Killed && is_not_sent(second))
    })];
    if model.scenario != Scenario::OneInOrder && model.attempts > 2 {
        all.push(Property::sometimes(
            "one of two requests is let go of, and killed by its next call",
            |_, world: &World| {
                let has_rest = ends(world).any(|(index, end)| index == 0 && end.sessions.iter().any(is_not_sent));
                has_rest
                    && ends(world).any(|(index, end)| index == 1 && end.sessions.iter().any(is(SessionOutcome::Killed)))
            },
        ));
    }
    if model.faults > 0 {
        all.extend([
            Property::sometimes("a call ends before its first session", |_, world: &World| {
                any_stage(world, |stage| matches!(stage, Stage::Refused { kind: Refusal::Unreachable, .. }))
            }),
            Property::sometimes("a call goes on after a kill without a certain answer", |_, world: &World| {
                any_pair(world, |first, second| {
                    first.reason == SessionReason::NotFound && second.outcome == SessionOutcome::Killed
                })
            }),
        ]);
    }
    if model.moments != AT_ONCE {
        all.push(Property::sometimes("a kill comes too late for the server", |_, world: &World| {
            let is_late = |stage: &Stage| matches!(stage, Stage::Refused { kind: Refusal::Deadline, .. });
            world.now > 0 && any_stage(world, is_late)
        }));
    }
    if model.moments != AT_ONCE && model.faults > 0 {
        all.push(Property::sometimes(
            "what was not sent is told beside what has no certain answer",
            |_, world: &World| {
                any_pair(world, |first, second| first.reason == SessionReason::StillPresent && is_not_sent(second))
            },
        ));
    }
    all
}

/// Situations with a selector.
fn choices() -> [Property<Checked>; 5] {
    [
        Property::sometimes("a selection is killed", |_, world: &World| any_outcome(world, SessionOutcome::Killed)),
        Property::sometimes("the other session is killed", |_, world: &World| {
            world.executions.iter().any(|execution| execution.session == 1)
        }),
        Property::sometimes("nothing matches", |_, world: &World| any_reason(world, "NothingMatched")),
        Property::sometimes("too many match", |_, world: &World| any_reason(world, "TooManyMatched")),
        Property::sometimes("an operator chooses otherwise than the one with the claim", |_, world: &World| {
            any_stage(world, |stage| {
                let Stage::Posting { wanted, .. } = stage else { return false };
                let ids = |receipt: &SessionKillReceipt| -> Vec<i64> {
                    receipt.spec.sessions.iter().map(|session| session.session_id).collect()
                };
                world.receipts.iter().any(|claimed| ids(claimed) != ids(wanted))
            })
        }),
    ]
}

/// Whether nothing was executed for a content of which it is told that nothing is.
fn is_unchosen(world: &World) -> bool {
    let is_told = ends(world).any(|(_, end)| says(end, "NothingMatched") || says(end, "TooManyMatched"));
    !is_told || world.executions.is_empty()
}

/// Whether any request for two sessions ended so.
fn any_pair(world: &World, is: fn(&SessionStatus, &SessionStatus) -> bool) -> bool {
    ends(world).any(|(_, end)| matches!(end.sessions.as_slice(), [first, second] if is(first, second)))
}

/// Whether no request ended because a shared call was refused.
fn has_own_refusal(world: &World) -> bool {
    let is_shared = |attempt_id: &String| {
        world.refused_together.iter().flat_map(|call| &call.members).any(|(_, attempt)| attempt == attempt_id)
    };
    ends(world).all(|(_, end)| {
        let is_refused = reasons(&end.sessions).any(|reason| reason == SessionReason::RequestRejected);
        !is_refused || end.dispatch.as_ref().is_none_or(|dispatch| !is_shared(&dispatch.attempt_id))
    })
}

fn has_new_nonces(world: &World) -> bool {
    world.network.iter().all(|call| world.refused_together.iter().all(|refused| refused.nonce != call.nonce))
}

/// Requests of the same content have the same receipt.
fn is_once(world: &World) -> bool {
    let content = |execution: &Execution| (&world.requests[execution.request].receipt_name, execution.session);
    let mut executions = world.executions.iter().enumerate();
    executions.all(|(index, one)| world.executions[..index].iter().all(|other| content(one) != content(other)))
}

fn is_released_unsent(world: &World) -> bool {
    let is_of = |call: &Call, attempt_id: &String| call.members.iter().any(|(_, attempt)| attempt == attempt_id);
    !any_stage(world, |stage| {
        let Stage::Refused { receipt, .. } = stage else { return false };
        let attempt_id = &receipt.spec.attempt_id;
        world.executions.iter().any(|execution| execution.attempt_id == *attempt_id)
            || world.network.iter().any(|call| is_of(call, attempt_id) && world.is_accepted(call))
    })
}

fn is_let_go(world: &World) -> bool {
    let is_nobodys = |receipt: &Stored<SessionKillReceipt>| {
        let holder = (0..2).find(|operator| receipt.spec.holder_identity == holder(world, *operator));
        let attempt_id = &receipt.spec.attempt_id;
        let is_known = |it| is_at_work(world, it, receipt) || world.operators[it].given_up.contains(attempt_id);
        receipt.status.is_none() && holder.is_some_and(|holder| !is_known(holder))
    };
    // If the record was refused, the claim is resolved like one whose holder is gone.
    world.trouble == Trouble::Records || !world.receipts.iter().any(is_nobodys)
}

fn any_stage(world: &World, is: impl Fn(&Stage) -> bool) -> bool {
    let tasks = world.operators.iter().flat_map(|operator| &operator.tasks);
    tasks.flat_map(|task| &task.members).any(|member| is(&member.stage))
}

fn ends(world: &World) -> impl Iterator<Item = (usize, &SessionKillStatus)> {
    world.requests.iter().enumerate().filter_map(|(index, request)| Some((index, &**request.end.as_ref()?)))
}

fn any_outcome(world: &World, outcome: SessionOutcome) -> bool {
    ends(world).any(|(_, end)| end.sessions.iter().any(|session| session.outcome == outcome))
}

fn any_reason(world: &World, reason: &str) -> bool {
    ends(world).any(|(_, end)| says(end, reason))
}

fn says(end: &SessionKillStatus, reason: &str) -> bool {
    end.conditions.iter().any(|c| c.type_ == "Succeeded" && c.reason == reason)
}

fn reasons(sessions: &[SessionStatus]) -> impl Iterator<Item = SessionReason> {
    sessions.iter().map(|session| session.reason)
}

fn is(outcome: SessionOutcome) -> impl Fn(&SessionStatus) -> bool {
    move |session| session.outcome == outcome
}

fn is_not_sent(session: &SessionStatus) -> bool {
    session.reason == SessionReason::NotSent
}

/// An ended request: its index and its status, and the index of one of its sessions.
struct Ended<'a> {
    index: usize,
    end: &'a SessionKillStatus,
    session: usize,
}

/// Whether `holds` is true of every session of a finished request that `is_it`.
fn is_true_of(world: &World, is_it: impl Fn(&SessionStatus) -> bool, holds: fn(&World, &Ended<'_>) -> bool) -> bool {
    ends(world).all(|(index, end)| {
        let sessions = end.sessions.iter().filter(|told| is_it(told));
        // The sessions are numbered from 1.
        let mut sessions = sessions.filter_map(|told| usize::try_from(told.session_id - 1).ok());
        sessions.all(|session| holds(world, &Ended { index, end, session }))
    })
}

/// Whether the session was not killed by the attempt that the status names. If it names none: not by any attempt of
/// this request.
fn was_not_executed(world: &World, of: &Ended<'_>) -> bool {
    let mut executions = world.executions.iter().filter(|execution| execution.session == of.session);
    executions.all(|execution| match &of.end.dispatch {
        Some(dispatch) => execution.attempt_id != dispatch.attempt_id,
        None => execution.request != of.index,
    })
}

/// If the request `index` ended as too late: whether its content was never executed, and no other request with its
/// content ended by a call.
fn is_untried(world: &World, index: usize, end: &SessionKillStatus) -> bool {
    let is_too_late = ["ExpiredOnArrival", "KillMissed"].iter().any(|reason| says(end, reason));
    let is_same = |other: usize| world.requests[other].receipt_name == world.requests[index].receipt_name;
    let is_executed = || world.executions.iter().any(|execution| is_same(execution.request));
    let is_ended = || ends(world).any(|(other, end)| is_same(other) && end.dispatch.is_some());
    // If receipts cannot be recorded, an operator may conclude another holder's claim before that holder releases it,
    // although nothing was sent.
    let is_tried = || world.trouble != Trouble::Records && is_ended();
    !is_too_late || !is_executed() && !is_tried()
}

/// Whether the request `index` is not `Ready`, if it counts as missed and names no call.
fn is_no_success(world: &World, index: usize, end: &SessionKillStatus) -> bool {
    let is_ready = end.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let came_late = world.requests[index].versions.first().is_some_and(|object| lateness(object).1);
    !came_late || !is_ready || end.dispatch.is_some()
}

fn was_executed_or_is_gone(world: &World, of: &Ended<'_>) -> bool {
    !was_not_executed(world, of) || is_gone(world, of)
}

fn is_gone(world: &World, of: &Ended<'_>) -> bool {
    !world.sessions[of.session]
}
