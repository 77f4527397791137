//! The plans. Each lets one thing go wrong at one step of a kill. The steps come from kills without faults.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use testbed::fault_proxy::{At, Fault, StreamFault};
use testbed::gateway::{Fault as GatewayFault, FaultKind};

/// Longer than the time-out of a request to the API server.
const PAST_THE_DEADLINE: Duration = Duration::from_secs(16);
/// Longer than the time-out of the list before a watch.
const PAST_THE_SILENCE: Duration = Duration::from_secs(80);
/// The length in seconds of watches whose events are swallowed. In this time the API server still sends bookmarks.
pub const SHORT_WATCH_SECONDS: u32 = 10;
/// A request that an operator makes once at its start, for its log. It is no step of a kill.
const OF_THE_START: &str = "get /version";
/// Longer than the time-out of a call to the gateway in these plans.
const PAST_THE_CALL: Duration = Duration::from_secs(6);

/// One request of a kill: its kind, and its index among the requests of that kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    pub kind: String,
    pub nth: usize,
}

impl Step {
    pub fn new(kind: &str, nth: usize) -> Self {
        Self { kind: kind.into(), nth }
    }

    /// Whether it is a call to the gateway.
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

/// What is done to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// `SIGKILL`. If there is no second operator, it is started again.
    Kill,
    /// `SIGSTOP`. `SIGCONT` follows after the claim has expired or, if there is a second operator, after the request
    /// has ended.
    Freeze,
}

/// What a kill meets besides the fault of its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Nothing.
    Plain,
    /// The gateway throttles the first call, which is made again under the same claim. It throttles the second call
    /// with a pause as long as the dispatch window, so the claim expires.
    Throttled,
    /// Once the operator has its claim, nothing listens at the gateway until the status says so.
    Unreachable,
    /// It shares its first call with a request that the gateway refuses. Then it is sent again without that request.
    Shared,
    /// It chooses its sessions. Once its operator is struck, more match than it may end.
    Chosen,
    /// The kill was made before. Its request is deleted, and created again after its `notAfterTime`. Nothing is sent.
    PutBack,
}

/// A kill and its fault.
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
    /// A fault of one request to the API server.
    Api(Step, Fault),
    /// The answer to the claim is lost, and the API server refuses the second try.
    ClaimLostThenRefused,
    /// A fault of a watch while a request is created.
    Watch(Step, Fault),
    /// The list before a watch is an old version, after the request has ended. The same operator gets it, or one that
    /// starts.
    OlderList { restarted: bool },
    /// A fault of one call to the gateway.
    Call(Step, GatewayFault),
    /// The operator that makes this step is killed or frozen at it.
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

/// Before and after these steps, it is open or decided what was chosen.
const CHOICE: [&str; 2] = ["create sessionkillreceipts", "KillProcessList"];

impl Scene {
    pub const ALL: [Self; 6] =
        [Self::Plain, Self::Throttled, Self::Unreachable, Self::Shared, Self::Chosen, Self::PutBack];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
            Self::Shared => "shared",
            Self::Chosen => "chosen",
            Self::PutBack => "put-back",
        }
    }

    /// How many requests of this kind the kill makes before those of the claim that counts.
    pub fn before_last_claim(self, kind: &str) -> usize {
        match (self, kind) {
            (Self::Throttled, "KillProcessList") => 2,
            // While the gateway is unreachable, the calls of the first claim never arrive.
            (Self::Plain | Self::Chosen, _)
            | (Self::Unreachable, "KillProcessList")
            | (_, "patch sessionkillreceipts/status") => 0,
            _ => 1,
        }
    }

    /// The plans for this kill. Outside of the scene `Plain`, they cover only the steps that a plain kill does not
    /// make, unless `all_of_them`.
    pub fn cases(self, steps: &[Step], all_of_them: bool) -> Vec<Case> {
        let plans = match self {
            Self::Plain => all(steps),
            Self::Chosen => struck(&CHOICE.map(|kind| Step::new(kind, 0))).collect(),
            _ => {
                beside_plain(&steps.iter().filter(|step| all_of_them || self.is_own(step)).cloned().collect::<Vec<_>>())
            }
        };
        let plans = plans.into_iter().filter(|plan| self.meets(plan));
        plans.map(|plan| Case { scene: self, plan }).collect()
    }

    /// Whether the step of `plan` certainly happens. Two operators may each claim one of the two requests, and then
    /// there is no shared call.
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
    /// The name of its group in the summary.
    pub fn group(&self) -> &'static str {
        match self.scene {
            Scene::Plain => self.plan.group(),
            Scene::Throttled => "throttled",
            Scene::Unreachable => "unreachable",
            Scene::Shared => "shared",
            Scene::Chosen => "chosen",
            Scene::PutBack => "put back too late",
        }
    }
}

impl Plan {
    /// The name of its group in the summary.
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

/// All plans for a kill with these steps. The longest ones come first, so that the others run meanwhile.
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

/// The plans that also fit a kill with another fault.
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

/// The steps that each of these kills made, in whatever order.
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
    // Some steps are repeated while an operator runs. Only the first counts.
    let only_once = |kind: &str| kind.contains("(finished)") || kind.starts_with("list ") || kind.starts_with("watch ");
    least
        .flat_map(|(kind, least)| {
            let least = least.unwrap_or(0);
            (0..if only_once(kind) { least.min(1) } else { least }).map(move |nth| Step::new(kind, nth))
        })
        .collect()
}
