//! Markdown tables of what was measured. Pure.

use std::{collections::BTreeMap, fmt::Write as _};

use sessionkill::api::VerificationPolicy;

use super::{
    hostile,
    markdown::{MEBIBYTE, table},
    record::{BackendKind, CpuSpread, Load, Record, Run, Setting, Summary},
    soak,
    statistics::Spread,
    summary::{loads, run_of, starts, summaries},
    temporary_keys,
};

/// All `records` as Markdown: first the setting, then a table for each kind of figure.
pub(super) fn report(records: &[Record]) -> String {
    let summaries = summaries(records);
    let mut text = String::new();
    for record in records {
        if let Record::Setting(setting) = record {
            text += &self::setting(setting);
        }
    }
    let of_form = |wanted: fn(&Load) -> bool| summaries.iter().filter(move |it| wanted(&it.load)).collect::<Vec<_>>();
    text += &times("All at once", &of_form(|load| matches!(load, Load::AtOnce { .. })));
    text += &times("At a fixed rate", &of_form(|load| matches!(load, Load::Rate { .. })));
    text += &times("One tenant beside another", &of_form(|load| matches!(load, Load::Lone { .. })));
    text += &ratios(&summaries);
    text += &costs(records, &summaries);
    text += &started(records);
    text + &hostile::report(records) + &soak::report(records) + &temporary_keys::report(records)
}

fn setting(setting: &Setting) -> String {
    let verified = match setting.verification {
        VerificationPolicy::None => "the answer is taken for the end",
        _ => "the process list is read before and after",
    };
    let quota = setting.quota.map_or("no quota".to_owned(), |quota| format!("a quota of {quota} calls/s"));
    let ended_by = match setting.backend {
        BackendKind::Gateway => format!("the gateway takes {} ms for each call and has {quota}", setting.delay_ms),
        BackendKind::Sql => "by SQL, real sessions of a real engine".to_owned(),
    };
    format!(
        "{} cores ({}), operator built as `{}`; requests for {} tenants in turn, {} session(s) each; {verified}; {ended_by}; \
         {} repeats, in turn. Median (least to most).\n",
        setting.cores, setting.processor, setting.profile, setting.tenants, setting.sessions, setting.repeats
    )
}

fn times(title: &str, summaries: &[&Summary]) -> String {
    let rows = summaries.iter().map(|it| {
        vec![
            it.load.to_string(),
            it.contender.clone(),
            spread(it.p50_ms, 1),
            spread(it.p99_ms, 1),
            spread(it.max_ms, 1),
            spread(it.requests_per_second, 1),
            it.order_kept.map_or("–".into(), |tau| spread(tau, 3)),
        ]
    });
    let head = ["load", "contender", "p50, ms", "p99, ms", "max, ms", "requests/s", "order kept (tau)"];
    table(title, &head, rows.collect())
}

/// Compares each contender with the floor, and with the first contender.
fn ratios(summaries: &[Summary]) -> String {
    let first = summaries.iter().map(|it| it.contender.as_str()).find(|name| *name != "floor").unwrap_or_default();
    let ratio = |ratio: Option<f64>| ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"));
    let mut rows = vec![];
    for summary in summaries.iter().filter(|it| it.contender != "floor") {
        for (other, ratios) in summary.ratios.iter().filter(|(other, _)| *other == "floor" || *other == first) {
            rows.push(vec![
                summary.load.to_string(),
                format!("{} ÷ {other}", summary.contender),
                format!("{:.2}", ratios.p50),
                format!("{:.2}", ratios.p99),
                format!("{:.2}", ratios.requests_per_second),
                ratio(ratios.cpu),
                ratio(ratios.own_cpu),
                ratio(ratios.peak_memory),
            ]);
        }
    }
    let head =
        ["load", "of", "p50", "p99", "requests/s", "all processor time", "its processor time", "its memory at most"];
    table("Ratios of the medians", &head, rows)
}

/// The cost of one request, under the largest load at once.
fn costs(records: &[Record], summaries: &[Summary]) -> String {
    let requests = |load: &Load| if let Load::AtOnce { requests } = load { Some(*requests) } else { None };
    let Some(largest) = loads(summaries).into_iter().filter(|load| requests(load).is_some()).max_by_key(requests)
    else {
        return String::new();
    };
    let rows = summaries.iter().filter(|it| it.load == largest).map(|it| {
        let is_same = |run: &&Run| run.load == largest && run.contender == it.contender;
        let runs: Vec<&Run> = records.iter().filter_map(run_of).filter(is_same).collect();
        let memory = |value: &dyn Fn(&Run) -> u64| {
            #[allow(clippy::cast_precision_loss, reason = "memory in MiB with one decimal")]
            Spread::of(runs.iter().map(|run| value(run) as f64 / MEBIBYTE)).map_or("–".into(), |it| spread(it, 1))
        };
        let cpu =
            |value: fn(&CpuSpread) -> Spread| it.cpu_per_thousand.map_or("–".into(), |cpu| spread(value(&cpu), 2));
        let connections = runs.iter().filter_map(|run| run.sql_connections).map(f64::from);
        let connections = Spread::of(connections).map(|it| format!("; connections in all: {}", spread(it, 0)));
        vec![
            it.contender.clone(),
            each(&runs, |run| &run.api_requests),
            each(&runs, |run| &run.upstream_calls) + &connections.unwrap_or_default(),
            cpu(|cpu| cpu.contender),
            cpu(|cpu| cpu.api_server),
            cpu(|cpu| cpu.etcd),
            memory(&|run| run.memory_bytes.resting),
            memory(&|run| run.memory_bytes.peak),
            memory(&|run| run.memory_bytes.afterwards),
        ]
    });
    let is_by_sql = records.iter().filter_map(run_of).any(|run| run.sql_connections.is_some());
    let calls = if is_by_sql { "statements, each" } else { "calls of the gateway, each" };
    let head = [
        "contender",
        "requests to the API server, each",
        calls,
        "its CPU, s per 1,000",
        "API server's",
        "etcd's",
        "memory before, MiB",
        "most",
        "afterwards",
    ];
    table(&format!("What {largest} cost"), &head, rows.collect())
}

/// The sum of the medians, and each value that is not negligible.
fn each(runs: &[&Run], counts: fn(&Run) -> &BTreeMap<String, f64>) -> String {
    let mut names: Vec<&String> = runs.iter().flat_map(|run| counts(run).keys()).collect();
    names.sort();
    names.dedup();
    let median = |name: &String| Spread::of(runs.iter().map(|run| counts(run).get(name).copied().unwrap_or_default()));
    let medians: Vec<_> = names.iter().filter_map(|name| Some((name, median(name)?.median))).collect();
    // Start from a positive zero: the sum of nothing is a negative zero, and would be printed with its sign.
    let sum = medians.iter().fold(0.0, |sum, (_, median)| sum + median);
    let mut text = format!("{sum:.3}");
    let mut parts = medians.iter().filter(|(_, median)| *median >= 0.0005).peekable();
    if parts.peek().is_some() {
        let parts: Vec<_> = parts.map(|(name, median)| format!("{name} {median:.3}")).collect();
        let _ = write!(text, ": {}", parts.join(", "));
    }
    text
}

fn started(records: &[Record]) -> String {
    let rows = starts(records).into_iter().map(|((objects, contender), starts)| {
        #[allow(clippy::cast_precision_loss, reason = "memory in MiB with one decimal")]
        let memory = Spread::of(starts.iter().map(|start| start.resting_bytes as f64 / MEBIBYTE));
        let ready = Spread::of(starts.iter().map(|start| start.ready_ms));
        let shown = |it: Option<Spread>, decimals| it.map_or("–".into(), |it| spread(it, decimals));
        vec![objects.to_string(), contender, shown(ready, 0), shown(memory, 1)]
    });
    table("Start", &["finished requests", "contender", "ready after, ms", "memory, MiB"], rows.collect())
}

fn spread(spread: Spread, decimals: usize) -> String {
    let Spread { median, least, most } = spread;
    #[allow(clippy::float_cmp, reason = "the same figure, measured once")]
    if least == most {
        return format!("{median:.decimals$}");
    }
    format!("{median:.decimals$} ({least:.decimals$}–{most:.decimals$})")
}
