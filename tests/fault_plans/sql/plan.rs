//! The plans. Each lets one thing go wrong at one step of a kill by SQL. The steps come from kills without faults.

use std::fmt;

use testbed::fault_proxy::{At, Fault};
use testbed::sql_relay::Fate;
use testbed::sql_statements::{COMPARE, KILL, LIST, LOGIN};

use crate::plan::{Step, Strike};

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Nothing.
    None,
    /// A connection is lost at this statement, before or after the server has executed it.
    Lost(Step, Fate),
    /// The operator that makes this step is killed or frozen at it.
    Struck { step: Step, at: At, strike: Strike, replicas: usize },
    /// A fault of one request to the API server.
    Api(Step, Fault),
}

pub const CLAIM: &str = "create sessionkillreceipts";
pub const SETTLE: &str = "patch sessionkills/status";
pub const RECORD: &str = "patch sessionkillreceipts/status";

/// The plans for a kill with these steps. Those that take longest come first.
pub fn plans(steps: &[Step]) -> Vec<Plan> {
    let has = |kind: &str, nth| {
        assert!(steps.iter().any(|step| step.kind == kind && step.nth == nth), "no {kind} #{}", nth + 1);
        Step::new(kind, nth)
    };
    // The list is read once more after the kill.
    let statements: Vec<_> =
        [(LIST, 0), (COMPARE, 0), (KILL, 0), (COMPARE, 1), (KILL, 1)].map(|(kind, nth)| has(kind, nth)).into();
    let look = Step::new(LIST, 1);
    let login: Vec<_> = LOGIN.iter().map(|kind| has(kind, 0)).collect();
    let requests = [CLAIM, SETTLE, RECORD].map(|kind| has(kind, 0));
    let path = || statements.iter().chain([&look]);

    let twice = path().filter(|step| [COMPARE, KILL].contains(&step.kind.as_str())).flat_map(|step| struck(step, 2));
    let alone = path().chain([&login[0], &login[9]]).chain(&requests).flat_map(|step| struck(step, 1));
    let lost = login
        .iter()
        .chain(path())
        .flat_map(|step| [Fate::LostBefore, Fate::LostAfter].map(|fate| Plan::Lost(step.clone(), fate)));
    let api = requests.iter().flat_map(|step| {
        let faults = [Fault::Close, Fault::LoseAnswer, Fault::AnswerAfter { status: 504 }, Fault::CutBody];
        faults.map(|fault| Plan::Api(step.clone(), fault))
    });
    twice.chain(alone).chain(lost).chain(api).collect()
}

fn struck(step: &Step, replicas: usize) -> impl Iterator<Item = Plan> + use<> {
    let ways = [At::Request, At::Answer].into_iter().flat_map(|at| [(at, Strike::Kill), (at, Strike::Freeze)]);
    let step = step.clone();
    ways.map(move |(at, strike)| Plan::Struck { step: step.clone(), at, strike, replicas })
}

impl Plan {
    /// The name of its group in the summary.
    pub const fn group(&self) -> &'static str {
        match self {
            Self::None => "fault-free",
            Self::Lost(..) => "lost connections",
            Self::Api(..) => "requests to the API server",
            Self::Struck { strike: Strike::Kill, replicas: 1, .. } => "killed, alone",
            Self::Struck { strike: Strike::Kill, .. } => "killed, one of two",
            Self::Struck { replicas: 1, .. } => "frozen, alone",
            Self::Struck { .. } => "frozen, one of two",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "nothing goes wrong"),
            Self::Lost(step, fate) => write!(f, "{step}: {fate:?}"),
            Self::Api(step, fault) => write!(f, "{step}: {fault:?}"),
            Self::Struck { step, at, strike, replicas } => write!(f, "{step}: {strike:?} at {at:?}, of {replicas}"),
        }
    }
}
