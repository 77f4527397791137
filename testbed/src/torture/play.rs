//! Plays one schedule, and checks the result.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use kube::{Api, api::DeleteParams};
use sessionkill::api::{SessionKill, SessionKillSpec};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::schedule::{RUNNING, Schedule, Strike, What};
use crate::{
    arena::{
        Arena, Clients, Ground, Launch, Replica, Runners, Verdict, interrupt_by_sql, kill_by_sql, kill_sessions,
        session,
    },
    fault_proxy::{At, Fault, FaultProxy, Rule},
    gateway::{Backend, Session},
    sql_relay::{Fate, Rule as SqlRule, SqlRelay},
};

/// How long the work may take after the last fault: claims may be orphaned, and pauses may have grown.
const DRAIN_LIMIT: Duration = Duration::from_mins(6);
/// Short, as events that a watch has lost are found by the list after some watches.
const WATCH_SECONDS: u32 = 10;
/// The number of clients of an engine whose sessions no request names.
const BYSTANDERS: usize = 3;
const POLL: Duration = Duration::from_millis(500);

/// Plays `schedule` in its own arena. Returns when all work is done. An error is a fault of the testbed.
pub async fn play(ground: &Arc<Ground>, schedule: Schedule) -> anyhow::Result<Verdict> {
    let (seed, is_by_sql) = (schedule.seed, schedule.is_by_sql);
    let mut sessions: Vec<_> = (1..=schedule.sessions).map(session).collect();
    let mut backend = Backend::Memory(sessions.clone());
    let mut connected = None;
    if let Some(engine) = &ground.engine {
        let running = if is_by_sql { usize::try_from(RUNNING)? } else { 0 };
        let runners = Runners::connect(engine, running).await?;
        let clients = Clients::connect(engine, sessions.len() - running + BYSTANDERS).await?;
        sessions = runners.sessions().into_iter().chain(clients.sessions()).collect();
        backend = Backend::OceanBase { url: engine.url() };
        connected = Some((clients, runners));
    }
    // Use a new name: a seed may be played more than once.
    let name = format!("seed-{seed}-{:04x}", fastrand::u16(..));
    let arena = if is_by_sql {
        Arena::set_by_sql(ground, &name).await?
    } else {
        Arena::set_before(ground, &name, backend).await?
    };
    let arena = Arc::new(arena);
    let (places, specs) = <(std::sync::Mutex<_>, std::sync::Mutex<_>)>::default();
    let scene = Arc::new(Scene { arena, sessions, places, specs, faults_over: AtomicBool::new(false) });
    let mut verdict = scene.play(schedule).await.with_context(|| format!("seed {seed}"))?;
    if let Some((clients, runners)) = connected {
        let killed = scene.arena.kills_per_session().await?;
        let interrupted = scene.arena.interrupts_per_session().await?;
        verdict = verdict.and(clients.verdict(&name, &killed).await);
        verdict = verdict.and(runners.verdict(&name, &killed, &interrupted).await);
    }
    if verdict.violations.is_empty() {
        scene.arena.clean();
    }
    scene.end().await;
    Ok(verdict)
}

struct Scene {
    arena: Arc<Arena>,
    /// The sessions, by number from 1 on.
    sessions: Vec<Session>,
    /// The running operator in each place.
    places: std::sync::Mutex<HashMap<usize, Arc<Replica>>>,
    specs: std::sync::Mutex<HashMap<usize, SessionKillSpec>>,
    /// Set when faults end. A rule that starts to hold a request after that would hold it for ever, as nothing releases
    /// it.
    faults_over: AtomicBool,
}

impl Scene {
    async fn play(self: &Arc<Self>, schedule: Schedule) -> anyhow::Result<Verdict> {
        for (place, http1) in schedule.http1.iter().enumerate() {
            let launch = Launch { http1: *http1, watch_seconds: Some(WATCH_SECONDS), ..Launch::default() };
            self.start(place, launch).await?;
        }
        let begin = Instant::now();
        let mut going_on = JoinSet::new();
        for event in schedule.events {
            sleep_until(begin + event.at).await;
            let scene = self.clone();
            going_on.spawn(async move { scene.happens(event.what).await });
        }
        let faults_end = Instant::now();
        self.faults_over.store(true, Ordering::SeqCst);
        self.arena.gateway.clear_faults();
        self.arena.api.clear();
        self.arena.calls.clear();
        self.arena.sql.iter().for_each(SqlRelay::clear);
        while let Some(happened) = going_on.join_next().await {
            happened??;
        }
        let quiet = timeout(DRAIN_LIMIT, async {
            while !self.arena.unfinished().await?.is_empty() {
                sleep(POLL).await;
            }
            anyhow::Ok(())
        });
        // Ignore the time-out: the verdict says what is unfinished.
        if let Ok(looked) = quiet.await {
            looked?;
        }
        tracing::debug!(seed = schedule.seed, drained = ?faults_end.elapsed(), "schedule played");
        self.arena.verdict().await
    }

    async fn happens(self: Arc<Self>, what: What) -> anyhow::Result<()> {
        match what {
            What::Ask { request, sessions, seconds } => {
                let sessions: Vec<_> = sessions.into_iter().filter_map(|number| self.named(number)).collect();
                let is_by_sql = self.arena.sql.is_some();
                let spec = if is_by_sql { kill_by_sql(&sessions, seconds) } else { kill_sessions(&sessions, seconds) };
                self.ask(request, spec?).await
            }
            What::Interrupt { request, session, seconds } => {
                let sessions: Vec<_> = self.named(session).into_iter().collect();
                self.ask(request, interrupt_by_sql(&sessions, seconds)?).await
            }
            What::AskAgain { request, pause } => self.ask_again(request, pause).await,
            What::Fail(kind, fault) => {
                self.proxy(kind).order(Rule::of(fault, kind).times(1));
                Ok(())
            }
            What::Lose(kind, fate) => {
                if let Some(relay) = &self.arena.sql {
                    relay.order(SqlRule::of(fate, kind).times(1));
                }
                Ok(())
            }
            What::FailCall(fault) => {
                self.arena.gateway.inject(fault);
                Ok(())
            }
            What::Outage(outage, pause) => self.arena.ground().fail(outage, pause, || {}).await,
            What::Strike(place, strike, pause) => {
                let replica = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
                self.strike(replica, strike, pause, || {}).await
            }
            What::StrikeAt(kind, at, strike, pause) if self.arena.sql.is_some() && is_statement(kind) => {
                self.strike_at_statement(kind, at, strike, pause).await
            }
            What::StrikeAt(kind, at, strike, pause) => {
                let order = self.proxy(kind).order(Rule::of(Fault::Hold(at), kind).times(1));
                if self.faults_over.load(Ordering::SeqCst) {
                    order.release();
                }
                tokio::select! {
                    client = order.reached() => {
                        let replica = self.arena.replicas.lock().await.iter().find(|it| it.client == client).cloned();
                        self.strike(replica, strike, pause, || order.release()).await
                    }
                    // No request came before the faults ended.
                    () = order.released() => Ok(()),
                }
            }
        }
    }

    fn proxy(&self, kind: &str) -> &FaultProxy {
        if is_statement(kind) { &self.arena.calls } else { &self.arena.api }
    }

    /// The session with this number.
    fn named(&self, number: i64) -> Option<Session> {
        self.sessions.get(usize::try_from(number - 1).ok()?).cloned()
    }

    async fn ask(&self, request: usize, spec: SessionKillSpec) -> anyhow::Result<()> {
        self.specs.lock().unwrap_or_else(PoisonError::into_inner).insert(request, spec.clone());
        self.arena.request(&format!("request-{request}"), spec).await
    }

    async fn strike_at_statement(&self, kind: &str, at: At, strike: Strike, pause: Duration) -> anyhow::Result<()> {
        let Some(relay) = &self.arena.sql else { return Ok(()) };
        let fate = if at == At::Request { Fate::HeldBefore } else { Fate::HeldAfter };
        let order = relay.order(SqlRule::of(fate, kind).times(1));
        if self.faults_over.load(Ordering::SeqCst) {
            order.release();
        }
        tokio::select! {
            address = order.reached() => {
                let replica = match address {
                    Some(address) => self.arena.replica_at(address).await,
                    None => None,
                };
                if replica.is_none() {
                    order.release();
                }
                self.strike(replica, strike, pause, || order.release()).await
            }
            // No statement came before the faults ended.
            () = order.released() => Ok(()),
        }
    }

    async fn ask_again(&self, request: usize, pause: Duration) -> anyhow::Result<()> {
        let spec = self.specs.lock().unwrap_or_else(PoisonError::into_inner).get(&request).cloned();
        let Some(spec) = spec else { return Ok(()) };
        let name = format!("request-{request}");
        let requests: Api<SessionKill> = self.arena.api_of();
        let served = self.arena.served().await;
        match requests.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            // Another event is doing the same.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(error).context("cannot delete a request"),
        }
        drop(served);
        sleep(pause).await;
        self.arena.request(&name, spec).await
    }

    /// Strikes `replica`, unless it is down already. After `pause` an operator runs in its place again.
    async fn strike(
        &self,
        replica: Option<Arc<Replica>>,
        strike: Strike,
        pause: Duration,
        then: impl Fn(),
    ) -> anyhow::Result<()> {
        let Some(replica) = replica else { return Ok(()) };
        let place = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            let place = places.iter().find(|(_, it)| it.client == replica.client).map(|(place, _)| *place);
            place.inspect(|place| drop(places.remove(place)))
        };
        let Some(place) = place else {
            then();
            return Ok(());
        };
        match strike {
            Strike::Kill => replica.operator.kill(),
            Strike::Freeze => replica.operator.pause()?,
            Strike::Stop => replica.operator.terminate()?,
        }
        then();
        sleep(pause).await;
        match strike {
            Strike::Freeze => {
                replica.operator.resume()?;
                self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(place, replica);
            }
            Strike::Kill | Strike::Stop => self.start(place, replica.launch).await?,
        }
        Ok(())
    }

    async fn start(&self, place: usize, launch: Launch) -> anyhow::Result<()> {
        let replica = self.arena.start(launch).await?;
        self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(place, replica);
        Ok(())
    }

    /// Ends the processes.
    async fn end(&self) {
        for replica in self.arena.replicas.lock().await.iter() {
            replica.operator.kill();
        }
    }
}

/// Whether it is a statement or a call, and not a request to the API server.
fn is_statement(kind: &str) -> bool {
    kind.starts_with(char::is_uppercase)
}
