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

use super::schedule::{Schedule, Strike, What};
use crate::{
    arena::{Arena, Clients, Ground, Launch, Replica, Verdict, kill_sessions, session},
    fault_proxy::{Fault, FaultProxy, Rule},
    gateway::{Backend, Session},
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
    let seed = schedule.seed;
    let mut sessions: Vec<_> = (1..=schedule.sessions).map(session).collect();
    let mut backend = Backend::Memory(sessions.clone());
    let mut clients = None;
    if let Some(engine) = &ground.engine {
        let connected = Clients::connect(engine, sessions.len() + BYSTANDERS).await?;
        (sessions, backend) = (connected.sessions(), Backend::OceanBase { url: engine.url() });
        clients = Some(connected);
    }
    // Use a new name: a seed may be played more than once.
    let name = format!("seed-{seed}-{:04x}", fastrand::u16(..));
    let arena = Arc::new(Arena::set_before(ground, &name, backend).await?);
    let (places, specs) = <(std::sync::Mutex<_>, std::sync::Mutex<_>)>::default();
    let scene = Arc::new(Scene { arena, sessions, places, specs, faults_over: AtomicBool::new(false) });
    let mut verdict = scene.play(schedule).await.with_context(|| format!("seed {seed}"))?;
    if let Some(clients) = clients {
        verdict = verdict.and(clients.verdict(&name, &scene.arena.gateway.kills_per_session()).await);
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
                let named = |number: i64| self.sessions.get(usize::try_from(number - 1).ok()?).cloned();
                let sessions: Vec<_> = sessions.into_iter().filter_map(named).collect();
                let spec = kill_sessions(&sessions, seconds)?;
                self.specs.lock().unwrap_or_else(PoisonError::into_inner).insert(request, spec.clone());
                self.arena.request(&format!("request-{request}"), spec).await
            }
            What::AskAgain { request, pause } => self.ask_again(request, pause).await,
            What::Fail(kind, fault) => {
                self.proxy(kind).order(Rule::of(fault, kind).times(1));
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
        if kind.starts_with(char::is_uppercase) { &self.arena.calls } else { &self.arena.api }
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
