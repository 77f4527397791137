//! `--soak`: kills for a long time, and removes each request soon after, to see whether anything grows.

use std::{fs, time::Duration};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, api::ListParams};
use sessionkill::api::SessionKill;
use tokio::time::{Instant, sleep};

use super::{
    args::Agenda,
    contender::Contender,
    markdown::{MEBIBYTE, table},
    plan::{NAMESPACE, Plan, Sessions, Stream},
    record::{Held, Record, SoakRun},
    request, run,
    scene::Scene,
};
use crate::{operator, scratch};

const PER_SECOND: u32 = 5;
const TTL: Duration = Duration::from_secs(10);
/// A request is not removed before its `notAfterTime`.
const LIFE: Duration = Duration::from_secs(10);
/// When the process has settled: caches are filled, and the first requests are removed.
const SETTLED: Duration = Duration::from_mins(5);
const LIMIT: Duration = Duration::from_mins(2);
/// How late a request may be removed.
const GRACE: SignedDuration = SignedDuration::from_mins(1);
/// How many of the coming sessions exist ahead of time. With all of them, process lists would be too long.
const AHEAD: u32 = 300;

/// What the process `pid` holds now.
fn held(pid: u32) -> anyhow::Result<Held> {
    let entries = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        Ok::<_, anyhow::Error>(fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count())
    };
    Ok(Held { memory_bytes: operator::rss_bytes(pid)?, descriptors: entries("fd")?, threads: entries("task")? })
}

/// Lets one contender kill for `length`, on its own control plane. Fails if the contender ended.
pub(super) async fn soak(agenda: &Agenda, contender: &Contender, length: Duration) -> anyhow::Result<SoakRun> {
    let directory = scratch::directory()?;
    let scene = Scene::start(directory.path(), agenda.gateway.clone()).await?;
    let running = contender.start(&scene, directory.path()).await?;
    let pid = running.process().pid();
    let plan = plan(&scene, length);
    let requests = plan.streams[0].requests;
    let made = run::make(&plan, &running, directory.path());
    let early = async {
        sleep(SETTLED.min(length / 6)).await;
        held(pid)
    };
    let (_, early, ()) = tokio::try_join!(made, early, provide_sessions(&scene, &plan))?;
    let late = held(pid)?;
    let (overdue, cleared_after) = (overdue(&scene).await?, cleared(&scene).await?);
    let kills = scene.gateway.kills_per_session();
    running.stop().await;
    scene.stop().await;
    Ok(SoakRun {
        contender: contender.name.clone(),
        requests,
        killed: u32::try_from(kills.len())?,
        most_kills_of_one: kills.values().copied().max().unwrap_or_default(),
        early,
        late,
        overdue,
        cleared_after,
    })
}

fn plan(scene: &Scene, length: Duration) -> Plan {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded up, and positive")]
    let requests = (length.as_secs_f64() * f64::from(PER_SECOND)).ceil() as u32;
    let stream = Stream {
        tenants: scene.tenants.clone(),
        sessions: Sessions::From(1),
        requests,
        rate: Some(PER_SECOND.into()),
        while_others_last: false,
    };
    Plan {
        lives_for: Some(LIFE),
        ttl_seconds: i32::try_from(TTL.as_secs()).ok(),
        ..scene.plan("soak", LIMIT, vec![stream])
    }
}

/// Adds sessions shortly before they are to be killed.
async fn provide_sessions(scene: &Scene, plan: &Plan) -> anyhow::Result<()> {
    let sessions = request::sessions(plan, &plan.streams[0])?;
    let mut rest = sessions.chunks(AHEAD as usize);
    scene.gateway.set_sessions(rest.next().unwrap_or_default().to_vec())?;
    for more in rest {
        scene.gateway.add_sessions(more.to_vec())?;
        sleep(Duration::from_secs((AHEAD / PER_SECOND).into())).await;
    }
    Ok(())
}

/// The requests that should have been removed more than a minute ago.
async fn overdue(scene: &Scene) -> anyhow::Result<u32> {
    let session_kills: Api<SessionKill> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let latest = Timestamp::now() - GRACE - SignedDuration::try_from(TTL)?;
    let is_overdue = |request: &SessionKill| {
        let completed = request.status.as_ref().and_then(|status| status.completion_time.as_ref());
        completed
            .is_some_and(|completed| completed.0 < latest && request.spec.not_after_time.0 < Timestamp::now() - GRACE)
    };
    let all = session_kills.list(&ListParams::default()).await?.items;
    Ok(u32::try_from(all.iter().filter(|request| is_overdue(request)).count())?)
}

/// Waits until no request is left.
async fn cleared(scene: &Scene) -> anyhow::Result<Option<f64>> {
    let session_kills: Api<SessionKill> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        if session_kills.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty() {
            return Ok(Some(started.elapsed().as_secs_f64()));
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok(None)
}

/// A table of all soaks. Empty if there is none.
pub(super) fn report(records: &[Record]) -> String {
    #[allow(clippy::cast_precision_loss, reason = "memory in MiB with one decimal")]
    let memory = |held: Held| format!("{:.1}", held.memory_bytes as f64 / MEBIBYTE);
    let row = |run: &SoakRun| {
        vec![
            run.contender.clone(),
            run.requests.to_string(),
            (run.requests - run.killed.min(run.requests)).to_string(),
            memory(run.early),
            memory(run.late),
            run.early.descriptors.to_string(),
            run.late.descriptors.to_string(),
            run.early.threads.to_string(),
            run.late.threads.to_string(),
            run.overdue.to_string(),
            run.cleared_after.map_or("more than 120".into(), |seconds| format!("{seconds:.0}")),
        ]
    };
    let head = [
        "contender",
        "kills",
        "not in time",
        "memory early, MiB",
        "at the end",
        "descriptors early",
        "at the end",
        "threads early",
        "at the end",
        "over a minute overdue",
        "none left after, s",
    ];
    table("For long", &head, runs(records).map(row).collect())
}

/// Fails if a kill did not end, or was sent twice.
pub(super) fn verdict(records: &[Record]) -> anyhow::Result<()> {
    for run in runs(records) {
        let SoakRun { contender, requests, killed, most_kills_of_one, .. } = run;
        ensure!(*most_kills_of_one <= 1, "{contender}: a session was killed {most_kills_of_one} times");
        ensure!(killed == requests, "{contender}: {killed} of {requests} sessions were killed");
    }
    Ok(())
}

fn runs(records: &[Record]) -> impl Iterator<Item = &SoakRun> {
    records.iter().filter_map(|record| if let Record::Soak(run) = record { Some(run.as_ref()) } else { None })
}
