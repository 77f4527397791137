//! The plans: each lets one thing go wrong at one step of a kill. Made from the steps of kills that went well.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use testbed::fault_proxy::{At, Fault, StreamFault};
use testbed::gateway::{Fault as GatewayFault, FaultKind};

/// Longer than a call to the API server may take.
const PAST_THE_DEADLINE: Duration = Duration::from_secs(16);
/// Longer than the list before a watch may take.
const PAST_THE_SILENCE: Duration = Duration::from_secs(80);
/// The length of the watches of which events are swallowed: the API server sends bookmarks in it.
pub const SHORT_WATCH_SECONDS: u32 = 10;
/// What an operator asks once for its log; no step of a kill.
const OF_THE_START: &str = "get /version";
/// Longer than a call to the gateway may take in these plans.
const PAST_THE_CALL: Duration = Duration::from_secs(6);

/// One request of a kill: which of its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub kind: String,
    pub nth: usize,
}

impl Step {
    pub fn new(kind: &str, nth: usize) -> Self {
        Self { kind: kind.into(), nth }
    }

    /// Whether it goes to the gateway.
    pub fn is_call(&self) -> bool {
        self.kind.starts_with(char::is_uppercase)
    }

    pub fn is_watch(&self) -> bool {
        self.kind.starts_with("watch ")
    }

    fn is_list_of_a_watch(&self) -> bool {
        ["list sessionkills", "list oceanbaseconnections"].contains(&self.kind.as_str())
    }
}

/// How an operator is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// `SIGKILL`; alone, it is started again.
    Kill,
    /// `SIGSTOP`, and `SIGCONT` when its claim's time is over; beside another, when that has ended the request.
    Freeze,
}

/// What a kill meets on its way in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Nothing.
    Plain,
    /// The gateway throttles its first call, which goes on under its claim, and the next for so long that it does not.
    Throttled,
    /// Nobody listens at the gateway when it has its claim, until it says so.
    Unreachable,
    /// It shares its first call with a request that the gateway refuses, and goes out again without that.
    Shared,
    /// It was made before, and its request is deleted and created again after its `notAfterTime`: nothing is sent.
    PutBack,
}

/// A kill, and what goes wrong.
#[derive(Clone, Debug)]
pub struct Case {
    pub scene: Scene,
    pub plan: Plan,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Nothing.
    None,
    /// One request to the API server.
    Api(Step, Fault),
    /// The answer to the claim is lost, and when it is made again, it is refused.
    ClaimLostThenRefused,
    /// A watch, while a request is created.
    Watch(Step, Fault),
    /// The list before a watch comes from an older version: after the request has ended, to the same operator or to one
    /// that starts.
    OlderList { restarted: bool },
    /// One call to the gateway.
    Call(Step, GatewayFault),
    /// The operator that makes this step, at it.
    Struck { step: Step, at: At, strike: Strike, replicas: usize },
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "nothing goes wrong"),
            Self::Api(step, fault) | Self::Watch(step, fault) => write!(f, "{step}: {fault:?}"),
            Self::ClaimLostThenRefused => write!(f, "the answer to the claim is lost, and the next refused"),
            Self::OlderList { restarted } => write!(f, "an older list (restarted: {restarted})"),
            Self::Call(step, fault) => write!(f, "{step}: {:?} {:?}", fault.kind, fault.when()),
            Self::Struck { step, at, strike, replicas } => write!(f, "{step}: {strike:?} at {at:?}, of {replicas}"),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scene {
            Scene::Plain => write!(f, "{}", self.plan),
            scene => write!(f, "{scene:?}: {}", self.plan),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{}", self.kind, self.nth + 1)
    }
}

impl Scene {
    pub const ALL: [Self; 5] = [Self::Plain, Self::Throttled, Self::Unreachable, Self::Shared, Self::PutBack];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
            Self::Shared => "shared",
            Self::PutBack => "put-back",
        }
    }

    /// How many of these requests the kill makes before those of the claim that counts.
    pub fn before_last_claim(self, kind: &str) -> usize {
        match (self, kind) {
            (Self::Throttled, "KillProcessList") => 2,
            // The others of them reach nobody.
            (Self::Plain, _) | (Self::Unreachable, "KillProcessList") | (_, "patch sessionkillreceipts/status") => 0,
            _ => 1,
        }
    }

    /// The plans for this kill. Of those that are not plain only what a plain one does not do, unless `all_of_them`.
    pub fn cases(self, steps: &[Step], all_of_them: bool) -> Vec<Case> {
        let plans = match self {
            Self::Plain => all(steps),
            _ => {
                beside_plain(&steps.iter().filter(|step| all_of_them || self.is_own(step)).cloned().collect::<Vec<_>>())
            }
        };
        let plans = plans.into_iter().filter(|plan| self.meets(plan));
        plans.map(|plan| Case { scene: self, plan }).collect()
    }

    /// Whether the step of `plan` is sure to come. Two operators may each claim one of two requests, which then share no call.
    fn meets(self, plan: &Plan) -> bool {
        self != Self::Shared || !matches!(plan, Plan::Struck { replicas: 2, .. })
    }

    /// Whether only this kill makes `step`.
    fn is_own(self, step: &Step) -> bool {
        match (step.kind.as_str(), step.nth) {
            ("get sessionkillreceipts" | "patch sessionkills/status", 0) => self == Self::PutBack,
            ("delete sessionkillreceipts", 0) => true,
            ("create sessionkillreceipts", 1) => self == Self::Throttled,
            ("KillProcessList", 1) => self != Self::Unreachable,
            ("create sessionkillreceipts", 2) => self == Self::Shared,
            _ => false,
        }
    }
}

impl Case {
    /// For the summary.
    pub fn group(&self) -> &'static str {
        match self.scene {
            Scene::Plain => self.plan.group(),
            Scene::Throttled => "throttled",
            Scene::Unreachable => "unreachable",
            Scene::Shared => "shared",
            Scene::PutBack => "put back too late",
        }
    }
}

impl Plan {
    /// For the summary.
    fn group(&self) -> &'static str {
        match self {
            Self::None => "fault-free",
            Self::Api(..) | Self::ClaimLostThenRefused => "requests to the API server",
            Self::Watch(..) | Self::OlderList { .. } => "watches and their lists",
            Self::Call(..) => "calls to the gateway",
            Self::Struck { strike: Strike::Kill, replicas: 1, .. } => "killed, alone",
            Self::Struck { strike: Strike::Kill, .. } => "killed, one of two",
            Self::Struck { replicas: 1, .. } => "frozen, alone",
            Self::Struck { .. } => "frozen, one of two",
        }
    }
}

/// All plans for a kill of these steps. Those that wait longest come first: so they wait beside the others.
fn all(steps: &[Step]) -> Vec<Plan> {
    let mut plans = beside_plain(steps);
    let watches = steps.iter().filter(|step| step.is_watch());
    plans.extend(watches.flat_map(|step| watch_faults().map(|fault| Plan::Watch(step.clone(), fault))));
    plans.push(Plan::ClaimLostThenRefused);
    plans.extend([true, false].map(|restarted| Plan::OlderList { restarted }));
    let calls = steps.iter().filter(|step| step.is_call());
    plans.extend(calls.flat_map(|step| call_faults(step).map(|fault| Plan::Call(step.clone(), fault))));
    plans.sort_by_key(|plan| match plan {
        Plan::Api(_, Fault::Delay(_, pause)) if *pause == PAST_THE_SILENCE => 0,
        Plan::Struck { .. } => 1,
        Plan::Api(_, Fault::Delay(..)) => 2,
        _ => 3,
    });
    plans
}

/// Those for a kill that may meet something else as well.
fn beside_plain(steps: &[Step]) -> Vec<Plan> {
    let requests = steps.iter().filter(|step| !step.is_call() && !step.is_watch());
    let of_requests = requests.flat_map(|step| api_faults(step).map(|fault| Plan::Api(step.clone(), fault)));
    struck(steps).chain(of_requests).collect()
}

fn struck(steps: &[Step]) -> impl Iterator<Item = Plan> {
    steps.iter().flat_map(|step| {
        let ways = [At::Request, At::Answer].into_iter().flat_map(|at| [(at, Strike::Kill), (at, Strike::Freeze)]);
        ways.flat_map(move |(at, strike)| {
            [1, 2].map(|replicas| Plan::Struck { step: step.clone(), at, strike, replicas })
        })
    })
}

fn api_faults(step: &Step) -> impl Iterator<Item = Fault> {
    let pause = if step.is_list_of_a_watch() { PAST_THE_SILENCE } else { PAST_THE_DEADLINE };
    Fault::of_any_request().into_iter().chain([At::Request, At::Answer].map(|at| Fault::Delay(at, pause)))
}

fn watch_faults() -> impl Iterator<Item = Fault> {
    let streams = [
        StreamFault::Delay(Duration::from_secs(3)),
        StreamFault::Duplicate,
        StreamFault::Drop(1),
        StreamFault::Drop(2),
        StreamFault::Swallow(1),
        StreamFault::Swallow(usize::MAX),
        StreamFault::Cut(0),
        StreamFault::Cut(1),
        StreamFault::Cut(2),
        StreamFault::Gone(0),
        StreamFault::Gone(1),
        StreamFault::Gone(2),
    ];
    let refused = |status| Fault::Answer { status, retry_after: None };
    streams.map(Fault::Stream).into_iter().chain([refused(410), refused(500), Fault::Close])
}

fn call_faults(step: &Step) -> impl Iterator<Item = GatewayFault> {
    use FaultKind::{
        Delay, Drop, Error, ErrorBody200, Html, Malformed, Partial, RemoveAction, Status5xx, Throttle, Truncated,
    };
    let before = [Throttle, Drop, Status5xx, RemoveAction, Error, ErrorBody200, Html, Malformed, Truncated, Partial];
    let after = [Drop, Status5xx, ErrorBody200, Html].map(|kind| GatewayFault::new(kind).after());
    let late = GatewayFault::new(Delay).delayed(PAST_THE_CALL);
    let on = step.kind.trim_end_matches(" (probe)").to_owned();
    let is_kill = on.starts_with("Kill") && on == step.kind;
    before.map(GatewayFault::new).into_iter().chain(after).chain([late.clone(), late.after()]).map(move |fault| {
        let fault = fault.on(&on).times(1);
        if is_kill { fault.on_kills() } else { fault }
    })
}

/// What all of these kills did, whatever the order: each step of which none did without.
pub fn steps_of(traces: &[Vec<String>]) -> Vec<Step> {
    let counts: Vec<BTreeMap<&str, usize>> = traces
        .iter()
        .map(|trace| {
            let mut counts = BTreeMap::new();
            for kind in trace {
                *counts.entry(kind.as_str()).or_default() += 1;
            }
            counts
        })
        .collect();
    let kinds = counts.first().into_iter().flatten().filter(|(kind, _)| **kind != OF_THE_START);
    let least = kinds.map(|(kind, _)| (*kind, counts.iter().map(|it| it.get(kind).copied().unwrap_or(0)).min()));
    // Of what is repeated for as long as an operator runs, the first.
    let only_once = |kind: &str| kind.contains("(finished)") || kind.starts_with("list ") || kind.starts_with("watch ");
    least
        .flat_map(|(kind, least)| {
            let least = least.unwrap_or(0);
            (0..if only_once(kind) { least.min(1) } else { least }).map(move |nth| Step::new(kind, nth))
        })
        .collect()
}
