//! Plays a plan.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::ResourceExt as _;
use serde_json::json;
use sessionkill::api::{Outcome, SessionKill, SessionKillSpec};
use testbed::arena::{Arena, Ground, Launch, Replica, kill_of, session};
use testbed::fault_proxy::{Fault, FaultProxy, Order, Passed, Rule, StreamFault};
use testbed::gateway::{Fault as GatewayFault, FaultKind};
use tokio::time::{sleep, timeout};

use crate::permitted::{End, Struck, permitted};
use crate::plan::{Case, Plan, SHORT_WATCH_SECONDS, Scene, Step, Strike};
use crate::scenes::WINDOW_OF_THROTTLED;

/// Far longer than anything takes on a busy machine. It only ends a plan that would hang.
pub const LIMIT: Duration = Duration::from_mins(5);
pub const POLL: Duration = Duration::from_millis(500);
pub const REQUEST: &str = "inc-1";
/// The number of a session that this request does not name.
pub const REFUSED: i64 = 5;
/// The number of a session that matches once the operator is struck.
pub const LATER: i64 = 7;
/// Longer than the dispatch window.
pub const DEEP_SLEEP: Duration = Duration::from_secs(9);

/// The result of a plan.
pub struct Played {
    /// The kind of each request, in order.
    pub trace: Vec<String>,
    /// How many times each kind of write was stored.
    pub writes: BTreeMap<String, usize>,
    /// The problems as text.
    pub problems: Vec<String>,
    /// The machine was so busy that a call or a record without a planned fault timed out. If there is no worse problem,
    /// the result says nothing about the plan.
    pub is_disturbed: bool,
}

/// Plays `case` in its own arena.
pub async fn play(ground: &Arc<Ground>, name: &str, case: &Case) -> Played {
    let arena = Arena::set(ground, name, vec![session(1), session(2), session(REFUSED)]).await.unwrap();
    // One half of the plans uses HTTP/1.1, the other half HTTP/2.
    let number: String = name.chars().filter(char::is_ascii_digit).collect();
    let http1 = number.bytes().rev().nth(1).is_some_and(|digit| digit % 2 == 0);
    let dispatch_window_seconds = (case.scene == Scene::Throttled).then_some(WINDOW_OF_THROTTLED);
    let stage = Stage::of(arena, Launch { http1, dispatch_window_seconds, ..Launch::default() }, case.scene);
    let mut problems = vec![];
    let struck = timeout(LIMIT, stage.act(&case.plan)).await;
    if struck.is_err() {
        problems.push(format!("it does not end: {:?}", stage.arena.unfinished().await));
    }
    let struck = struck.unwrap_or_default();
    let mut violations = vec![];
    if problems.is_empty() {
        problems.extend(stage.compare(&permitted(case, struck)).await);
        violations = stage.arena.verdict().await.unwrap().violations;
    }
    let gave_up = |it: &Passed| it.fault.is_none() && it.abandoned;
    let records = stage.arena.api.trace().into_iter().filter(|it| it.kind == "patch sessionkillreceipts/status");
    let is_disturbed = violations.is_empty() && records.chain(stage.arena.calls.trace()).any(|it| gave_up(&it));
    problems.extend(violations);
    let passed: Vec<_> = stage.arena.api.trace().into_iter().chain(stage.arena.calls.trace()).collect();
    let mut writes = BTreeMap::new();
    for write in passed.iter().filter(|it| it.is_stored() && !it.kind.starts_with(char::is_uppercase)) {
        *writes.entry(write.kind.clone()).or_default() += 1;
    }
    if problems.is_empty() {
        stage.arena.clean();
    } else {
        problems.push(format!("its requests:\n  {}", brief(&passed).join("\n  ")));
        problems.push(format!("{struck:?}, see {}", stage.arena.directory().display()));
    }
    Played { trace: stage.trace(), writes, problems, is_disturbed }
}

/// Leaves out the requests that are repeated while an operator runs.
fn brief(passed: &[Passed]) -> Vec<String> {
    let is_sweep = |kind: &str| kind.contains("(finished)") || kind == "list sessionkillreceipts";
    let line = |it: &Passed| format!("{} {} {:?} -> {:?}", it.client, it.kind, it.served, it.told);
    passed.iter().filter(|it| !is_sweep(&it.kind)).map(line).collect()
}

/// An arena for one request.
pub struct Stage {
    pub arena: Arena,
    pub launch: Launch,
    pub scene: Scene,
    /// Whether an operator was killed or frozen, and the request that it had made may go on.
    pub is_struck: AtomicBool,
    /// The spec of the request that was killed before, and how many requests the API server and the gateway got for it.
    pub asked: OnceLock<SessionKillSpec>,
    pub before: [AtomicUsize; 2],
}

impl Stage {
    pub fn of(arena: Arena, launch: Launch, scene: Scene) -> Self {
        let (is_struck, asked) = (AtomicBool::new(false), OnceLock::new());
        let before = [AtomicUsize::new(0), AtomicUsize::new(0)];
        Self { arena, launch, scene, is_struck, asked, before }
    }

    /// The kind of each request, without those of the earlier kill.
    fn trace(&self) -> Vec<String> {
        let since = |(proxy, before): (&FaultProxy, &AtomicUsize)| {
            proxy.trace().into_iter().skip(before.load(Ordering::Relaxed)).map(|it| it.kind)
        };
        [&self.arena.api, &self.arena.calls].into_iter().zip(&self.before).flat_map(since).collect()
    }

    /// Plays `plan`, whatever the scene adds.
    pub async fn act_out(&self, plan: &Plan) -> Struck {
        match plan {
            Plan::None => {
                self.kill_from_the_start(1).await;
                self.swept().await;
            }
            Plan::Api(step, fault) => {
                let order = self.order(step, fault.clone());
                self.kill_from_the_start(1).await;
                met(&order).await;
            }
            Plan::ClaimLostThenRefused => {
                let claim = Step::new("create sessionkillreceipts", 0);
                let lost = self.order(&claim, Fault::LoseAnswer);
                let refused = self.order(&claim, Fault::Answer { status: 403, retry_after: None });
                self.kill_from_the_start(1).await;
                assert_eq!((lost.count(), refused.count()), (1, 1));
            }
            Plan::Watch(step, fault) => self.watch(step, fault).await,
            Plan::OlderList { restarted } => self.older_list(*restarted).await,
            Plan::Call(step, fault) => self.call(step, fault).await,
            Plan::Struck { step, at, strike, replicas } => {
                let order = self.order(step, Fault::Hold(*at));
                return self.strike(&order, *strike, *replicas).await;
            }
        }
        Struck::default()
    }

    fn order(&self, step: &Step, fault: Fault) -> Arc<Order> {
        let proxy: &FaultProxy = if step.is_call() { &self.arena.calls } else { &self.arena.api };
        proxy.order(Rule::of(fault, &step.kind).after(step.nth).times(1))
    }

    pub async fn ask(&self) {
        let spec = self.asked.get().cloned().unwrap_or_else(|| kill_of(&[1, 2, 3], 600).unwrap());
        self.arena.request(REQUEST, spec).await.unwrap();
    }

    /// The request exists before the operators start, so everything that they do is part of the kill.
    async fn kill_from_the_start(&self, replicas: usize) {
        self.ask().await;
        for _ in 0..replicas {
            self.arena.start(self.launch).await.unwrap();
        }
        self.all_is_done().await;
    }

    /// Waits until an operator has listed the finished requests and the receipts.
    async fn swept(&self) {
        let is_listed = |kind: &str| self.arena.api.trace().iter().any(|it| it.kind == kind && it.told.is_some());
        while !["list sessionkills (finished)", "list sessionkillreceipts"].into_iter().all(is_listed) {
            sleep(POLL).await;
        }
    }

    async fn watch(&self, step: &Step, fault: &Fault) {
        let times = if matches!(fault, Fault::Stream(StreamFault::Delay(_) | StreamFault::Duplicate)) { 9 } else { 1 };
        let order = self.arena.api.order(Rule::of(fault.clone(), &step.kind).times(times));
        let is_swallowing = matches!(fault, Fault::Stream(StreamFault::Swallow(_)));
        let watch_seconds = is_swallowing.then_some(SHORT_WATCH_SECONDS);
        self.arena.start(Launch { watch_seconds, ..self.launch }).await.unwrap().ready().await.unwrap();
        met(&order).await;
        self.ask().await;
        self.all_is_done().await;
    }

    /// The old list shows the request as it was before it ended.
    async fn older_list(&self, restarted: bool) {
        let older = self.arena.api.order(Rule::of(Fault::OlderList, "list sessionkills").after(1).times(1));
        if !restarted {
            // The first event is the end of the request, or a change shortly before.
            self.arena.api.order(Rule::of(Fault::Stream(StreamFault::Gone(1)), "watch sessionkills").times(1));
        }
        self.ask().await;
        let first = self.arena.start(self.launch).await.unwrap();
        self.all_is_done().await;
        if restarted {
            first.operator.kill();
            self.arena.start(self.launch).await.unwrap();
        }
        met(&older).await;
        // When it processes a new request, it has seen the events after the old list.
        self.arena.gateway.set_sessions(vec![session(4)]).unwrap();
        self.arena.request("inc-2", kill_of(&[4], 600).unwrap()).await.unwrap();
        self.all_is_done().await;
    }

    async fn call(&self, step: &Step, fault: &GatewayFault) {
        for _ in 0..step.nth {
            // A harmless fault for each of the calls before it.
            self.arena.gateway.inject(harmless(fault));
        }
        self.arena.gateway.inject(fault.clone());
        self.kill_from_the_start(1).await;
        let name = fault.name();
        let calls = self.arena.gateway.calls();
        assert!(calls.iter().any(|call| call.fault.as_ref() == Some(&name)), "the fault was not met");
    }

    async fn strike(&self, order: &Arc<Order>, strike: Strike, replicas: usize) -> Struck {
        self.ask().await;
        for _ in 0..replicas {
            self.arena.start(self.launch).await.unwrap();
        }
        let victim = self.replica(&order.reached().await).await;
        match strike {
            Strike::Kill => victim.operator.kill(),
            Strike::Freeze => victim.operator.pause().unwrap(),
        }
        if strike == Strike::Kill {
            self.has_left(&victim).await;
        }
        if self.scene == Scene::Chosen {
            self.one_more_matches().await;
        }
        order.release();
        self.is_struck.store(true, Ordering::Relaxed);
        let had_settled = self.finished().await;
        match (strike, replicas) {
            (Strike::Kill, 1) => drop(self.arena.start(self.launch).await.unwrap()),
            (Strike::Freeze, 1) => {
                sleep(DEEP_SLEEP).await;
                victim.operator.resume().unwrap();
            }
            (Strike::Freeze, _) => {
                // The request ends by the call if that was on its way, otherwise by the other operator.
                while !self.finished().await {
                    sleep(POLL).await;
                }
                victim.operator.resume().unwrap();
            }
            (Strike::Kill, _) => {}
        }
        self.all_is_done().await;
        let receipts = self.arena.receipts().await.unwrap();
        let own = format!("{}_", victim.client);
        let is_holder = receipts.iter().any(|receipt| receipt.spec.holder_identity.starts_with(&own));
        let is_executed = !self.arena.gateway.kills_per_session().is_empty();
        Struck { is_holder, had_settled, is_executed }
    }

    /// Waits until none of its requests is on its way.
    async fn has_left(&self, victim: &Replica) {
        loop {
            let passed = self.arena.api.trace().into_iter().chain(self.arena.calls.trace());
            let on_their_way = passed.filter(|it| it.client == victim.client && it.told.is_none() && !it.abandoned);
            if on_their_way.filter(|it| !is_closed(it)).count() == 0 {
                return;
            }
            sleep(POLL).await;
        }
    }

    async fn replica(&self, client: &str) -> Arc<Replica> {
        let replicas = self.arena.replicas.lock().await;
        replicas.iter().find(|replica| replica.client == client).unwrap().clone()
    }

    async fn finished(&self) -> bool {
        self.found(REQUEST).await.status.is_some_and(|status| status.completion_time.is_some())
    }

    pub async fn found(&self, name: &str) -> SessionKill {
        self.arena.api_of().get(name).await.unwrap()
    }

    /// Waits until every request has ended and every claim has its record.
    pub async fn all_is_done(&self) {
        while !self.arena.unfinished().await.unwrap().is_empty() {
            sleep(POLL).await;
        }
    }

    /// `None` if the end is one of those permitted, otherwise the difference as text.
    pub async fn compare(&self, permitted: &[End]) -> Option<String> {
        let request = self.found(REQUEST).await;
        let receipt = self.arena.receipts().await.unwrap();
        let receipt = receipt.into_iter().find(|receipt| receipt.spec.session_kill_ref.name == REQUEST);
        let Some(receipt) = receipt else { return Some("the receipt of the request is gone".into()) };
        let (status, record) = (request.status.clone().unwrap(), receipt.status.clone().unwrap());
        let succeeded = status.conditions.iter().find(|condition| condition.type_ == "Succeeded").unwrap();
        let outcome: Outcome = serde_json::from_value(succeeded.reason.as_str().into()).unwrap();
        let sessions = |of: &[sessionkill::api::SessionStatus]| -> Vec<_> {
            of.iter().map(|session| (session.outcome, session.reason)).collect()
        };
        let killed = self.arena.gateway.kills_per_session();
        if killed.keys().any(|(_, id)| *id == testbed::arena::session_id(LATER)) {
            return Some("a session was ended that matched only later".into());
        }
        let is_killed = |number| killed.keys().any(|(_, id)| *id == testbed::arena::session_id(number));
        let is_it = |end: &&End| {
            let (wanted, said, kills) = match self.scene {
                Scene::Chosen => end.of_chosen(),
                _ => (end.says().0, end.says().1.to_vec(), end.says().2),
            };
            let told = if self.scene == Scene::PutBack { Outcome::AlreadyExecuted } else { wanted };
            outcome == told
                && record.outcome == wanted
                && sessions(&status.sessions) == said
                && sessions(&record.sessions) == said
                && [1, 2].into_iter().all(|number| is_killed(number) == kills)
        };
        if permitted.iter().any(|end| is_it(&end)) {
            return None;
        }
        let name = request.name_any();
        Some(format!("{name} may end as {permitted:?}, not so: {}; receipt {}", json!(status), json!(record)))
    }
}

/// Whether its connection was closed on purpose. The trace then has no answer.
fn is_closed(passed: &Passed) -> bool {
    matches!(passed.fault, Some(Fault::Close | Fault::LoseAnswer))
}

fn harmless(fault: &GatewayFault) -> GatewayFault {
    GatewayFault { kind: FaultKind::Delay, delay_ms: None, when: None, ..fault.clone() }
}

async fn met(order: &Order) {
    order.reached().await;
}
