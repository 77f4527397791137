//! `--hostile`: a victim's kills, first alone and then beside attacks by users of other namespaces.

mod plain_writes;
mod table;
mod victim;

use std::path::Path;

use anyhow::{Context, ensure};

pub(super) use self::table::{report, verdict};
use self::victim::Victims;
use super::{
    args::Agenda,
    contender::{Contender, Running},
    plan::{CONNECTION, NAMESPACE},
    record::{AttackRun, Kills},
    scene::Scene,
    usage::{MemoryBytes, watch_peak},
};
use crate::{
    base,
    hostile::{Attack, Ground, Kind, Needs, Tally, Victim},
    operator, scratch,
};

const SWEEP_SECONDS: u32 = 2;

/// Makes one attack on one contender, on a control plane of its own. An error if the contender ended.
pub(super) async fn measure(agenda: &Agenda, contender: &Contender, kind: Kind) -> anyhow::Result<AttackRun> {
    let directory = scratch::directory()?;
    let attack = kind.arm(agenda.hostile.size).await?;
    let scene = Scene::start(directory.path(), agenda.gateway.clone()).await?;
    if agenda.hostile.without_policies {
        let all = ["delete", "validatingadmissionpolicybindings", "--all"];
        scene.control_plane.run_kubectl(&all).await?;
    } else {
        base::install_limits(&scene.control_plane).await?;
    }
    let running = contender.start_with(&needs(attack.as_ref()), &scene, directory.path()).await?;
    let victims = Victims { scene: &scene, directory: directory.path(), seconds: agenda.hostile.seconds };
    let alone = victims.kill(&running).await?;
    ensure!(alone.killed == alone.requests, "{} of {} kills ended before the attack", alone.killed, alone.requests);
    let stage = Stage { scene: &scene, contender, victims: &victims, attack: attack.as_ref(), alone };
    let run = match kind {
        Kind::Backlog => stage.restart(running, directory.path()).await?,
        _ => stage.strike(running).await?,
    };
    drop(attack);
    scene.stop().await;
    ensure!(run.made + run.refused > 0, "nothing of the attack was made");
    Ok(AttackRun { attack: kind.name(), ..run })
}

/// The operator's options for an attack. It sweeps often, so that a sweep ends during the measurement.
fn needs(attack: &dyn Attack) -> Needs {
    Needs { sweep_seconds: Some(SWEEP_SECONDS), ..attack.needs() }
}

/// What one attack is made on.
struct Stage<'a> {
    scene: &'a Scene,
    contender: &'a Contender,
    victims: &'a Victims<'a>,
    attack: &'a dyn Attack,
    /// The victim's kills before the attack.
    alone: Kills,
}

impl Stage<'_> {
    /// Attacks a running contender, and then ends it.
    async fn strike(self, running: Running) -> anyhow::Result<AttackRun> {
        let pid = running.process().pid();
        let resting = watch_peak(pid)?;
        let ground = self.ground(&running)?;
        self.attack.lay(&ground).await?;
        let mut counter = self.scene.control_plane.count_requests(&running.user)?;
        let beside = tokio::select! {
            beside = self.victims.kill(&running) => beside?,
            failed = until_failure(self.attack, &ground) => return Err(failed.context("the attack failed")),
        };
        let memory_bytes =
            MemoryBytes { resting, peak: operator::peak_rss_bytes(pid)?, afterwards: operator::rss_bytes(pid)? };
        let api_requests = counter.count()?.values().sum();
        let run = self.run(&ground.tally, beside, memory_bytes);
        running.stop().await;
        Ok(AttackRun { api_requests, ..run })
    }

    /// Prepares the attack while no contender runs, and then starts a contender beside it twice.
    async fn restart(self, running: Running, directory: &Path) -> anyhow::Result<AttackRun> {
        let ground = self.ground(&running)?;
        let resting = operator::rss_bytes(running.process().pid())?;
        running.stop().await;
        self.attack.lay(&ground).await?;
        let mut runs = vec![];
        for _ in 0..2 {
            let running = self.contender.start_with(&needs(self.attack), self.scene, directory).await?;
            let pid = running.process().pid();
            let mut counter = self.scene.control_plane.count_requests(&running.user)?;
            let beside = self.victims.kill(&running).await?;
            let memory_bytes =
                MemoryBytes { resting, peak: operator::peak_rss_bytes(pid)?, afterwards: operator::rss_bytes(pid)? };
            let api_requests = counter.count()?.values().sum();
            let ready_ms = Some(running.ready_after.as_secs_f64() * 1000.0);
            runs.push(AttackRun { api_requests, ready_ms, ..self.run(&ground.tally, beside, memory_bytes) });
            running.stop().await;
        }
        runs.into_iter().reduce(|one, other| worse(one, &other)).context("it was not started")
    }

    fn ground(&self, running: &Running) -> anyhow::Result<Ground<'_>> {
        let victim = Victim {
            namespace: NAMESPACE.into(),
            connection: CONNECTION.into(),
            instance: self.scene.instance.clone(),
            tenant: self.scene.tenants[0].clone(),
        };
        let health = running.health().context("only an operator is attacked")?;
        Ok(Ground::new(&self.scene.control_plane, self.scene.client.clone(), victim, health))
    }

    fn run(&self, tally: &Tally, beside: Kills, memory_bytes: MemoryBytes) -> AttackRun {
        let (made, refused) = tally.counts();
        AttackRun {
            contender: self.contender.name.clone(),
            attack: String::new(),
            made,
            refused,
            first_refusal: tally.first_refusal(),
            alone: self.alone,
            beside,
            memory_bytes,
            api_requests: 0,
            ready_ms: None,
        }
    }
}

/// Returns only if the attack failed. A successful attack stays in force.
async fn until_failure(attack: &dyn Attack, ground: &Ground<'_>) -> anyhow::Error {
    match attack.strike(ground).await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}

/// The worse value of two runs beside the same attack, and the sum of their requests.
fn worse(one: AttackRun, other: &AttackRun) -> AttackRun {
    let longest = [one.ready_ms, other.ready_ms].into_iter().flatten().reduce(f64::max);
    AttackRun {
        beside: one.beside.worse(other.beside),
        memory_bytes: MemoryBytes {
            peak: one.memory_bytes.peak.max(other.memory_bytes.peak),
            afterwards: one.memory_bytes.afterwards.max(other.memory_bytes.afterwards),
            ..one.memory_bytes
        },
        api_requests: one.api_requests + other.api_requests,
        ready_ms: longest,
        ..one
    }
}
