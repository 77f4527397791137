//! Plays a plan.

use std::sync::Arc;

use serde_json::json;
use sessionkill::api::{SessionKill, SessionStatus};
use testbed::arena::{Arena, Clients, Ground, Launch, Replica, Verdict, kill_by_sql};
use testbed::fault_proxy::{At, Fault, Rule};
use testbed::gateway::Session;
use testbed::sql_relay::{Fate, Rule as SqlRule, SqlRelay};
use testbed::sql_statements::{COMPARE, KILL, kind_of};
use tokio::time::{sleep, timeout};

use super::permitted::{Reached, Told, may_end};
use super::plan::Plan;
use crate::plan::{Step, Strike};
use crate::stage::{DEEP_SLEEP, LIMIT, POLL, REQUEST};

/// The sessions that the request names.
const NAMED: usize = 2;

/// The result of a plan.
#[derive(Default)]
pub struct Played {
    /// The kind of each statement and request, in order.
    pub trace: Vec<String>,
    pub verdict: Verdict,
    /// What was told of each session in the end.
    pub told: Vec<Told>,
    /// The problems as text.
    pub problems: Vec<String>,
    /// A statement without a planned fault timed out, and nothing is wrong but that the end is another.
    pub is_disturbed: bool,
}

/// Plays `plan` in its own arena. Two sessions are named, and one is not.
pub async fn play(ground: &Arc<Ground>, name: &str, plan: &Plan) -> Played {
    let clients = Clients::connect(ground.engine.as_ref().unwrap(), NAMED + 1).await.unwrap();
    let stage = Stage {
        arena: Arena::set_by_sql(ground, name).await.unwrap(),
        sessions: clients.sessions().into_iter().take(NAMED).collect(),
    };
    let mut problems = vec![];
    let reached = timeout(LIMIT, stage.act(plan)).await;
    if reached.is_err() {
        problems.push(format!("it does not end: {:?}", stage.arena.unfinished().await));
    }
    let reached = reached.unwrap_or_default();
    let kills = stage.arena.kills_per_session().await.unwrap();
    let verdict = stage.arena.verdict().await.unwrap().and(clients.verdict(name, &kills).await);
    let is_disturbed = verdict.violations.is_empty()
        && stage.arena.logs().await.unwrap().contains("no complete answer before the deadline");
    if problems.is_empty() {
        problems.extend(
            stage
                .compare(plan, reached, |session| kills.contains_key(&(session.server_ip.clone(), session.session_id)))
                .await,
        );
    }
    problems.extend(verdict.violations.iter().cloned());
    let status = stage.found().await.status.unwrap_or_default();
    let told = told(&status.sessions);
    if problems.is_empty() {
        stage.arena.clean();
    } else {
        problems.push(format!("its statements: {}", stage.statements().join(", ")));
        problems.push(format!("see {}", stage.arena.directory().display()));
    }
    Played { trace: stage.trace(), verdict, told, problems, is_disturbed }
}

struct Stage {
    arena: Arena,
    sessions: Vec<Session>,
}

impl Stage {
    fn relay(&self) -> &SqlRelay {
        self.arena.sql.as_ref().unwrap()
    }

    fn statements(&self) -> Vec<String> {
        self.relay().trace().iter().map(|statement| kind_of(statement).to_owned()).collect()
    }

    fn trace(&self) -> Vec<String> {
        let requests = self.arena.api.trace().into_iter().map(|it| it.kind);
        self.statements().into_iter().chain(requests).collect()
    }

    async fn act(&self, plan: &Plan) -> Reached {
        match plan {
            Plan::None => self.kill_from_the_start().await,
            Plan::Lost(step, fate) => {
                let order = self.relay().order(rule(step, *fate));
                self.kill_from_the_start().await;
                order.reached().await;
            }
            Plan::Api(step, fault) => {
                let order = self.arena.api.order(Rule::of(fault.clone(), &step.kind).after(step.nth).times(1));
                self.kill_from_the_start().await;
                order.reached().await;
            }
            Plan::Struck { step, at, strike, replicas } if step.is_call() => {
                let fate = if *at == At::Request { Fate::HeldBefore } else { Fate::HeldAfter };
                let order = self.relay().order(rule(step, fate));
                self.begin(*replicas).await;
                let address = order.reached().await.unwrap();
                let victim = self.arena.replica_at(address).await.expect("it has a socket");
                // A statement goes on while its operator cannot: for the server it comes too late.
                let is_late = fate == Fate::HeldBefore && *strike == Strike::Freeze;
                let reached = self.strike(&victim, *strike, *replicas, is_late, || order.release()).await;
                let needs_claim = *strike == Strike::Kill && [COMPARE, KILL].contains(&step.kind.as_str());
                assert!(!needs_claim || reached == Reached::Claim, "{step} without a claim: {reached:?}");
                return reached;
            }
            Plan::Struck { step, at, strike, replicas } => {
                let held = Rule::of(Fault::Hold(*at), &step.kind).after(step.nth).times(1);
                let order = self.arena.api.order(held);
                self.begin(*replicas).await;
                let client = order.reached().await;
                let replicas_now = self.arena.replicas.lock().await.clone();
                let victim = replicas_now.into_iter().find(|replica| replica.client == client).unwrap();
                return self.strike(&victim, *strike, *replicas, false, || order.release()).await;
            }
        }
        Reached::default()
    }

    /// The request exists before the operators start, so everything that they do is part of the kill.
    async fn begin(&self, replicas: usize) {
        self.arena.request(REQUEST, kill_by_sql(&self.sessions, 600).unwrap()).await.unwrap();
        for _ in 0..replicas {
            self.arena.start(Launch::default()).await.unwrap();
        }
    }

    async fn kill_from_the_start(&self) {
        self.begin(1).await;
        self.all_is_done().await;
    }

    async fn strike(
        &self,
        victim: &Replica,
        strike: Strike,
        replicas: usize,
        is_late: bool,
        release: impl Fn(),
    ) -> Reached {
        let mut reached = Reached::default();
        match strike {
            Strike::Kill => {
                victim.operator.kill();
                reached = self.reached().await;
                release();
                if replicas == 1 {
                    self.arena.start(Launch::default()).await.unwrap();
                }
            }
            Strike::Freeze => {
                victim.operator.pause().unwrap();
                if !is_late {
                    release();
                }
                // Past the dispatch deadline, and until the other operator has told the end.
                sleep(DEEP_SLEEP).await;
                release();
                while replicas > 1 && !self.finished().await {
                    sleep(POLL).await;
                }
                victim.operator.resume().unwrap();
            }
        }
        self.all_is_done().await;
        reached
    }

    async fn reached(&self) -> Reached {
        match (self.finished().await, self.arena.receipts().await.unwrap().as_slice()) {
            (true, _) => Reached::End,
            (false, []) => Reached::Nothing,
            (false, _) => Reached::Claim,
        }
    }

    async fn found(&self) -> SessionKill {
        self.arena.api_of().get(REQUEST).await.unwrap()
    }

    async fn finished(&self) -> bool {
        self.found().await.status.is_some_and(|status| status.completion_time.is_some())
    }

    /// Waits until the request has ended and every claim has its record.
    async fn all_is_done(&self) {
        while !self.arena.unfinished().await.unwrap().is_empty() {
            sleep(POLL).await;
        }
    }

    /// `None` if the request ended as it may, and its receipt has the same.
    async fn compare(
        &self,
        plan: &Plan,
        reached: Reached,
        is_executed: impl Fn(&SessionStatus) -> bool,
    ) -> Option<String> {
        let status = self.found().await.status.unwrap();
        let receipts = self.arena.receipts().await.unwrap();
        let [receipt] = receipts.as_slice() else { return Some(format!("{} receipts", receipts.len())) };
        let record = receipt.status.clone().unwrap();
        let may = status.sessions.iter().zip(told(&status.sessions)).enumerate();
        let is_permitted =
            may.into_iter().all(|(nth, (session, told))| may_end(plan, reached, nth, told, is_executed(session)));
        if is_permitted && told(&status.sessions) == told(&record.sessions) {
            return None;
        }
        let executed: Vec<_> = status.sessions.iter().map(is_executed).collect();
        Some(format!("it may not end so: {}; receipt {}; executed {executed:?}", json!(status), json!(record)))
    }
}

fn told(of: &[SessionStatus]) -> Vec<Told> {
    of.iter().map(|session| (session.outcome, session.reason)).collect()
}

fn rule(step: &Step, fate: Fate) -> SqlRule {
    SqlRule::of(fate, &step.kind).after(step.nth).times(1)
}
