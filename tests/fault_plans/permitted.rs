//! The permitted ends of a plan. The design allows an end other than that of a kill without faults only if an answer or
//! the holder of a claim was lost. Then the process list shows what happened to the sessions, the status says so, and
//! nothing is sent again.

#![allow(clippy::match_same_arms, reason = "each line is a case of its own")]

use sessionkill::api::{Outcome, SessionOutcome, SessionReason};
use testbed::fault_proxy::{At, Fault};
use testbed::gateway::{Fault as GatewayFault, FaultKind, When};

use crate::plan::{Case, Plan, Scene, Step, Strike};

/// The ends of a request for two sessions that exist and one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As without faults.
    Done,
    /// The call was executed, but no answer arrived. The list shows that the sessions are gone.
    SeenGone,
    /// The call was not executed, but no operator knows that. The list shows that the sessions are still there.
    SeenThere,
    /// The answer named only one session. The list shows that the other is gone.
    HalfAnswered,
    /// The answer arrived, but the list could not be read in time.
    AtItsWord,
    /// More sessions matched than may be ended, so that none was.
    TooMany,
}

impl End {
    /// The outcome of the request, outcome and reason of its sessions, and whether the two existing sessions were
    /// killed.
    pub const fn says(self) -> (Outcome, [(SessionOutcome, SessionReason); 3], bool) {
        use SessionOutcome::{Failed, Gone, Killed, Skipped};
        use SessionReason::{Accepted, NotFound, StillPresent, TooManyMatched, Verified};
        const GONE: (SessionOutcome, SessionReason) = (Gone, NotFound);
        match self {
            Self::Done => (Outcome::SessionsKilled, [(Killed, Verified), (Killed, Verified), GONE], true),
            Self::SeenGone => (Outcome::SessionsGone, [GONE, GONE, GONE], true),
            // One of its three sessions has ended: the one that did not exist.
            Self::SeenThere => {
                (Outcome::PartiallyKilled, [(Failed, StillPresent), (Failed, StillPresent), GONE], false)
            }
            Self::HalfAnswered => (Outcome::SessionsKilled, [(Killed, Verified), GONE, GONE], true),
            Self::AtItsWord => (Outcome::SessionsKilled, [(Killed, Accepted), (Killed, Accepted), GONE], true),
            Self::TooMany => (Outcome::TooManyMatched, [(Skipped, TooManyMatched); 3], false),
        }
    }
}

/// What is known about an operator that was killed or frozen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Struck {
    /// Whether it made the claim that counts.
    pub is_holder: bool,
    /// Whether its request had ended before.
    pub had_settled: bool,
    /// Whether its call was executed.
    pub is_executed: bool,
}

impl End {
    /// The same for a request that chooses its sessions: none of them is gone before, and if it is told who matched, all are.
    pub fn of_chosen(self) -> (Outcome, Vec<(SessionOutcome, SessionReason)>, bool) {
        let (outcome, sessions, is_executed) = self.says();
        match self {
            Self::TooMany => (outcome, sessions.to_vec(), is_executed),
            Self::SeenThere => (Outcome::StillPresent, sessions[..2].to_vec(), is_executed),
            _ => (outcome, sessions[..2].to_vec(), is_executed),
        }
    }
}

/// The steps from the claim on, in their order. Other steps of an operator can happen at any time.
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

/// The position of `step` on the path of the claim that counts.
fn on_path(scene: Scene, step: &Step) -> Option<usize> {
    let is_it = |(kind, nth): &(&str, usize)| *kind == step.kind && nth + scene.before_last_claim(kind) == step.nth;
    PATH.iter().position(is_it)
}

/// Whether `step` belongs to an earlier claim, under which nothing is executed.
fn is_before(scene: Scene, step: &Step) -> bool {
    let is_it = |(kind, nth): &(&str, usize)| *kind == step.kind && nth + scene.before_last_claim(kind) > step.nth;
    scene != Scene::Plain && (step.kind == "delete sessionkillreceipts" || PATH.iter().any(is_it))
}

/// The permitted ends of `case`.
pub fn permitted(case: &Case, struck: Struck) -> Vec<End> {
    let mut ends = of_one_choice(case, struck);
    // What is claimed after the strike is chosen from more sessions.
    if case.scene == Scene::Chosen && ends.contains(&End::Done) {
        ends.push(End::TooMany);
    }
    ends
}

fn of_one_choice(case: &Case, struck: Struck) -> Vec<End> {
    let scene = case.scene;
    match &case.plan {
        // The operator repeats every request to the API server, or does not need it.
        Plan::None | Plan::Api(..) | Plan::ClaimLostThenRefused | Plan::Watch(..) | Plan::OlderList { .. } => {
            vec![End::Done]
        }
        Plan::Call(step, fault) => after_call_fault(step, fault),
        // The outcome is already recorded and is copied, whichever operator is killed or frozen.
        Plan::Struck { .. } if scene == Scene::PutBack => vec![End::Done],
        // The number of a step does not show which of the two requests it belongs to.
        Plan::Struck { .. } if scene == Scene::Shared => {
            vec![End::Done, End::SeenGone, End::SeenThere, End::AtItsWord]
        }
        // The claim is another operator's, and that one works.
        Plan::Struck { .. } if !struck.is_holder => vec![End::Done],
        // A frozen holder releases its claim when it resumes. The claim of a killed one stays, as no other operator
        // knows that nothing was executed.
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
            // Refused and provably not executed, so the call is made again.
            (Throttle | RemoveAction | Error, _) => vec![End::Done],
            (Partial, _) => vec![End::HalfAnswered],
            (Drop | Status5xx | ErrorBody200 | Html, When::Before) => vec![End::SeenThere],
            // Executed late, or refused because the dispatch deadline has passed by then.
            (Delay, When::Before) => vec![End::SeenGone, End::SeenThere],
            _ => vec![End::SeenGone],
        },
        // Reading the list is refused for good, so the API's answer counts.
        Some(LOOK) if matches!(fault.kind, RemoveAction | Error) => vec![End::AtItsWord],
        _ => vec![End::Done],
    }
}

/// The permitted ends with a killed holder: only what it had written is known.
fn killed(on_path: Option<(usize, At)>, struck: Struck) -> Vec<End> {
    let seen = if struck.is_executed { End::SeenGone } else { End::SeenThere };
    match on_path {
        // After its start it is another holder, and the claim that counts is its new one.
        Some((CLAIM, At::Request)) => vec![End::Done],
        Some((CLAIM, At::Answer) | (CALL, At::Request)) => vec![End::SeenThere],
        Some((CALL | LOOK, _) | (SETTLE, At::Request)) => vec![End::SeenGone],
        Some(_) => vec![End::Done],
        None if struck.had_settled => vec![End::Done],
        None => vec![seen],
    }
}

/// The permitted ends with a frozen holder. When it resumes, it goes on, but its requests may have timed out. If there
/// is a second operator, it stays frozen until that one has resolved its claim as orphaned.
fn frozen(on_path: Option<(usize, At)>, replicas: usize, struck: Struck) -> Vec<End> {
    let seen = if struck.is_executed { End::SeenGone } else { End::SeenThere };
    match (on_path, replicas) {
        // It makes a new claim.
        (Some((CLAIM, _)), 1) => vec![End::Done],
        (Some((CLAIM, _)), _) => vec![End::SeenThere],
        // The call is executed while it is frozen. The answer may come too late.
        (Some((CALL, _)), 1) => vec![End::Done, End::SeenGone],
        // The verification has timed out when it resumes.
        (Some((LOOK, _)), 1) => vec![End::Done, End::AtItsWord],
        (Some((CALL | LOOK, _)), _) => vec![End::SeenGone],
        (Some(_), _) => vec![End::Done],
        (None, 1) => vec![End::Done, End::SeenGone, End::AtItsWord],
        (None, _) if struck.had_settled => vec![End::Done],
        // A request that was on its way when it was frozen may still arrive.
        (None, _) => vec![End::Done, seen],
    }
}

/// How many more writes of `kind` may be stored than without faults. Claims that were given up are not counted: nothing
/// was sent under them.
pub fn allowance(case: &Case, kind: &str) -> usize {
    let is_repeated = |step: &Step| usize::from(step.kind == kind);
    let told_again = match (case.scene, kind) {
        (Scene::Plain, _) => 0,
        // How many times it reports why it waits depends on when it is tried again. For the same reason, the count of
        // the Event is increased.
        (_, "patch sessionkills/status" | "create events" | "patch events") => 2,
        _ => 0,
    };
    told_again
        + match (&case.plan, kind) {
            // The status of the connection, which each operator writes each time that it changes.
            (_, "patch oceanbaseconnections/status") => 4,
            // A request that may already have been stored is made again.
            (Plan::Api(step, fault), _) if may_be_stored(fault) && is_repeated(step) > 0 => 2,
            // On a slow machine, the status says once more that the list is not read yet or that the call is in
            // verification. The count of an Event is increased if the request is tried again before the watch has
            // delivered the status with its reason.
            (
                Plan::Api(..) | Plan::Watch(..) | Plan::None,
                "patch sessionkills/status" | "create events" | "patch events",
            ) => 1,
            (Plan::Api(..) | Plan::Watch(..) | Plan::None, _) => 0,
            // The stored claim is deleted, the request reports why it waits, and makes a new claim.
            (Plan::ClaimLostThenRefused, _) => 1,
            // One for the second request.
            (Plan::OlderList { .. }, _) => 1,
            (Plan::Call(..), _) => after_refusal(kind),
            // One for the verification, and one for the unknown holder, by each of two operators.
            (Plan::Struck { .. }, _) => 2,
        }
}

const fn may_be_stored(fault: &Fault) -> bool {
    matches!(fault, Fault::LoseAnswer | Fault::AnswerAfter { .. } | Fault::CutBody | Fault::Delay(..))
}

fn after_refusal(kind: &str) -> usize {
    match kind {
        // The reason of the wait, or the verification.
        "patch sessionkills/status" => 2,
        // The reason of the wait.
        "create events" => 1,
        _ => 0,
    }
}
