//! `testbed bench`, small: what it writes is complete and makes sense. No figure of time is judged.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use testbed::scratch;

/// What it prints; it must succeed.
fn bench(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}; {error}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    if arguments.iter().any(|argument| ["--hostile", "--soak"].contains(argument)) {
        // The operator inherits it: what is to be removed is, without a minute's wait. Between the loads of other runs it must
        // ask nothing of the API server for a while.
        command.env("SESSIONKILL_SWEEP_INTERVAL_SECONDS", "1");
    }
    command.arg("bench").args(arguments).current_dir(directory).output().unwrap()
}

fn records(directory: &Path) -> BTreeMap<String, Vec<Value>> {
    let mut records = BTreeMap::<String, Vec<Value>>::new();
    for line in fs::read_to_string(directory.join("bench.jsonl")).unwrap().lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        records.entry(record["kind"].as_str().unwrap().to_owned()).or_default().push(record);
    }
    records
}

fn number(record: &Value, pointer: &str) -> f64 {
    let value = record.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {record}"));
    value.as_f64().unwrap_or_else(|| panic!("{pointer} is {value}"))
}

#[test]
fn the_operator_and_the_floor_are_measured_alike_and_every_session_is_killed_once() {
    let directory = scratch::directory().unwrap();
    let arguments = [
        ["--profile", "dev"],
        ["--repeats", "1"],
        ["--requests", "5"],
        ["--rates", "5"],
        ["--seconds", "1"],
        ["--lone-tenant", "5"],
        ["--lone-seconds", "2"],
        ["--finished", "5"],
        ["--sessions", "2"],
        ["--tenants", "2"],
        ["--delay-ms", "1"],
        ["--json", "bench.jsonl"],
        ["--plot", "bench.svg"],
    ];
    let printed = bench(directory.path(), &arguments.concat());
    let records = records(directory.path());

    assert_eq!(records["setting"].len(), 1);
    let runs = &records["run"];
    runs.iter().for_each(check_run);
    let (whole, parts): (Vec<&Value>, Vec<&Value>) = runs.iter().partition(|run| !is_part(run));
    assert_eq!(whole.len(), 2 * 4, "two contenders, four loads");
    let beside = whole.iter().filter(|run| run["load"]["crowd"] == 5).map(|run| number(run, "/requests")).sum::<f64>();
    let in_parts = parts.iter().map(|run| number(run, "/requests")).sum::<f64>();
    assert!((beside - in_parts).abs() < 1e-9, "{in_parts} of {beside} requests are in a part");

    assert_eq!(records["summary"].len(), runs.len(), "one run each");
    // One contender may have made all of the crowd's before the lone tenant's second request was due, and the other not.
    records["summary"].iter().filter(|summary| !is_part(summary)).for_each(check_summary);
    let [start] = records["start"].as_slice() else { panic!("not one start: {:?}", records["start"]) };
    assert_eq!((&start["contender"], &start["finishedObjects"]), (&Value::from("sessionkill"), &Value::from(5)));
    assert!(number(start, "/readyMs") > 0.0 && number(start, "/restingBytes") > 1e6, "{start}");

    for title in ["All at once", "At a fixed rate", "One tenant beside another", "What 5 at once cost", "Start"] {
        assert!(printed.contains(&format!("### {title}\n")), "{title} in {printed}");
    }
    let picture = fs::read_to_string(directory.path().join("bench.svg")).unwrap();
    assert!(picture.starts_with("<svg") && picture.matches("<polyline").count() == 4, "{picture}");
    let again = bench(directory.path(), &["--from", "bench.jsonl"]);
    assert_eq!(again, printed, "the tables can be made again from the records");
}

/// Whether the figures are of a part of a tenant's requests beside another's.
fn is_part(record: &Value) -> bool {
    matches!(record["load"]["part"].as_str(), Some("whileMade" | "onceMade"))
}

fn check_run(run: &Value) {
    let is_floor = run["contender"] == "floor";
    for pointer in ["/times/p50Ms", "/times/p99Ms", "/times/maxMs", "/times/requestsPerSecond"] {
        assert!(number(run, pointer) > 0.0, "{pointer} in {run}");
    }
    for pointer in ["/memoryBytes/resting", "/memoryBytes/peak", "/memoryBytes/afterwards"] {
        assert!(number(run, pointer) > 1e6, "{pointer} in {run}");
    }
    for pointer in ["/cpuSeconds/contender", "/cpuSeconds/apiServer", "/cpuSeconds/etcd", "/loadCpuSeconds"] {
        assert!(number(run, pointer) >= 0.0, "{pointer} in {run}");
    }
    // A single request is in no order: the lone tenant may have made no more before the crowd was done.
    let has_order = number(run, "/requests") > 1.0;
    assert!(!has_order || (-1.0..=1.0).contains(&number(run, "/times/orderKept")), "{run}");
    let made = number(run, "/requestsMade");
    assert!(made >= 2.0 && (has_order || run["load"]["crowd"] == 5), "{run}");
    let ends = |field: &str| run["ends"][field].as_u64().unwrap();
    let sessions = 2 * run["requestsMade"].as_u64().unwrap();
    assert_eq!((ends("unfinished"), ends("sessions")), (0, sessions), "{run}");
    assert_eq!((ends("sessionsKilled"), ends("mostKillsOfOne")), (sessions, 1), "{run}");
    let upstream = run["upstreamCalls"].as_object().unwrap();
    assert!(upstream.contains_key("KillProcessList"), "{run}");
    assert!(
        !is_floor || number(run, "/upstreamCalls/KillProcessList").to_bits() == 1.0_f64.to_bits(),
        "one call: {run}"
    );
    for write in ["create sessionkillreceipts", "patch sessionkills~1status", "patch sessionkillreceipts~1status"] {
        let each = number(run, &format!("/apiRequests/{write}"));
        assert!(if is_floor { (each - 1.0).abs() < 1e-9 } else { each > 0.0 }, "{write} in {run}");
    }
    let requests: f64 = run["apiRequests"].as_object().unwrap().values().map(|it| it.as_f64().unwrap()).sum();
    assert!(!is_floor || (requests - 3.0).abs() < 1e-9, "three writes and nothing else: {run}");
}

fn check_summary(summary: &Value) {
    let others = summary["ratios"].as_object().unwrap();
    assert_eq!(others.len(), 1, "{summary}");
    for ratios in others.values() {
        for pointer in ["/p50", "/p99", "/requestsPerSecond", "/peakMemory"] {
            let ratio = number(ratios, pointer);
            assert!(ratio.is_finite() && ratio > 0.0, "{pointer} in {summary}");
        }
    }
}

#[test]
fn attacks_are_really_made_and_each_is_a_row() {
    let directory = scratch::directory().unwrap();
    // These do not stop others' kills however the operator is built: what they do to them is not judged here.
    let attacks = ["made-up-tenants", "idle-health"];
    let named = attacks.join(",");
    let small = ["--profile", "dev", "--seconds", "2", "--hostile-size", "1", "--json", "bench.jsonl"];
    let printed = bench(directory.path(), &[&["--hostile", &named][..], &small].concat());
    let runs = &records(directory.path())["attack"];
    assert_eq!(runs.iter().map(|run| run["attack"].as_str().unwrap()).collect::<Vec<_>>(), attacks);
    let rows: Vec<&str> = printed.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).collect();
    assert_eq!(rows[1..], attacks, "after the head: {printed}");
    for (run, made) in runs.iter().zip([8.0, 11.0]) {
        // With the dry runs a Secret and a connection are stored.
        assert!(number(run, "/made") >= made && number(run, "/refused") < 1.0, "{run}");
        for kills in ["/alone", "/beside"] {
            let figure = |name: &str| number(run, &format!("{kills}/{name}"));
            let all_killed = (figure("requests"), figure("killed"), figure("mostKillsOfOne"));
            assert_eq!(all_killed, (2.0, 2.0, 1.0), "{run}");
            assert!(figure("p50Ms") > 0.0 && figure("p50Ms") <= figure("p99Ms"), "{run}");
        }
        assert!(number(run, "/memoryBytes/peak") > 1e6 && number(run, "/apiRequests") > 0.0, "{run}");
    }
    assert_eq!(bench(directory.path(), &["--from", "bench.jsonl"]), printed);

    // The same run with a kill that came to no end.
    let text = fs::read_to_string(directory.path().join("bench.jsonl")).unwrap();
    let late = text.replace("\"killed\":2", "\"killed\":1");
    fs::write(directory.path().join("late.jsonl"), late).unwrap();
    let output = run(directory.path(), &["--from", "late.jsonl"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("idle-health: 1 of 2 kills of others"), "{error}");
}

#[test]
fn what_an_operator_holds_is_told_early_and_late() {
    let directory = scratch::directory().unwrap();
    let arguments = ["--soak", "0.1", "--profile", "dev", "--tenants", "2", "--json", "bench.jsonl"];
    let printed = bench(directory.path(), &arguments);
    assert!(printed.contains("### For long\n"), "{printed}");
    let records = records(directory.path());
    let [soak] = records["soak"].as_slice() else { panic!("not one: {records:?}") };
    assert_eq!(
        (number(soak, "/requests"), number(soak, "/killed"), number(soak, "/mostKillsOfOne")),
        (30.0, 30.0, 1.0)
    );
    for held in ["/early", "/late"] {
        assert!(number(soak, &format!("{held}/memoryBytes")) > 1e6, "{soak}");
        assert!(number(soak, &format!("{held}/descriptors")) > 3.0, "{soak}");
        assert!(number(soak, &format!("{held}/threads")) >= 1.0, "{soak}");
    }
    assert_eq!(soak["overdue"], 0, "none can be overdue by a minute yet");
}

#[test]
fn real_sessions_are_ended_by_sql_and_what_was_asked_is_counted() {
    let directory = scratch::directory().unwrap();
    let arguments = [
        &["--backend", "sql", "--profile", "dev", "--repeats", "1", "--requests", "2", "--rates", "--finished"][..],
        &["--sessions", "3", "--contenders", "sessionkill,floor,pymysql", "--json", "bench.jsonl"],
    ];
    let printed = bench(directory.path(), &arguments.concat());
    let records = records(directory.path());
    let [operator, floor, script] = records["run"].as_slice() else { panic!("not three: {records:?}") };
    for run in [operator, floor, script] {
        let ends = |field: &str| run["ends"][field].as_u64().unwrap();
        assert_eq!((ends("sessions"), ends("sessionsKilled"), ends("mostKillsOfOne")), (6, 6, 1), "{run}");
        assert!(
            number(run, "/upstreamCalls/kill") > 2.9 && (number(run, "/sqlConnections") - 1.0).abs() < 1e-9,
            "{run}"
        );
    }
    for run in [operator, floor] {
        assert!((number(run, "/upstreamCalls/compare") - 3.0).abs() < 1e-9, "{run}");
        assert!(number(run, "/upstreamCalls/list") <= 2.0, "{run}");
        assert!(number(run, "/apiRequests/create sessionkillreceipts") > 0.9, "{run}");
    }
    assert!(script["apiRequests"].as_object().unwrap().is_empty(), "{script}");
    assert!(printed.contains("| statements, each |"), "{printed}");
}

#[test]
fn keys_of_seconds_are_renewed_once_each_and_fail_no_kill() {
    let directory = scratch::directory().unwrap();
    let arguments = ["--short-keys", "--seconds", "8", "--profile", "dev", "--delay-ms", "1", "--json", "bench.jsonl"];
    let printed = bench(directory.path(), &arguments);
    assert!(printed.contains("### With keys that live for seconds\n"), "{printed}");
    let records = records(directory.path());
    let [run] = records["shortKeys"].as_slice() else { panic!("not one: {records:?}") };
    let count = |field: &str| run[field].as_u64().unwrap();
    assert_eq!((count("requests"), count("killed"), count("mostKillsOfOne"), count("failed")), (40, 40, 1, 0), "{run}");
    // The kills outlast the key that is held when they begin.
    assert!(count("renewals") > 0 && count("renewals") < count("calls"), "{run}");

    // The same run with a renewal for each call.
    let text = fs::read_to_string(directory.path().join("bench.jsonl")).unwrap();
    let (renewals, calls) = (count("renewals"), count("calls"));
    let storm = text.replace(&format!("\"renewals\":{renewals}"), &format!("\"renewals\":{calls}"));
    fs::write(directory.path().join("storm.jsonl"), storm).unwrap();
    let output = self::run(directory.path(), &["--from", "storm.jsonl"]);
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("keys were renewed"));
}

#[test]
fn connections_with_a_role_each_get_a_key_each_and_all_are_renewed() {
    let directory = scratch::directory().unwrap();
    let arguments = ["--roles", "8", "--seconds", "1", "--profile", "dev", "--delay-ms", "20", "--json", "bench.jsonl"];
    let printed = bench(directory.path(), &arguments);
    assert!(printed.contains("### What a role costs\n"), "{printed}");
    let records = records(directory.path());
    let [run] = records["roles"].as_slice() else { panic!("not one: {records:?}") };
    assert_eq!((number(run, "/roles"), number(run, "/namespaces")), (8.0, 8.0));
    for (part, kills) in [("before", 0.0), ("firstKeys", 8.0), ("atRest", 0.0), ("inUse", 8.0), ("renewing", 8.0)] {
        let figure = |name: &str| number(run, &format!("/{part}/{name}"));
        assert!((figure("kills") - kills).abs() < 1e-9 && figure("memoryBytes/peak") > 1e6, "{part}: {run}");
        assert!(figure("stsAtOnce") <= 4.0 && figure("cpuSeconds") >= 0.0, "{part}: {run}");
    }
    assert!(number(run, "/firstKeys/stsCalls") >= 8.0, "one for each connection: {run}");
    assert!(number(run, "/renewing/stsCalls") >= 8.0, "{run}");
}
