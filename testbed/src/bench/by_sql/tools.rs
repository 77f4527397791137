//! Measures what somebody could use instead.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};

use super::{
    super::{
        contender::until_ready,
        plan::{Ended, Sample, Sessions},
        record::{Ends, Load, Run},
        run::{Trial, check, per_request, times},
        scene::Scene,
        usage::{CpuSeconds, MemoryBytes, cpu_seconds, load_average, watch_peak},
    },
    database::{Database, VICTIM},
    tool::{Tool, interpreter},
};
use crate::{
    operator, port,
    process::{Output, Process},
};

const LIMIT: Duration = Duration::from_mins(5);

/// Measures one load. The time of a session counts until its `KILL` is answered; that the sessions are gone is checked
/// afterwards. `None` if the tool cannot be measured under this load.
pub(in super::super) async fn run(
    scene: &Scene,
    tool: Tool,
    trial: Trial<'_>,
    directory: &Path,
) -> anyhow::Result<Option<Run>> {
    let database = scene.database.as_ref().context("a tool needs a database")?;
    let (requests, rate) = match trial.load {
        Load::AtOnce { requests } => (requests, None),
        Load::Rate { per_second, requests } if tool == Tool::Script => (requests, Some(per_second)),
        _ => return Ok(None),
    };
    let ids = database.open(requests * trial.sessions).await?;
    scene.idle().await?;
    database.clear();
    let load_average = load_average();
    let name = format!("{}-{}", trial.contender.name, trial.repeat);
    let output = Output::together(directory.join(format!("{name}.log")));
    let (process, before, resting, started) = match tool {
        Tool::Script => {
            let (process, mut jobs) = start_script(database, output).await?;
            let (before, resting) = (cpu_seconds(process.pid())?, watch_peak(process.pid())?);
            let (each, started) = (ids.clone(), Instant::now());
            tokio::spawn(async move {
                for (number, id) in (0_u32..).zip(each) {
                    sleep(due(number, rate).saturating_sub(started.elapsed())).await;
                    jobs.write_all(format!("{id}\n").as_bytes()).await?;
                }
                anyhow::Ok(())
            });
            (process, before, resting, started)
        }
        Tool::PtKill => {
            let started = Instant::now();
            (start_pt_kill(database, output)?, 0.0, 0, started)
        }
    };
    while database.asked().killed.len() < ids.len() {
        if !process.is_running() {
            bail!("it ended early; {}", process.tail());
        }
        ensure!(started.elapsed() < LIMIT, "not all sessions were killed; {}", process.tail());
        sleep(Duration::from_millis(20)).await;
    }
    database.all_gone().await?;
    let cpu = cpu_seconds(process.pid())? - before;
    let (peak, afterwards) = (operator::peak_rss_bytes(process.pid())?, operator::rss_bytes(process.pid())?);
    let asked = database.asked();
    let samples: Vec<Sample> = (0_u32..)
        .zip(&ids)
        .map(|(number, id)| Sample {
            tenant: 0,
            due: due(number, rate).as_secs_f64(),
            ended: asked.killed.get(id).map(|at| Ended { at: at.duration_since(started).as_secs_f64(), rank: number }),
        })
        .collect();
    let killed = ids.iter().filter(|id| asked.killed.contains_key(id)).count();
    let kills = database.kills_per_session([&Sessions::Of(ids)].into_iter())?;
    let ends = Ends {
        unfinished: 0,
        sessions: requests * trial.sessions,
        // All are gone. The engine's log leaves out lines if a thousand sessions are ended within a second.
        sessions_killed: u32::try_from(killed)?,
        most_kills_of_one: kills.values().copied().max().unwrap_or_default(),
    };
    check(ends)?;
    Ok(Some(Run {
        repeat: trial.repeat,
        contender: trial.contender.name.clone(),
        load: trial.load,
        requests,
        times: times(&samples).context("nothing was killed")?,
        api_requests: per_request([], requests),
        upstream_calls: per_request(asked.statements, requests),
        sql_connections: Some(asked.connections),
        throttled_calls: 0,
        cpu_seconds: CpuSeconds { contender: cpu, ..CpuSeconds::default() },
        load_cpu_seconds: 0.0,
        requests_made: requests,
        memory_bytes: MemoryBytes { resting, peak, afterwards },
        ends,
        load_average,
    }))
}

/// When session `number` is to be killed.
fn due(number: u32, rate: Option<f64>) -> Duration {
    rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(f64::from(number) / rate))
}

/// A script that has logged in, and the connection by which it is told of sessions.
async fn start_script(database: &Database, output: Output) -> anyhow::Result<(Process, TcpStream)> {
    let listen = SocketAddr::from(([127, 0, 0, 1], port::free()?));
    let mut command = Command::new(interpreter().await?);
    command.args(["-c", include_str!("kill.py"), &database.host(), Database::USER, Database::PASSWORD]);
    command.arg(listen.port().to_string());
    let process = Process::start(&command, output)?;
    until_ready(&process, async || Ok(TcpStream::connect(listen).await.map(drop)?)).await?;
    let jobs = TcpStream::connect(listen).await?;
    jobs.set_nodelay(true)?;
    Ok((process, jobs))
}

fn start_pt_kill(database: &Database, output: Output) -> anyhow::Result<Process> {
    let mut command = Command::new("pt-kill");
    command.args(["--host", "127.0.0.1", "--port", &database.port().to_string(), "--no-version-check"]);
    command.args(["--user", Database::USER, "--password", Database::PASSWORD]);
    command.args(["--match-user", VICTIM, "--victims", "all", "--kill", "--interval", "1"]);
    Process::start(&command, output)
}
