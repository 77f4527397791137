//! Every option of the binary at its limits, as an environment variable and as a flag. A value that cannot be used is
//! refused at the start, with a message that says what to do. All other values are accepted.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeSet;
use std::process::Command;

use clap::Args as _;
use sessionkill::check::CheckOptions;
use sessionkill::config::Config;
use sessionkill::telemetry::LogOptions;

const BINARY: &str = env!("CARGO_BIN_EXE_sessionkill-operator");
/// The error after all options were accepted, as there is no API server here.
const TAKEN: &str = "no way to reach an API server";

/// An option with valid and invalid values.
struct Limits {
    command: &'static str,
    flag: &'static str,
    variable: Option<&'static str>,
    good: Vec<String>,
    bad: Vec<String>,
    /// The hint in every refusal of its values.
    hint: &'static str,
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn run(flag: &'static str, variable: &'static str, good: &[&str], bad: &[&str], hint: &'static str) -> Limits {
    Limits { command: "run", flag, variable: Some(variable), good: texts(good), bad: texts(bad), hint }
}

fn check(
    flag: &'static str,
    variable: Option<&'static str>,
    good: &[&str],
    bad: &[&str],
    hint: &'static str,
) -> Limits {
    Limits { command: "check", flag, variable, good: texts(good), bad: texts(bad), hint }
}

/// Object names at the limits, valid ones and invalid ones.
fn object_names() -> ([String; 4], [String; 6]) {
    let good = ["a", "pod-1.example", &"a".repeat(129), &"a".repeat(253)].map(str::to_owned);
    let bad = ["", "a b", "A", "-a", "a/b", &"a".repeat(254)].map(str::to_owned);
    (good, bad)
}

fn namespaces() -> ([String; 2], [String; 5]) {
    (["a", &"a".repeat(63)].map(str::to_owned), ["", "a.b", "A", "-a", &"a".repeat(64)].map(str::to_owned))
}

#[rustfmt::skip]
fn limits() -> Vec<Limits> {
    let number = "is not in";
    let url = "set it to http://HOST:PORT";
    let many = (0..=100).map(|number| format!("n{number}")).collect::<Vec<_>>().join(",");
    let mut limits = vec![
        run("--allow-endpoint", "SESSIONKILL_ALLOW_ENDPOINTS", &["a.example.com", "http://a:1,b:65535", "[fd00::1]:80"], &["", "a b", "a/b", "ftp://a", "u@a", "a:65536"], "a host name with an optional port"),
        run("--allow-sql-host", "SESSIONKILL_ALLOW_SQL_HOSTS", &["db.example:2881", "DB:1,[fd00::1]:65535", "10.1.0.0/16", "fd00::/8"], &["", "db.example", "10.1.2.3", "db:0", "db:65536", "10.0.0.0/33", "u@db:1", "db:1/a", "a:1,,b:1"], "write HOST:PORT, such as db.example:2881, or a range"),
        run("--allow-identity", "SESSIONKILL_ALLOW_IDENTITIES", &["shop=instance", "shop=acs:ram::1:role/kill,pay=instance"], &["", "shop", "shop=", "*=instance", "shop=*", "shop=acs:ram::1:user/kill"], "write NAMESPACE=ROLE"),
        run("--cluster-name", "SESSIONKILL_CLUSTER_NAME", &["c-1", "Prod_1.x"], &["", "a b", "a/b", "a:b"], "use 1 to 253 letters, digits"),
        run("--sts-endpoint", "SESSIONKILL_STS_ENDPOINT", &["sts.example.com", "http://a:1"], &["", "a b", "a/b", "ftp://a"], "a host name with an optional port"),
        run("--metadata-endpoint", "SESSIONKILL_METADATA_ENDPOINT", &["http://127.0.0.1:80"], &["", "a b"], "a host name with an optional port"),
        run("--oidc-provider-arn", "ALIBABA_CLOUD_OIDC_PROVIDER_ARN", &["acs:ram::1:oidc-provider/ack-rrsa-c1"], &["", "ack-rrsa-c1", "acs:ram::1:role/kill", "acs:ram::1:oidc-provider/"], "copy it from the RAM console"),
        run("--oidc-token-file", "ALIBABA_CLOUD_OIDC_TOKEN_FILE", &["/nowhere"], &[""], "a value is required"),
        run("--watch-namespaces", "SESSIONKILL_WATCH_NAMESPACES", &["a", "a,b"], &["", ",", "A", "a.b", "*"], "name each, separated by commas"),
        run("--watch-namespaces", "SESSIONKILL_WATCH_NAMESPACES", &[&many[..many.len() - 5]], &[&many], "name at most 100"),
        run("--cluster-connections", "SESSIONKILL_CLUSTER_CONNECTIONS", &["true", "false", "1", "no"], &["2", "maybe"], "value was not a boolean"),
        run("--cluster-resource-namespace", "SESSIONKILL_CLUSTER_RESOURCE_NAMESPACE", &["a", "a-1"], &["", "a.b", "A", "-a", "a,b"], "use the one with the Secrets of ClusterOceanBaseConnections"),
        run("--proxy", "SESSIONKILL_PROXY", &["http://proxy:8080", "https://user:password@proxy"], &["", "proxy", "proxy:1", "ftp://proxy", "socks5://proxy:1"], url),
        run("--api-server-http1", "SESSIONKILL_API_SERVER_HTTP1", &["true", "false", "1", "no"], &["2", "maybe"], "value was not a boolean"),
        run("--health-address", "SESSIONKILL_HEALTH_ADDRESS", &["127.0.0.1:0", "[::1]:65535"], &["", "8080", "localhost:8080", "127.0.0.1:65536"], "use IP:PORT, such as 0.0.0.0:8080"),
        run("--leader-election", "SESSIONKILL_LEADER_ELECTION", &["true", "off"], &["leader"], "value was not a boolean"),
        run("--lease-duration-seconds", "SESSIONKILL_LEASE_DURATION_SECONDS", &["2", "300"], &["1", "301", "-1", "15s"], ""),
        run("--watch-seconds", "SESSIONKILL_WATCH_SECONDS", &["3", "60"], &["2", "61"], number),
        run("--audit-bytes", "SESSIONKILL_AUDIT_BYTES", &["1024", "1073741824"], &["0", "1023", "1073741825"], number),
        run("--dispatch-window-seconds", "SESSIONKILL_DISPATCH_WINDOW_SECONDS", &["6", "300"], &["5", "301"], number),
        run("--max-concurrent-calls", "SESSIONKILL_MAX_CONCURRENT_CALLS", &["1", "1024"], &["0", "1025"], number),
        run("--answer-budget-bytes", "SESSIONKILL_ANSWER_BUDGET_BYTES", &["16777216", "4294967295"], &["0", "16777215", "4294967296"], number),
        run("--sweep-interval-seconds", "SESSIONKILL_SWEEP_INTERVAL_SECONDS", &["1", "86400"], &["0", "86401"], number),
        run("--cache-budget-mib", "SESSIONKILL_CACHE_BUDGET_MIB", &["0", "4096"], &["4097"], number),
        run("--receipt-retention-seconds", "SESSIONKILL_RECEIPT_RETENTION_SECONDS", &["60", "4294967295"], &["59", "4294967296"], number),
        run("--missed-kill-seconds", "SESSIONKILL_MISSED_KILL_SECONDS", &["0", "86400"], &["604801", "-1"], number),
        run("--missed-kill-seconds", "SESSIONKILL_MISSED_KILL_SECONDS", &[], &["86401", "604800"], "set it to 86400 or less, or --receipt-retention-seconds to"),
        run("--log-format", "SESSIONKILL_LOG_FORMAT", &["json", "text"], &["", "yaml"], "possible values: json, text"),
        run("--log-filter", "RUST_LOG", &["", "debug", "info,sessionkill=debug"], &["verbose", "info;debug"], "use one of off, error"),
        run("--log-filter-file", "SESSIONKILL_LOG_FILTER_FILE", &["/nowhere"], &[""], "a value is required"),
        check("--watch-namespaces", Some("SESSIONKILL_WATCH_NAMESPACES"), &["a"], &["", "A"], "name each, separated by commas"),
        check("--secrets-namespaces", None, &["a"], &["", "A"], "name each, separated by commas"),
        check("--cluster-connections", Some("SESSIONKILL_CLUSTER_CONNECTIONS"), &["true", "false"], &["2"], "value was not a boolean"),
        check("--cluster-resource-namespace", Some("SESSIONKILL_CLUSTER_RESOURCE_NAMESPACE"), &["a"], &["", "A"], "use the one with the Secrets of ClusterOceanBaseConnections"),
        check("--allow-identity", Some("SESSIONKILL_ALLOW_IDENTITIES"), &["shop=instance"], &["", "shop"], "write NAMESPACE=ROLE"),
        check("--cluster-name", Some("SESSIONKILL_CLUSTER_NAME"), &["c-1"], &["", "a b"], "use 1 to 253 letters, digits"),
        check("--oidc-provider-arn", Some("ALIBABA_CLOUD_OIDC_PROVIDER_ARN"), &["acs:ram::1:oidc-provider/ack-rrsa-c1"], &["", "ack-rrsa-c1"], "copy it from the RAM console"),
        check("--oidc-token-file", Some("ALIBABA_CLOUD_OIDC_TOKEN_FILE"), &["/nowhere"], &[""], "a value is required"),
        check("--lease", None, &["a/b", "a/b.c"], &["", "a", "/", "a/", "/b", "A/b", "a/B", "a.b/c", "a/b/c"], "name it as NAMESPACE/NAME"),
        check("--ready-url", None, &["http://127.0.0.1:8080/readyz", "https://a"], &["", "readyz", "a:8080", "ftp://a"], "set it to http://HOST:PORT/readyz"),
        check("--timeout-seconds", None, &["1", "3600"], &["0", "3601"], number),
    ];
    let (good, bad) = object_names();
    for (flag, variable, hint) in [("--identity", "POD_NAME", "set POD_NAME, or --identity, to 1 to 253"), ("--lease-name", "SESSIONKILL_LEASE_NAME", "use 1 to 253 lower-case letters")] {
        limits.push(Limits { command: "run", flag, variable: Some(variable), good: good.to_vec(), bad: bad.to_vec(), hint });
    }
    let (good, bad) = namespaces();
    let (good, bad, hint) = (good.to_vec(), bad.to_vec(), "set POD_NAMESPACE, or --leader-election-namespace, to the one of the Lease");
    limits.push(Limits { command: "run", flag: "--leader-election-namespace", variable: Some("POD_NAMESPACE"), good, bad, hint });
    limits
}

/// The error output of the binary, with only this flag or this variable.
fn said(command: &str, flag: Option<&str>, variable: Option<(&str, &str)>) -> String {
    let mut process = Command::new(BINARY);
    process.arg(command).args(flag).env_clear().env("KUBECONFIG", "/dev/null").envs(variable);
    let output = process.output().unwrap();
    assert!(!output.status.success(), "{command} {flag:?} {variable:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn each_option_takes_what_can_be_used_and_nothing_else() {
    for Limits { command, flag, variable, good, bad, hint } in limits() {
        // The output for a value, by flag and by variable. A switch has no value after its flag.
        let is_switch = hint == "value was not a boolean";
        let ways = |value: &str| {
            let by_flag = (!is_switch).then(|| said(command, Some(&format!("{flag}={value}")), None));
            let by_variable = variable.map(|variable| said(command, None, Some((variable, value))));
            [by_flag, by_variable].into_iter().flatten().collect::<Vec<_>>()
        };
        for value in good {
            for said in ways(&value) {
                assert!(said.contains(TAKEN), "{flag} {value:?}: {said}");
            }
        }
        for value in bad {
            for said in ways(&value) {
                let is_refused = !said.contains(TAKEN) && said.contains(flag) && said.contains(hint);
                assert!(is_refused, "{flag} {value:?}: {said}");
            }
        }
    }
}

/// The flag and the variable of each option.
fn options(command: &'static str, described: &clap::Command) -> BTreeSet<(&'static str, String, Option<String>)> {
    let variable = |argument: &clap::Arg| argument.get_env().map(|name| name.to_str().unwrap().to_owned());
    let of = |argument: &clap::Arg| (command, format!("--{}", argument.get_long().unwrap()), variable(argument));
    described.get_arguments().map(of).collect()
}

#[test]
fn no_option_is_left_out() {
    let run = LogOptions::augment_args(Config::augment_args(clap::Command::new("run")));
    let check = CheckOptions::augment_args(clap::Command::new("check"));
    let there: BTreeSet<_> = [options("run", &run), options("check", &check)].into_iter().flatten().collect();
    let own = |limits: Limits| (limits.command, limits.flag.to_owned(), limits.variable.map(str::to_owned));
    assert_eq!(limits().into_iter().map(own).collect::<BTreeSet<_>>(), there);
}
