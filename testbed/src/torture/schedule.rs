//! The events of one schedule and their times. They are drawn from its seed before it begins, so the same seed gives
//! the same schedule.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    control_plane::Outage,
    fault_proxy::{At, Fault, StreamFault},
    gateway::{self, FaultKind},
    sql_relay::Fate,
    sql_statements::{COMPARE, KILL, LIST},
};

/// The kinds of requests to the API server that may get a fault.
const REQUESTS: [&str; 11] = [
    "create sessionkillreceipts",
    "get sessionkillreceipts",
    "delete sessionkillreceipts",
    "patch sessionkills/status",
    "patch sessionkillreceipts/status",
    "patch oceanbaseconnections/status",
    "get sessionkills",
    "get secrets",
    "list sessionkills",
    "list sessionkillreceipts",
    "create events",
];
const WATCHES: [&str; 2] = ["watch sessionkills", "watch oceanbaseconnections"];
/// Statements of the operator that may get a fault, those of a kill twice as often.
const STATEMENTS: [&str; 8] = [COMPARE, COMPARE, KILL, KILL, LIST, LIST, "SETTINGS", "PROBE <"];
const CALLS: [&str; 2] = ["KillProcessList", "DescribeProcessStatsComposition"];
/// The time of the last event.
const LENGTH_MS: u64 = 15_000;
const REQUEST_COUNT: usize = 8;
/// The number of sessions that run a statement, if they are ended by SQL.
pub const RUNNING: i64 = 3;
/// The most sessions of one request.
const MOST_SESSIONS: usize = 3;

/// One schedule.
#[derive(Debug)]
pub struct Schedule {
    /// Its seed.
    pub seed: u64,
    /// How many operators run.
    pub replicas: usize,
    /// For each operator, whether it uses HTTP/1.1 to the API server.
    pub http1: Vec<bool>,
    /// The number of sessions, numbered from 1 on.
    pub sessions: i64,
    /// Whether they are ended by SQL.
    pub is_by_sql: bool,
    /// The events, in order.
    pub events: Vec<Event>,
}

/// An event.
#[derive(Debug)]
pub struct Event {
    /// The time since the beginning.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum What {
    /// The request number `request` is created, for these sessions. Its `notAfterTime` is this number of seconds later.
    Ask {
        /// Its number.
        request: usize,
        /// Its sessions.
        sessions: Vec<i64>,
        /// How many seconds it may be sent.
        seconds: i64,
    },
    /// The same for the statement of one session, by SQL.
    Interrupt {
        /// Its number.
        request: usize,
        /// Its session, one of the [`RUNNING`].
        session: i64,
        /// How many seconds it may be sent.
        seconds: i64,
    },
    /// It is deleted, if it exists, and created again unchanged after a pause.
    AskAgain {
        /// Its number.
        request: usize,
        /// The pause.
        pause: Duration,
    },
    /// The next request of this kind gets a fault.
    Fail(&'static str, Fault),
    /// The next request of this kind is held, and its operator is killed or paused meanwhile. The operator runs again
    /// after a pause.
    StrikeAt(&'static str, At, Strike, Duration),
    /// The operator in this place is killed or paused, and runs again after a pause.
    Strike(usize, Strike, Duration),
    /// The connection of the next statement of this kind is lost.
    Lose(&'static str, Fate),
    /// The next call gets a fault of the gateway.
    FailCall(gateway::Fault),
    /// The control plane, which all schedules share, fails for this time.
    Outage(Outage, Duration),
}

/// How an operator is struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// `SIGKILL`.
    Kill,
    /// `SIGSTOP`.
    Freeze,
    /// `SIGTERM`.
    Stop,
}

impl Schedule {
    /// The schedule of `seed`.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let replicas = random.usize(1..=2);
        let http1 = (0..replicas).map(|_| random.bool()).collect();
        let mut sessions = 0;
        let mut events: Vec<Event> = (0..REQUEST_COUNT)
            .map(|request| {
                let count = random.usize(1..=MOST_SESSIONS);
                let numbers: Vec<i64> = (sessions + 1..).take(count).collect();
                sessions = numbers.last().copied().unwrap_or(sessions);
                // Some requests have hardly any time to be sent.
                let seconds = if random.u8(0..4) == 0 { random.i64(2..10) } else { 600 };
                event(&mut random, What::Ask { request, sessions: numbers, seconds })
            })
            .collect();
        for _ in 0..random.usize(6..=16) {
            let what = mishap(&mut random, replicas);
            events.push(event(&mut random, what));
        }
        // Rare, as it affects all schedules that run at once.
        if random.u8(0..6) == 0 {
            let what = outage(&mut random);
            events.push(event(&mut random, what));
        }
        events.sort_by_key(|event| event.at);
        Self { seed, replicas, http1, sessions, is_by_sql: false, events }
    }

    /// The schedule of `seed` for sessions that are ended by SQL. The first [`RUNNING`] ones run a statement. Some sessions
    /// are named by more than one request.
    #[must_use]
    pub fn by_sql(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let replicas = random.usize(1..=2);
        let http1 = (0..replicas).map(|_| random.bool()).collect();
        let mut sessions = RUNNING;
        let mut events: Vec<Event> = (0..REQUEST_COUNT)
            .map(|request| {
                let seconds = if random.u8(0..4) == 0 { random.i64(2..10) } else { 600 };
                if random.u8(0..4) == 0 {
                    let session = random.i64(1..=RUNNING);
                    return event(&mut random, What::Interrupt { request, session, seconds });
                }
                let mut numbers = vec![];
                for _ in 0..random.usize(1..=2) {
                    let known = random.i64(1..=sessions);
                    if random.u8(0..4) > 0 || numbers.contains(&known) {
                        sessions += 1;
                        numbers.push(sessions);
                    } else {
                        numbers.push(known);
                    }
                }
                event(&mut random, What::Ask { request, sessions: numbers, seconds })
            })
            .collect();
        for _ in 0..random.usize(6..=16) {
            let what = mishap_by_sql(&mut random, replicas);
            events.push(event(&mut random, what));
        }
        events.sort_by_key(|event| event.at);
        Self { seed, replicas, http1, sessions, is_by_sql: true, events }
    }

    /// How often the control plane fails.
    #[must_use]
    pub fn outages(&self) -> usize {
        self.events.iter().filter(|event| matches!(event.what, What::Outage(..))).count()
    }
}

fn event(random: &mut Rng, what: What) -> Event {
    Event { at: Duration::from_millis(random.u64(0..LENGTH_MS)), what }
}

fn mishap(random: &mut Rng, replicas: usize) -> What {
    match random.u8(0..12) {
        0..=2 => What::Fail(of(random, &REQUESTS), request_fault(random)),
        3 => What::Fail(of(random, &WATCHES), watch_fault(random)),
        4 => What::Fail(of(random, &CALLS), call_fault(random)),
        5 | 6 => What::FailCall(gateway_fault(random)),
        7 | 8 => {
            let kind = if random.bool() { of(random, &CALLS) } else { of(random, &REQUESTS[..5]) };
            let at = if random.bool() { At::Request } else { At::Answer };
            What::StrikeAt(kind, at, strike(random), pause(random))
        }
        9 | 10 => What::Strike(random.usize(0..replicas), strike(random), pause(random)),
        _ => What::AskAgain { request: random.usize(0..REQUEST_COUNT), pause: pause(random) / 8 },
    }
}

fn mishap_by_sql(random: &mut Rng, replicas: usize) -> What {
    match random.u8(0..12) {
        0..=2 => What::Fail(of(random, &REQUESTS), request_fault(random)),
        3 => What::Fail(of(random, &WATCHES), watch_fault(random)),
        4..=6 => {
            let fate = if random.bool() { Fate::LostBefore } else { Fate::LostAfter };
            What::Lose(of(random, &STATEMENTS), fate)
        }
        7..=9 => {
            let kind = if random.u8(0..3) > 0 { of(random, &STATEMENTS) } else { of(random, &REQUESTS[..5]) };
            let at = if random.bool() { At::Request } else { At::Answer };
            What::StrikeAt(kind, at, strike(random), pause(random))
        }
        10 => What::Strike(random.usize(0..replicas), strike(random), pause(random)),
        _ => What::AskAgain { request: random.usize(0..REQUEST_COUNT), pause: pause(random) / 8 },
    }
}

fn of(random: &mut Rng, kinds: &[&'static str]) -> &'static str {
    kinds[random.usize(0..kinds.len())]
}

fn strike(random: &mut Rng) -> Strike {
    [Strike::Kill, Strike::Kill, Strike::Freeze, Strike::Freeze, Strike::Stop][random.usize(0..5)]
}

/// A moment, longer than the dispatch window, or long enough that others treat a claim as orphaned.
fn pause(random: &mut Rng) -> Duration {
    let most = [1_000, 8_000, 40_000][random.usize(0..3)];
    Duration::from_millis(random.u64(0..most))
}

/// A moment, or longer than a request to the API server may take.
fn outage(random: &mut Rng) -> What {
    let most = [2_000, 20_000][random.usize(0..2)];
    What::Outage(Outage::ALL[random.usize(0..3)], Duration::from_millis(random.u64(0..most)))
}

fn request_fault(random: &mut Rng) -> Fault {
    let at = if random.bool() { At::Request } else { At::Answer };
    let delay = Fault::Delay(at, Duration::from_millis(random.u64(100..18_000)));
    let faults = Fault::of_any_request();
    faults.get(random.usize(0..=faults.len())).unwrap_or(&delay).clone()
}

fn watch_fault(random: &mut Rng) -> Fault {
    let after = random.usize(0..4);
    let streams = [
        StreamFault::Delay(Duration::from_millis(random.u64(100..3_000))),
        StreamFault::Duplicate,
        StreamFault::Drop(after),
        StreamFault::Swallow(after + 1),
        StreamFault::Cut(after),
        StreamFault::Gone(after),
    ];
    Fault::Stream(streams[random.usize(0..streams.len())])
}

fn call_fault(random: &mut Rng) -> Fault {
    let at = if random.bool() { At::Request } else { At::Answer };
    let delay = Fault::Delay(at, Duration::from_millis(random.u64(100..8_000)));
    [Fault::Close, Fault::LoseAnswer, Fault::CutBody, delay][random.usize(0..4)].clone()
}

fn gateway_fault(random: &mut Rng) -> gateway::Fault {
    use FaultKind::{
        Delay, Drop, Error, ErrorBody200, Html, Malformed, Partial, RemoveAction, Status5xx, Throttle, Truncated,
    };
    if random.u8(0..8) == 0 {
        // Refuse only calls for more sessions than one request names.
        let refusal = gateway::Fault::new(Error).answering(400, "InvalidParameter").of_more_than(MOST_SESSIONS);
        return refusal.on_kills();
    }
    let kinds =
        [Throttle, Delay, Drop, Status5xx, RemoveAction, Error, ErrorBody200, Html, Malformed, Truncated, Partial];
    let fault = gateway::Fault::new(kinds[random.usize(0..kinds.len())]).times(random.u32(1..=2));
    let fault = if random.bool() { fault.after() } else { fault };
    // No throttling after the execution: no gateway would throttle a call that it has executed.
    let is_refusal = matches!(fault.kind, Throttle | RemoveAction | Error);
    let fault = if is_refusal { gateway::Fault { when: None, ..fault } } else { fault };
    let fault = fault.delayed(Duration::from_millis(random.u64(0..2_500)));
    if random.bool() { fault.on_kills() } else { fault.on("DescribeProcessStatsComposition") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_schedule() {
        let of = |seed| format!("{:?}", Schedule::of(seed));
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let by_sql = |seed| format!("{:?}", Schedule::by_sql(seed));
        assert_eq!(by_sql(7), by_sql(7));
        assert_ne!(by_sql(7), by_sql(8));
    }
}
