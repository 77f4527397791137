//! Runs one load on one contender: makes the requests, watches their ends, checks and counts.

use std::{
    collections::BTreeMap,
    env, iter,
    path::Path,
    process::Command,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use anyhow::{Context, ensure};
use sessionkill::api::VerificationPolicy;

use super::{
    by_sql::database::Database,
    contender::{Contender, Running},
    plan::{self, Plan, Report, Sample, Sessions, Stream},
    record::{Ends, Load, Part, Run, Times},
    request,
    scene::Scene,
    statistics::{order_kept, percentile},
    usage::{CpuSeconds, MemoryBytes, load_average, watch_peak},
};
use crate::{
    gateway::CallRecord,
    operator,
    process::{Output, Process},
};

/// The time after which requests that have not ended are given up.
const LIMIT: Duration = Duration::from_mins(20);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial<'a> {
    /// Counts up from 1.
    pub repeat: u32,
    /// Who is measured.
    pub contender: &'a Contender,
    /// The control plane and gateway.
    pub load: Load,
    /// Sessions that each request names.
    pub sessions: u32,
    /// The verification policy.
    pub verification: VerificationPolicy,
}

/// Measures one load. For a tenant beside another it also measures the parts. Fails if the contender dies, or if the
/// operator does not do everything exactly once.
pub(super) async fn run(
    scene: &Scene,
    running: &Running,
    trial: Trial<'_>,
    directory: &Path,
) -> anyhow::Result<Vec<Run>> {
    let pid = running.process().pid();
    let mut counter = scene.control_plane.count_requests(&running.user)?;
    scene.quiet(&mut counter, pid).await?;
    let mut plan = plan(scene, running, trial);
    match &scene.database {
        None => scene.gateway.set_sessions(request::all_sessions(&plan)?)?,
        Some(database) => {
            plan.server = database.server_ip().into();
            for stream in &mut plan.streams {
                stream.sessions = Sessions::Of(database.open(stream.requests * trial.sessions).await?);
            }
            // Opening them has kept both cores busy.
            scene.idle().await?;
            database.clear();
        }
    }
    scene.gateway.clear_calls();

    let load_average = load_average();
    let resting = watch_peak(pid)?;
    let mut counter = scene.control_plane.count_requests(&running.user)?;
    let before = CpuSeconds::now(pid, &scene.control_plane)?;
    let report = make(&plan, running, directory).await?;
    let cpu_seconds = scene.quiet(&mut counter, pid).await?.since(before);
    let memory_bytes =
        MemoryBytes { resting, peak: operator::peak_rss_bytes(pid)?, afterwards: operator::rss_bytes(pid)? };

    let made = u32::try_from(report.streams.iter().map(Vec::len).sum::<usize>())?;
    let measured = report.streams.last().context("a load without requests")?;
    let calls = scene.gateway.calls();
    let asked = scene.database.as_ref().map(Database::asked);
    let counts = counter.count()?.iter().map(|(request, count)| (request.to_string(), *count));
    let run = Run {
        repeat: trial.repeat,
        contender: trial.contender.name.clone(),
        load: trial.load,
        requests: u32::try_from(measured.len())?,
        times: times(measured).with_context(|| format!("no request ended; {}", running.process().tail()))?,
        api_requests: per_request(counts, made),
        upstream_calls: match &asked {
            None => per_request(by_action(&calls), made),
            Some(asked) => per_request(asked.statements.clone(), made),
        },
        sql_connections: asked.map(|asked| asked.connections),
        throttled_calls: calls.iter().filter(|call| call.result.as_deref() == Some("Throttling.User")).count() as u64,
        cpu_seconds,
        load_cpu_seconds: report.cpu_seconds,
        requests_made: made,
        memory_bytes,
        ends: ends(scene, &plan, &report, made * trial.sessions)?,
        load_average,
    };
    check(run.ends).with_context(|| running.process().tail())?;
    Ok(iter::once(run.clone()).chain(parts(&run, &report)).collect())
}

/// The figures of the lone tenant's requests while the other's were made, and afterwards.
fn parts(run: &Run, report: &Report) -> Vec<Run> {
    let (Load::Lone { crowd, per_second, requests, .. }, [others, lone]) = (run.load, report.streams.as_slice()) else {
        return vec![];
    };
    let made = others.iter().map(|sample| sample.due).fold(0.0, f64::max);
    let (before, after): (Vec<Sample>, Vec<Sample>) = lone.iter().copied().partition(|sample| sample.due < made);
    let parts = [(Part::WhileMade, before), (Part::OnceMade, after)].into_iter();
    let of_part = |(part, samples): (Part, Vec<Sample>)| {
        let (load, requests) = (Load::Lone { crowd, per_second, requests, part }, u32::try_from(samples.len()).ok()?);
        Some(Run { load, requests, times: times(&samples)?, ..run.clone() })
    };
    parts.filter_map(of_part).collect()
}

/// The streams of the load. The measured one comes last.
fn plan(scene: &Scene, running: &Running, trial: Trial<'_>) -> Plan {
    // Use new session IDs in each load of a process, so that no contender has seen them before.
    static NEXT_SESSION: AtomicI64 = AtomicI64::new(1);
    let stream = |tenants: &[String], requests: u32, rate: Option<f64>| Stream {
        tenants: tenants.to_vec(),
        sessions: Sessions::From(
            NEXT_SESSION.fetch_add(i64::from(requests) * i64::from(trial.sessions), Ordering::Relaxed),
        ),
        requests,
        rate,
        while_others_last: false,
    };
    let all = &scene.tenants;
    let streams = match trial.load {
        Load::AtOnce { requests } => vec![stream(all, requests, None)],
        Load::Rate { per_second, requests } => vec![stream(all, requests, Some(per_second))],
        Load::Lone { crowd, per_second, requests, .. } => {
            let lone = stream(&all[1..2], requests, Some(per_second.into()));
            match crowd {
                0 => vec![lone],
                _ => vec![stream(&all[..1], crowd, None), Stream { while_others_last: true, ..lone }],
            }
        }
    };
    Plan {
        sessions_each: trial.sessions,
        verification: trial.verification,
        announce_to: running.announce_to,
        ..scene.plan("load", LIMIT, streams)
    }
}

/// Starts the load process.
pub(super) async fn make(plan: &Plan, running: &Running, directory: &Path) -> anyhow::Result<Report> {
    let file = |kind: &str| directory.join(format!("{}-{kind}", plan.name));
    let (plan_file, report_file) = (file("plan.json"), file("report.json"));
    plan::write(&plan_file, plan)?;
    let mut command = Command::new(env::current_exe()?);
    command.arg("bench-load").args([&plan_file, &report_file]);
    let load = Process::start(&command, Output::together(file("log")))?;
    let status = tokio::select! {
        status = load.ended() => status,
        status = running.process().ended() => {
            anyhow::bail!("the contender ended under the load ({status}); {}", running.process().tail());
        }
    };
    ensure!(status.success(), "the load failed ({status}); {}", load.tail());
    plan::read(&report_file)
}

/// `None` if nothing has ended.
pub(super) fn times(samples: &[Sample]) -> Option<Times> {
    let latencies: Vec<f64> = samples.iter().filter_map(Sample::latency_ms).collect();
    let first = samples.iter().map(|sample| sample.due).min_by(f64::total_cmp)?;
    let last = samples.iter().filter_map(|sample| Some(sample.ended?.at)).max_by(f64::total_cmp)?;
    let mut ranks = BTreeMap::<u32, Vec<u32>>::new();
    for sample in samples {
        if let Some(ended) = sample.ended {
            ranks.entry(sample.tenant).or_default().push(ended.rank);
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    Some(Times {
        p50_ms: percentile(&latencies, 50.0)?,
        p99_ms: percentile(&latencies, 99.0)?,
        max_ms: percentile(&latencies, 100.0)?,
        requests_per_second: latencies.len() as f64 / (last - first).max(1e-6),
        order_kept: order_kept(ranks.values().map(Vec::as_slice)),
    })
}

fn by_action(calls: &[CallRecord]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.action.clone().unwrap_or_default()).or_default() += 1;
    }
    counts
}

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
pub(super) fn per_request(counts: impl IntoIterator<Item = (String, u64)>, requests: u32) -> BTreeMap<String, f64> {
    counts.into_iter().map(|(name, count)| (name, count as f64 / f64::from(requests))).collect()
}

/// What became of the requests of `report`, and of the `sessions` that they named.
pub(super) fn ends(scene: &Scene, plan: &Plan, report: &Report, sessions: u32) -> anyhow::Result<Ends> {
    let kills = match &scene.database {
        None => scene.gateway.kills_per_session(),
        Some(database) => database.kills_per_session(plan.streams.iter().map(|stream| &stream.sessions))?,
    };
    let unfinished = report.streams.iter().flatten().filter(|sample| sample.ended.is_none()).count();
    Ok(Ends {
        unfinished: u32::try_from(unfinished)?,
        sessions,
        sessions_killed: u32::try_from(kills.len())?,
        most_kills_of_one: kills.values().copied().max().unwrap_or_default(),
    })
}

/// Refuses the result of a contender that leaves work undone or does it twice: it is not faster, but wrong.
pub(super) fn check(ends: Ends) -> anyhow::Result<()> {
    ensure!(ends.unfinished == 0, "{} requests did not end", ends.unfinished);
    ensure!(ends.most_kills_of_one <= 1, "a session was killed {} times", ends.most_kills_of_one);
    ensure!(
        ends.sessions_killed == ends.sessions,
        "{} of {} sessions were killed",
        ends.sessions_killed,
        ends.sessions
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::plan::Ended, *};

    #[test]
    fn times_are_of_what_ended_and_order_is_within_a_tenant() {
        let sample = |tenant, due, ended: Option<(f64, u32)>| Sample {
            tenant,
            due,
            ended: ended.map(|(at, rank)| Ended { at, rank }),
        };
        let samples = [
            sample(0, 0.0, Some((0.5, 2))),
            sample(1, 0.1, Some((0.2, 0))),
            sample(0, 0.2, Some((0.4, 1))),
            sample(1, 0.3, None),
        ];
        let times = times(&samples).unwrap();
        assert!((times.p50_ms - 200.0).abs() < 1e-9 && (times.max_ms - 500.0).abs() < 1e-9, "{times:?}");
        assert!((times.requests_per_second - 6.0).abs() < 1e-9, "{times:?}");
        assert_eq!(times.order_kept, Some(-1.0));
        assert_eq!(super::times(&samples[3..]), None);
    }

    #[test]
    fn only_a_run_in_which_everything_was_done_once_counts() {
        let good = Ends { unfinished: 0, sessions: 4, sessions_killed: 4, most_kills_of_one: 1 };
        assert!(check(good).is_ok());
        for wrong in [
            Ends { unfinished: 1, ..good },
            Ends { most_kills_of_one: 2, ..good },
            Ends { sessions_killed: 3, ..good },
            Ends { sessions_killed: 5, ..good },
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn counts_are_divided_by_the_requests_made() {
        let counts = per_request([("create x".to_owned(), 6)], 4);
        assert_eq!(counts, [("create x".to_owned(), 1.5)].into());
    }
}
