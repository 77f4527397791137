//! Summarises runs of the same load, and compares contenders. Pure.

use std::collections::BTreeMap;

use super::{
    record::{CpuSpread, Load, Ratios, Record, Run, Start, Summary},
    statistics::Spread,
};

/// With fewer requests, the processor time would be mostly that of an idle second.
const ENOUGH_FOR_CPU: u32 = 100;

/// A summary for each load on each contender, load by load, in the order in which they were first measured.
pub(super) fn summaries(records: &[Record]) -> Vec<Summary> {
    let runs: Vec<&Run> = records.iter().filter_map(run_of).collect();
    let mut summaries: Vec<Summary> = vec![];
    for run in &runs {
        if !summaries.iter().any(|other| other.load == run.load && other.contender == run.contender) {
            let same = |other: &&&Run| other.load == run.load && other.contender == run.contender;
            let same: Vec<&Run> = runs.iter().filter(same).copied().collect();
            summaries.extend(summary(&same));
        }
    }
    let order = loads(&summaries);
    summaries.sort_by_key(|summary| order.iter().position(|load| *load == summary.load));
    let medians = summaries.clone();
    for summary in &mut summaries {
        let others = medians.iter().filter(|it| it.load == summary.load && it.contender != summary.contender);
        summary.ratios = others.map(|other| (other.contender.clone(), ratios(summary, other))).collect();
    }
    summaries
}

/// The loads, in the order in which they were first measured.
pub(super) fn loads(summaries: &[Summary]) -> Vec<Load> {
    let mut loads = vec![];
    for summary in summaries {
        if !loads.contains(&summary.load) {
            loads.push(summary.load);
        }
    }
    loads
}

/// All starts of one contender beside the same number of objects, with that number.
pub(super) fn starts(records: &[Record]) -> BTreeMap<(u32, String), Vec<&Start>> {
    let mut starts = BTreeMap::<_, Vec<&Start>>::new();
    for record in records {
        if let Record::Start(start) = record {
            starts.entry((start.finished_objects, start.contender.clone())).or_default().push(start);
        }
    }
    starts
}

/// The run, if the record is one.
pub(super) fn run_of(record: &Record) -> Option<&Run> {
    match record {
        Record::Run(run) => Some(run),
        _ => None,
    }
}

fn summary(runs: &[&Run]) -> Option<Summary> {
    let first = runs.first()?;
    let spread = |value: &dyn Fn(&Run) -> f64| Spread::of(runs.iter().map(|run| value(run)));
    let per_thousand = |seconds: f64, run: &Run| seconds * 1000.0 / f64::from(run.requests_made);
    let cpu = |value: &dyn Fn(&Run) -> f64| spread(&|run| per_thousand(value(run), run));
    let cpu_per_thousand = || {
        Some(CpuSpread {
            contender: cpu(&|run| run.cpu_seconds.contender)?,
            api_server: cpu(&|run| run.cpu_seconds.api_server)?,
            etcd: cpu(&|run| run.cpu_seconds.etcd)?,
        })
    };
    Some(Summary {
        contender: first.contender.clone(),
        load: first.load,
        runs: u32::try_from(runs.len()).ok()?,
        p50_ms: spread(&|run| run.times.p50_ms)?,
        p99_ms: spread(&|run| run.times.p99_ms)?,
        max_ms: spread(&|run| run.times.max_ms)?,
        requests_per_second: spread(&|run| run.times.requests_per_second)?,
        order_kept: Spread::of(runs.iter().filter_map(|run| run.times.order_kept)),
        api_requests: spread(&|run| run.api_requests.values().sum())?,
        upstream_calls: spread(&|run| run.upstream_calls.values().sum())?,
        cpu_per_thousand: if first.requests_made < ENOUGH_FOR_CPU { None } else { cpu_per_thousand() },
        #[allow(clippy::cast_precision_loss, reason = "far less than 2^52")]
        peak_bytes: spread(&|run| run.memory_bytes.peak as f64),
        ratios: BTreeMap::new(),
    })
}

fn ratios(one: &Summary, other: &Summary) -> Ratios {
    let ratio = |value: &dyn Fn(&Summary) -> Option<f64>| Some(value(one)? / value(other)?);
    Ratios {
        p50: one.p50_ms.median / other.p50_ms.median,
        p99: one.p99_ms.median / other.p99_ms.median,
        requests_per_second: one.requests_per_second.median / other.requests_per_second.median,
        cpu: ratio(&|it| it.cpu_per_thousand.map(|cpu| cpu.contender.median + cpu.api_server.median + cpu.etcd.median)),
        own_cpu: ratio(&|it| Some(it.cpu_per_thousand?.contender.median)),
        peak_memory: ratio(&|it| Some(it.peak_bytes?.median)),
    }
}
