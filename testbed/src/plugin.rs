//! `testbed plugin`: how long `kubectl sessionkill sessions` takes, beside its parts, and how long a selection from a long
//! list takes.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use sessionkill::api::{Mode, SessionKill, SessionKillSpec};
use sessionkill::domain::selection::{Filter, Selecting};
use sessionkill::domain::session::Seen;
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::arena::{Arena, Ground, INSTANCE, Launch, TENANT, kill_of, session};
use crate::operator::{build_operator, build_plugin};
use crate::scratch;

const POLL: Duration = Duration::from_millis(1);
/// Far longer than a list takes.
const LIMIT: Duration = Duration::from_mins(1);

/// Options of `testbed plugin`.
#[derive(Args, Debug)]
#[command(
    about = "Measure kubectl sessionkill: its start, its list of sessions beside the parts of it, and a selection"
)]
pub struct PluginArgs {
    /// How often each is measured.
    #[arg(long, default_value_t = 20)]
    repeats: usize,
    /// The number of sessions of the tenant.
    #[arg(long, default_value_t = 1000)]
    sessions: i64,
    /// The number of rows to select from.
    #[arg(long, default_value_t = 65_536)]
    rows: u64,
}

/// Measures, and prints a line for each part: the median and the longest, in milliseconds.
pub async fn plugin(args: PluginArgs) -> anyhow::Result<()> {
    let (operator, plugin) =
        spawn_blocking(|| anyhow::Ok((build_operator("release")?, build_plugin("release")?))).await??;
    let directory = scratch::directory()?;
    let ground = Arc::new(Ground::prepare(directory.path(), &operator).await?);
    let arena = Arena::set(&ground, "plugin", (1..=args.sessions).map(session).collect()).await?;
    arena.start(Launch::default()).await?.ready().await?;

    let kubeconfig = ground.control_plane.kubeconfig();
    let of_plugin = |line: &'static [&'static str]| (plugin.clone(), line);
    let mut times: Vec<(&str, Vec<Duration>)> =
        ["start", "kubectl get", "DryRun", "sessions"].map(|it| (it, vec![])).into();
    for _ in 0..args.repeats {
        let (program, line) = of_plugin(&["--help"]);
        times[0].1.push(run(&program, line, kubeconfig, &arena.namespace).await?);
        let started = Instant::now();
        ground.control_plane.run_kubectl(&["-n", &arena.namespace, "get", "sessionkills"]).await?;
        times[1].1.push(started.elapsed());
        times[2].1.push(dry_run(&arena).await?);
        let (program, line) = of_plugin(&["sessions", "--instance", INSTANCE, "--tenant", TENANT]);
        times[3].1.push(run(&program, line, kubeconfig, &arena.namespace).await?);
    }
    println!("| part | median ms | longest ms |\n|---|---|---|");
    for (part, times) in &mut times {
        times.sort();
        println!("| {part} | {:.1} | {:.1} |", ms(times[times.len() / 2]), ms(*times.last().context("no repeats")?));
    }
    let median = |part: usize| ms(times[part].1[args.repeats / 2]);
    println!("\n`sessions` beside `kubectl get` and the DryRun: {:.2}", median(3) / (median(1) + median(2)));
    let size = std::fs::metadata(&plugin)?.len();
    println!("the plugin has {size} bytes");
    select(args.rows)
}

/// Runs the plugin, and returns how long that took.
async fn run(plugin: &Path, line: &[&str], kubeconfig: &Path, namespace: &str) -> anyhow::Result<Duration> {
    let mut command = Command::new(plugin);
    command.args(line).args(["-n", namespace, "--kubeconfig"]).arg(kubeconfig).stdin(Stdio::null()).kill_on_drop(true);
    let started = Instant::now();
    let output = command.output().await?;
    let took = started.elapsed();
    ensure!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

/// Makes the DryRun that the plugin makes, and returns how long the operator took for it.
async fn dry_run(arena: &Arena) -> anyhow::Result<Duration> {
    let requests: Api<SessionKill> = arena.api_of();
    let not_after = Timestamp::now() + SignedDuration::from_mins(2);
    let spec = SessionKillSpec {
        mode: Mode::DryRun,
        sessions: vec![],
        selector: Some(serde_json::from_value(json!({"match": {}}))?),
        not_after_time: Time(not_after),
        ..kill_of(&[], 120)?
    };
    let started = Instant::now();
    requests.create(&PostParams::default(), &SessionKill::new("dry-run", spec)).await?;
    loop {
        ensure!(started.elapsed() < LIMIT, "the DryRun does not end");
        if requests.get("dry-run").await?.status.is_some_and(|status| status.completion_time.is_some()) {
            break;
        }
        sleep(POLL).await;
    }
    let took = started.elapsed();
    requests.delete("dry-run", &DeleteParams::default()).await?;
    Ok(took)
}

/// Selects from `rows`, in this build: `cargo run --release` for that of a release.
fn select(rows: u64) -> anyhow::Result<()> {
    let seen = |number: u64| Seen {
        server_ip: "192.168.13.119".to_owned(),
        session_id: 3_221_600_000 + i64::try_from(number).unwrap_or_default(),
        client_ip: format!("10.2.{}.{}", number / 256 % 256, number % 256),
        user: format!("user{}", number % 10),
        status: "ACTIVE".to_owned(),
        command: "Query".to_owned(),
        execute_time: (number * 7919 % 3600).to_string(),
        sql_text: "SELECT customer, SUM(total) FROM orders WHERE created > '2026-01-01' GROUP BY customer".to_owned(),
        ..Seen::default()
    };
    let list: Vec<Seen> = (0..rows).map(seen).collect();
    for (what, criteria) in [
        (
            "two users, a range and a time",
            json!({"users": ["user1", "user2"], "clientCIDRs": ["10.2.0.0/16"], "minExecutionSeconds": 60}),
        ),
        (
            "the same and a pattern",
            json!({
                "users": ["user1"], "clientCIDRs": ["10.2.0.0/16"], "minExecutionSeconds": 60, "sqlTextPattern": "(?i)sum\\(.*group by",
            }),
        ),
        ("everything", json!({})),
    ] {
        let mut spec = kill_of(&[], 60)?;
        spec.selector = Some(serde_json::from_value(json!({"match": criteria, "maxSessions": 100}))?);
        let filter = Filter::of(&spec).map_err(anyhow::Error::msg)?.context("no selector")?;
        let started = Instant::now();
        let mut selecting = Selecting::of(&[Arc::new(filter)]);
        for (key, seen) in (0..).zip(&list) {
            selecting.offer(key, seen, Clone::clone);
        }
        let selected = selecting.finish();
        let took = ms(started.elapsed());
        println!("selected by {what}: {} of {rows} rows in {took:.1} ms", selected[0].matched);
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
