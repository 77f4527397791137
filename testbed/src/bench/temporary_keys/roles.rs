//! `--roles`: many connections with a role each. Keys are renewed only for those who use them, so each connection kills
//! once in each part of the measurement in which keys are to be issued or renewed.

use std::{
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, api::PostParams};
use sessionkill::api::OceanBaseConnection;
use tokio::time::{Instant, sleep};

use super::{
    super::{
        args::Agenda,
        contender::{Contender, Running},
        plan::{Place, Plan, Sample, Sessions, Stream},
        record::{Phase, RolesRun},
        request, run,
        scene::Scene,
        usage::{MemoryBytes, cpu_seconds, watch_peak},
    },
    ground, sts_calls,
};
use crate::{
    gateway::{Fault, FaultKind, GatewayOptions},
    operator, scratch,
};

/// More than one, as one namespace alone gets half of the calls of STS that are made at once.
const NAMESPACES: u32 = 10;
/// With parts of a minute each, keys live as briefly as STS issues them: for 15 min.
const LIFE_IN_PARTS: u32 = 15;
/// Connections that are made at once.
const AT_ONCE: usize = 32;
/// The time after which a kill that has not ended is given up.
const LIMIT: Duration = Duration::from_mins(10);
/// How long renewals may go on after the last kill.
const RENEWED_LIMIT: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(500);

/// Measures a contender with this many `roles`. Each part of the measurement lasts for `part`, if nothing else makes it
/// longer.
pub(super) async fn measure(
    agenda: &Agenda,
    contender: &Contender,
    roles: u32,
    part: Duration,
) -> anyhow::Result<RolesRun> {
    let directory = scratch::directory()?;
    let (places, life) = (places(roles), part * LIFE_IN_PARTS);
    let options = GatewayOptions { sts: Some(ground::sts(&places, life)), ..agenda.gateway.clone() };
    let scene = Scene::start(directory.path(), options).await?;
    // STS takes as long as the rest of the gateway.
    scene.gateway.inject(Fault::new(FaultKind::Delay).on(sts_calls::ACTION).delayed(agenda.gateway.delay));
    scene.control_plane.apply(&ground::namespaces(&places).to_string()).await?;
    let running = contender.start(&scene, directory.path()).await?;
    let mut counter = scene.control_plane.count_requests(&running.user)?;
    scene.quiet(&mut counter, running.process().pid()).await?;
    let stage = Stage { scene: &scene, running: &running, directory: directory.path(), places: &places };

    let (before, _) = stage.rest(part).await?;
    let (first_keys, issued) = stage.first_keys(life).await?;
    scene.quiet(&mut counter, running.process().pid()).await?;
    let (at_rest, _) = stage.rest(part).await?;
    let rate = f64::from(roles) / part.as_secs_f64();
    let (in_use, issued_since) = stage.phase(stage.kill(Some(rate))).await?;
    until_due(issued.max(issued_since), life).await;
    let (renewing, _) = stage.phase(stage.kill_and_renew(rate)).await?;
    running.stop().await;
    scene.stop().await;
    Ok(RolesRun {
        contender: contender.name.clone(),
        roles,
        namespaces: NAMESPACES.min(roles),
        key_seconds: life.as_secs(),
        before,
        first_keys,
        at_rest,
        in_use,
        renewing,
    })
}

/// The connections, over some namespaces in turn.
fn places(roles: u32) -> Vec<Place> {
    let place = |number: u32| Place {
        namespace: format!("team-{}", number % NAMESPACES),
        connection: format!("ob-{number:04}"),
    };
    (0..roles).map(place).collect()
}

/// Waits until the last key, which was `issued` then, is due to be renewed, and all others with it: when a quarter of its
/// life is left.
async fn until_due(issued: Option<Timestamp>, life: Duration) {
    // The operator may count a second more than `life`, as the end of a key is told in whole seconds.
    let due_after = SignedDuration::try_from((life + Duration::from_secs(1)) * 3 / 4).unwrap_or_default();
    let left = issued.map(|issued| (issued + due_after).duration_since(Timestamp::now()));
    sleep(left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()).await;
}

/// What the parts are measured on.
struct Stage<'a> {
    scene: &'a Scene,
    running: &'a Running,
    /// For the files of the load.
    directory: &'a Path,
    places: &'a [Place],
}

impl Stage<'_> {
    /// Nothing happens for `length`.
    async fn rest(&self, length: Duration) -> anyhow::Result<(Phase, Option<Timestamp>)> {
        let nothing = async {
            sleep(length).await;
            Ok(vec![])
        };
        self.phase(nothing).await
    }

    /// Makes all connections, and kills with each of them.
    async fn first_keys(&self, life: Duration) -> anyhow::Result<(Phase, Option<Timestamp>)> {
        // The default for keys of 15 min, and no more than a fraction of the life of shorter ones: a key that does not
        // outlive a call is not used.
        let call_seconds = (life.as_secs() / 90).clamp(1, 10);
        let all = async {
            self.connect(call_seconds).await?;
            self.kill(None).await
        };
        self.phase(all).await
    }

    async fn connect(&self, call_seconds: u64) -> anyhow::Result<()> {
        let gateway = &self.scene.gateway.url();
        let made = self.places.iter().map(|place| async move {
            let connections: Api<OceanBaseConnection> = Api::namespaced(self.scene.client.clone(), &place.namespace);
            let connection = serde_json::from_value(ground::connection(place, gateway, call_seconds))?;
            connections.create(&PostParams::default(), &connection).await?;
            anyhow::Ok(())
        });
        stream::iter(made).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Kills a session with each connection, at this rate or at once. An error if one was not killed, or was killed twice.
    async fn kill(&self, rate: Option<f64>) -> anyhow::Result<Vec<Sample>> {
        let plan = self.plan(rate)?;
        self.scene.gateway.set_sessions(request::all_sessions(&plan)?)?;
        let report = run::make(&plan, self.running, self.directory).await?;
        run::check(run::ends(self.scene, &plan, &report, plan.streams[0].requests)?)?;
        Ok(report.streams.into_iter().flatten().collect())
    }

    /// Kills at this rate, and then waits until all keys have been asked for anew, at most for [`RENEWED_LIMIT`]: kills do
    /// not wait for renewals.
    async fn kill_and_renew(&self, rate: f64) -> anyhow::Result<Vec<Sample>> {
        let samples = self.kill(Some(rate)).await?;
        let deadline = Instant::now() + RENEWED_LIMIT;
        while Instant::now() < deadline {
            let calls = self.scene.gateway.calls();
            let answered = calls.iter().filter(|call| sts_calls::is_of_sts(call) && call.answered_time.is_some());
            if answered.count() >= self.places.len() {
                break;
            }
            sleep(POLL).await;
        }
        Ok(samples)
    }

    fn plan(&self, rate: Option<f64>) -> anyhow::Result<Plan> {
        // No session was seen in an earlier part.
        static NEXT_SESSION: AtomicI64 = AtomicI64::new(1);
        let requests = u32::try_from(self.places.len())?;
        let stream = Stream {
            tenants: self.scene.tenants.clone(),
            sessions: Sessions::From(NEXT_SESSION.fetch_add(requests.into(), Ordering::Relaxed)),
            requests,
            rate,
            while_others_last: false,
        };
        Ok(Plan { places: self.places.to_vec(), ..self.scene.plan("roles", LIMIT, vec![stream]) })
    }

    /// Measures while `kills` are made. Returns when the last key was issued, too.
    async fn phase(
        &self,
        kills: impl Future<Output = anyhow::Result<Vec<Sample>>>,
    ) -> anyhow::Result<(Phase, Option<Timestamp>)> {
        let pid = self.running.process().pid();
        self.scene.gateway.clear_calls();
        let resting = watch_peak(pid)?;
        let (started, cpu_before) = (Instant::now(), cpu_seconds(pid)?);
        let samples = kills.await?;
        let (seconds, cpu_after) = (started.elapsed().as_secs_f64(), cpu_seconds(pid)?);
        let of_sts = sts_calls::times(&self.scene.gateway.calls());
        let times = run::times(&samples);
        let phase = Phase {
            seconds,
            kills: u32::try_from(samples.len())?,
            p50_ms: times.map(|times| times.p50_ms),
            p99_ms: times.map(|times| times.p99_ms),
            cpu_seconds: cpu_after - cpu_before,
            memory_bytes: MemoryBytes {
                resting,
                peak: operator::peak_rss_bytes(pid)?,
                afterwards: operator::rss_bytes(pid)?,
            },
            sts_calls: u32::try_from(of_sts.len())?,
            sts_at_once: sts_calls::at_once(&of_sts),
        };
        Ok((phase, of_sts.iter().map(|(_, answered)| *answered).max()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_in_all_namespaces_and_have_names_of_their_own() {
        let places = places(25);
        let of_first = places.iter().filter(|place| place.namespace == "team-0").count();
        assert_eq!((places.len(), of_first), (25, 3));
        assert!(places.iter().enumerate().all(|(n, place)| !places[..n].contains(place)));
    }
}
