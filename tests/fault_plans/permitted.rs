//! What a plan may end in. The design allows an end other than that of a kill that went well only where an answer was lost
//! or the holder of a claim was: then what became of the sessions is seen, and said, and nothing is sent again.

#![allow(clippy::match_same_arms, reason = "each line is a case of its own")]

use sessionkill::api::{Outcome, SessionOutcome, SessionReason};
use testbed::fault_proxy::{At, Fault};
use testbed::gateway::{Fault as GatewayFault, FaultKind, When};

use crate::plan::{Case, Plan, Scene, Step, Strike};

/// An end of the request for two sessions that live and one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As if nothing had gone wrong.
    Done,
    /// The call was executed and no answer is known: the sessions are seen to be gone.
    SeenGone,
    /// The call was not executed, and nobody knows: the sessions are seen to be there.
    SeenThere,
    /// The answer told of one session only; the other is seen to be gone.
    HalfAnswered,
    /// The answer is known, and the list could not be read in time.
    AtItsWord,
}

impl End {
    /// Outcome of the request, outcome and reason of its sessions, and whether the two that lived were killed.
    pub const fn says(self) -> (Outcome, [(SessionOutcome, SessionReason); 3], bool) {
        use SessionOutcome::{Failed, Gone, Killed};
        use SessionReason::{Accepted, NotFound, StillPresent, Verified};
        const GONE: (SessionOutcome, SessionReason) = (Gone, NotFound);
        match self {
            Self::Done => (Outcome::SessionsKilled, [(Killed, Verified), (Killed, Verified), GONE], true),
            Self::SeenGone => (Outcome::SessionsGone, [GONE, GONE, GONE], true),
            // One of its three sessions has ended.
            Self::SeenThere => {
                (Outcome::PartiallyKilled, [(Failed, StillPresent), (Failed, StillPresent), GONE], false)
            }
            Self::HalfAnswered => (Outcome::SessionsKilled, [(Killed, Verified), GONE, GONE], true),
            Self::AtItsWord => (Outcome::SessionsKilled, [(Killed, Accepted), (Killed, Accepted), GONE], true),
        }
    }
}

/// What is known of an operator that was struck.
#[derive(Clone, Copy, Debug, Default)]
pub struct Struck {
    /// The claim that counts is its own.
    pub is_holder: bool,
    /// Its request had ended before.
    pub had_settled: bool,
    /// Its call was executed.
    pub is_executed: bool,
}

/// The steps from the claim on, in their order. What else an operator does, it does beside them.
const PATH: [(&str, usize); 5] = [
    ("create sessionkillreceipts", 0),
    ("KillProcessList", 0),
    ("DescribeProcessStatsComposition", 1),
    ("patch sessionkills/status", 0),
    ("patch sessionkillreceipts/status", 0),
];
const CLAIM: usize = 0;
const CALL: usize = 1;
const LOOK: usize = 2;
const SETTLE: usize = 3;

/// The place of `step` on the path of the claim that counts.
fn on_path(scene: Scene, step: &Step) -> Option<usize> {
    let is_it = |(kind, nth): &(&str, usize)| *kind == step.kind && nth + scene.before_last_claim(kind) == step.nth;
    PATH.iter().position(is_it)
}

/// Whether `step` belongs to the claim before it, under which nothing is executed.
fn is_before(scene: Scene, step: &Step) -> bool {
    let is_it = |(kind, nth): &(&str, usize)| *kind == step.kind && nth + scene.before_last_claim(kind) > step.nth;
    scene != Scene::Plain && (step.kind == "delete sessionkillreceipts" || PATH.iter().any(is_it))
}

/// The ends that `case` may have.
pub fn permitted(case: &Case, struck: Struck) -> Vec<End> {
    let scene = case.scene;
    match &case.plan {
        // Every request to the API server is made again, or is not needed.
        Plan::None | Plan::Api(..) | Plan::ClaimLostThenRefused | Plan::Watch(..) | Plan::OlderList { .. } => {
            vec![End::Done]
        }
        Plan::Call(step, fault) => after_call_fault(step, fault),
        // What is recorded is told, whoever is struck.
        Plan::Struck { .. } if scene == Scene::PutBack => vec![End::Done],
        // The number of a step does not tell whose of the two requests it is.
        Plan::Struck { .. } if scene == Scene::Shared => {
            vec![End::Done, End::SeenGone, End::SeenThere, End::AtItsWord]
        }
        // Whoever else holds the claim is well.
        Plan::Struck { .. } if !struck.is_holder => vec![End::Done],
        // Its claim is released, by itself when it wakes, or it is gone with it: nobody else knows that nothing was executed.
        Plan::Struck { step, strike: Strike::Kill, .. } if is_before(scene, step) => vec![End::SeenThere],
        Plan::Struck { step, .. } if is_before(scene, step) => vec![End::Done, End::SeenThere],
        Plan::Struck { step, at, strike: Strike::Kill, .. } => {
            killed(on_path(scene, step).map(|at_step| (at_step, *at)), struck)
        }
        Plan::Struck { step, at, strike: Strike::Freeze, replicas } => {
            frozen(on_path(scene, step).map(|at_step| (at_step, *at)), *replicas, struck)
        }
    }
}

fn after_call_fault(step: &Step, fault: &GatewayFault) -> Vec<End> {
    use FaultKind::{Delay, Drop, Error, ErrorBody200, Html, Partial, RemoveAction, Status5xx, Throttle};
    match on_path(Scene::Plain, step) {
        Some(CALL) => match (fault.kind, fault.when()) {
            // Refused, provably not executed: called again.
            (Throttle | RemoveAction | Error, _) => vec![End::Done],
            (Partial, _) => vec![End::HalfAnswered],
            (Drop | Status5xx | ErrorBody200 | Html, When::Before) => vec![End::SeenThere],
            // Executed late, or refused because its time is over by then.
            (Delay, When::Before) => vec![End::SeenGone, End::SeenThere],
            _ => vec![End::SeenGone],
        },
        // Refused for good: the answer to the call is good enough.
        Some(LOOK) if matches!(fault.kind, RemoveAction | Error) => vec![End::AtItsWord],
        _ => vec![End::Done],
    }
}

/// Of a holder that is killed only what it had written is known.
fn killed(on_path: Option<(usize, At)>, struck: Struck) -> Vec<End> {
    let seen = if struck.is_executed { End::SeenGone } else { End::SeenThere };
    match on_path {
        // Started again, it is another holder: this claim is its new one.
        Some((CLAIM, At::Request)) => vec![End::Done],
        Some((CLAIM, At::Answer) | (CALL, At::Request)) => vec![End::SeenThere],
        Some((CALL | LOOK, _) | (SETTLE, At::Request)) => vec![End::SeenGone],
        Some(_) => vec![End::Done],
        None if struck.had_settled => vec![End::Done],
        None => vec![seen],
    }
}

/// A frozen holder goes on when it wakes; what it waited for may have given up. Beside another it sleeps until that one has
/// taken its claim for orphaned.
fn frozen(on_path: Option<(usize, At)>, replicas: usize, struck: Struck) -> Vec<End> {
    let seen = if struck.is_executed { End::SeenGone } else { End::SeenThere };
    match (on_path, replicas) {
        // It claims anew.
        (Some((CLAIM, _)), 1) => vec![End::Done],
        (Some((CLAIM, _)), _) => vec![End::SeenThere],
        // The call is executed while it sleeps; the answer may be found to be late.
        (Some((CALL, _)), 1) => vec![End::Done, End::SeenGone],
        // The time of the verification is over when it wakes.
        (Some((LOOK, _)), 1) => vec![End::Done, End::AtItsWord],
        (Some((CALL | LOOK, _)), _) => vec![End::SeenGone],
        (Some(_), _) => vec![End::Done],
        (None, 1) => vec![End::Done, End::SeenGone, End::AtItsWord],
        (None, _) if struck.had_settled => vec![End::Done],
        // What was on its way when it froze may still arrive.
        (None, _) => vec![End::Done, seen],
    }
}

/// How many more writes of `kind` than in a kill that went well may be stored. Claims are counted less those that were
/// given up: nothing was sent under them.
pub fn allowance(case: &Case, kind: &str) -> usize {
    let is_repeated = |step: &Step| usize::from(step.kind == kind);
    let told_again = match (case.scene, kind) {
        (Scene::Plain, _) => 0,
        // How often it says why it waits depends on when it is tried again; of the same reason the Event is counted up.
        (_, "patch sessionkills/status" | "create events" | "patch events") => 2,
        _ => 0,
    };
    told_again
        + match (&case.plan, kind) {
            // Beside the path: what is known of the connection, each time that it changes, by each operator.
            (_, "patch oceanbaseconnections/status") => 4,
            // A request that may have been stored is made again.
            (Plan::Api(step, fault), _) if may_be_stored(fault) && is_repeated(step) > 0 => 2,
            // Shown on a slow machine only: that the list is not read yet, and that the call is being verified. An Event is counted
            // up where the request is tried again before a watch has told of the status that says why it waits.
            (
                Plan::Api(..) | Plan::Watch(..) | Plan::None,
                "patch sessionkills/status" | "create events" | "patch events",
            ) => 1,
            (Plan::Api(..) | Plan::Watch(..) | Plan::None, _) => 0,
            // The claim that was stored is deleted, the request says why it waits, and claims anew.
            (Plan::ClaimLostThenRefused, _) => 1,
            // Of the second request.
            (Plan::OlderList { .. }, _) => 1,
            (Plan::Call(..), _) => after_refusal(kind),
            // That the call is being verified, and that nobody knows of its holder; by each of two.
            (Plan::Struck { .. }, _) => 2,
        }
}

const fn may_be_stored(fault: &Fault) -> bool {
    matches!(fault, Fault::LoseAnswer | Fault::AnswerAfter { .. } | Fault::CutBody | Fault::Delay(..))
}

fn after_refusal(kind: &str) -> usize {
    match kind {
        // Why it waits, or that it is being verified.
        "patch sessionkills/status" => 2,
        // Why it waits.
        "create events" => 1,
        _ => 0,
    }
}
