//! The operator's options, read once at the start. The operator does not start with an invalid option, and names it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use jiff::SignedDuration;

use crate::backends::sql::AllowedHost;
use crate::domain::names::{is_label, is_object_name};
use crate::domain::text::quoted;
use crate::key_options::KeyOptions;
use crate::kubernetes::client::WATCH_SECONDS;
use crate::oceanbase::Endpoint;
use crate::oceanbase::budget::{DEFAULT_BYTES as DEFAULT_ANSWER_BYTES, LEAST_BYTES as LEAST_ANSWER_BYTES};

/// The default of `--missed-kill-seconds`: 1 hour. A pipeline retries within this time. An old manifest comes later.
const MISSED_KILL_SECONDS: u32 = 3600;

/// Options of `sessionkill-operator run`. Each can be set by its environment variable too.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// A further endpoint that may be called: a host other than the product's own in a region, or a host with private
    /// addresses. Write it as HOST or HOST:PORT, with http:// in front for plain text. The operator also trusts it with
    /// HMAC-SHA1 signatures and with AccessKey IDs of any form. Separate several by commas, or repeat the option.
    #[arg(long = "allow-endpoint", env = "SESSIONKILL_ALLOW_ENDPOINTS", value_delimiter = ',', value_parser = Endpoint::parse)]
    pub allow_endpoints: Vec<Endpoint>,

    /// A database server that connections may name by spec.sql.host. Write it as HOST:PORT, whose addresses the operator
    /// then trusts, or as a range of addresses, such as 10.1.0.0/16, for every host in it. Separate several by commas, or
    /// repeat the option. A Service in the connection's own namespace needs no such option.
    #[arg(long = "allow-sql-host", env = "SESSIONKILL_ALLOW_SQL_HOSTS", value_delimiter = ',')]
    pub allow_sql_hosts: Vec<AllowedHost>,

    /// Where access keys come from.
    #[command(flatten)]
    pub keys: KeyOptions,

    /// The only namespaces to work in, separated by commas, at most 100. Unset means all namespaces.
    #[arg(long, alias = "namespace", env = "SESSIONKILL_WATCH_NAMESPACES")]
    pub watch_namespaces: Option<Namespaces>,

    /// Whether requests may name ClusterOceanBaseConnections. The operator needs a right in the cluster for that. Unset means true, or
    /// false with --watch-namespaces. Where the rights or the definition are missing, such requests wait and say so.
    #[arg(long, env = "SESSIONKILL_CLUSTER_CONNECTIONS", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_parser = BoolishValueParser::new())]
    pub cluster_connections: Option<bool>,

    /// The namespace of the Secrets, Services and service accounts that ClusterOceanBaseConnections name. Unset means the
    /// namespace that the operator runs in.
    #[arg(long, env = "SESSIONKILL_CLUSTER_RESOURCE_NAMESPACE", value_parser = resource_namespace)]
    pub cluster_resource_namespace: Option<String>,

    /// The proxy for calls to Alibaba Cloud, as http://HOST:PORT or https://HOST:PORT. The variables in which other
    /// programs look for a proxy are not used.
    #[arg(long, env = "SESSIONKILL_PROXY")]
    pub proxy: Option<String>,

    /// Use HTTP/1.1 to the API server, even if it offers HTTP/2. Set it for several API servers behind a TCP load
    /// balancer: calls are then spread over several connections.
    #[arg(long, env = "SESSIONKILL_API_SERVER_HTTP1", value_parser = BoolishValueParser::new())]
    pub api_server_http1: bool,

    /// The IP address and port at which /livez, /readyz and /metrics are served.
    #[arg(long, env = "SESSIONKILL_HEALTH_ADDRESS", default_value = "0.0.0.0:8080", value_parser = address)]
    pub health_address: SocketAddr,

    /// The name of this operator in claims and Events: the name of its Pod. Only the first 128 characters are used. In
    /// claims a random part is added.
    #[arg(long, env = "POD_NAME", default_value = "sessionkill-operator", value_parser = identity)]
    pub identity: String,

    /// Work only while holding a Lease. Then one of several replicas works, and the others are ready to take over.
    #[arg(long, env = "SESSIONKILL_LEADER_ELECTION", value_parser = BoolishValueParser::new())]
    pub leader_election: bool,

    /// The namespace of the Lease. Unset means the namespace that the operator runs in.
    #[arg(long, env = "POD_NAMESPACE", value_parser = namespace)]
    pub leader_election_namespace: Option<String>,

    /// The name of the Lease. If several operators run in one namespace and watch different namespaces, give each its
    /// own.
    #[arg(long, env = "SESSIONKILL_LEASE_NAME", default_value = "sessionkill-operator", value_parser = lease_name)]
    pub lease_name: String,

    /// Another replica takes over when the Lease was not renewed for this number of seconds, 2 to 300.
    #[arg(long, env = "SESSIONKILL_LEASE_DURATION_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(2..=300))]
    pub lease_duration_seconds: u16,

    /// How many seconds one watch lasts, 3 to 60. Then another one continues it. After five times this time the
    /// operator lists all objects again. If a watch fails for that long, or delivers nothing although there was
    /// something to deliver, /livez fails. Shorter in tests.
    #[arg(long, hide = true, env = "SESSIONKILL_WATCH_SECONDS", default_value_t = WATCH_SECONDS, value_parser = clap::value_parser!(u32).range(3..=i64::from(WATCH_SECONDS)))]
    pub watch_seconds: u32,

    /// The most bytes of audit lines that wait to be read from standard output, 1024 to 1073741824 (1 GiB). Less in
    /// tests.
    #[arg(long, hide = true, env = "SESSIONKILL_AUDIT_BYTES", default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(1024..=1 << 30))]
    pub audit_bytes: u32,

    /// How many seconds after its claim a call may be sent, 6 to 300.
    #[arg(long, env = "SESSIONKILL_DISPATCH_WINDOW_SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(6..=300))]
    pub dispatch_window_seconds: u16,

    /// The most calls in flight at once, over all tenants, 1 to 1024.
    #[arg(long, env = "SESSIONKILL_MAX_CONCURRENT_CALLS", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub max_concurrent_calls: u16,

    /// The most bytes of memory for answers of gateways while they are read, at least 16777216 (16 MiB). One half is
    /// for answers of up to 256 KiB, the other for larger ones. An answer that does not fit waits. No namespace takes
    /// more than half. It must fit into the memory limit.
    #[arg(long, env = "SESSIONKILL_ANSWER_BUDGET_BYTES", default_value_t = DEFAULT_ANSWER_BYTES, value_parser = clap::value_parser!(u32).range(i64::from(LEAST_ANSWER_BYTES)..))]
    pub answer_budget_bytes: u32,

    /// How many seconds pass between two sweeps of finished requests and old receipts, 1 to 86400.
    #[arg(long, env = "SESSIONKILL_SWEEP_INTERVAL_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub sweep_interval_seconds: u32,

    /// The most memory for SessionKills that have not ended, in MiB, 0 to 4096. If one does not fit, only its names,
    /// times and connection are kept. The operator reads the object again when its turn comes.
    #[arg(long, env = "SESSIONKILL_CACHE_BUDGET_MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(0..=4096))]
    pub cache_budget_mib: u16,

    /// How many seconds after notAfterTime a receipt is kept, at least 60.
    #[arg(long, env = "SESSIONKILL_RECEIPT_RETENTION_SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(60..))]
    pub receipt_retention_seconds: u32,

    /// A Kill without a receipt that is created less than this number of seconds after its notAfterTime was missed. It
    /// ends as a failure, also for GitOps tools. A Kill that is created later is an old manifest, and harmless. 0 makes
    /// every late Kill harmless. At most 604800, and at most --receipt-retention-seconds. Unset means 3600, or
    /// --receipt-retention-seconds if that is less.
    #[arg(long, env = "SESSIONKILL_MISSED_KILL_SECONDS", value_parser = clap::value_parser!(u32).range(0..=604_800))]
    pub missed_kill_seconds: Option<u32>,
}

impl Config {
    /// Refuses what the parser of one option cannot refuse, or must not.
    pub fn check(&self) -> Result<(), String> {
        self.check_proxy()?;
        let kept = self.receipt_retention_seconds;
        match self.missed_kill_seconds {
            // A kill that was executed would look like a missed one after its receipt is deleted.
            Some(missed) if missed > kept => Err(format!(
                "--missed-kill-seconds is {missed}, and receipts are kept for {kept} s only: set it to {kept} or less, or \
                 --receipt-retention-seconds to {missed} or more"
            )),
            _ => Ok(()),
        }
    }

    /// Refuses a proxy that cannot be used, as the HTTP client would call without it. Not in the option's parser: clap
    /// repeats a refused value on standard error, and the URL may hold a password.
    fn check_proxy(&self) -> Result<(), String> {
        let Some(proxy) = &self.proxy else { return Ok(()) };
        let uri = proxy.parse::<http::Uri>().unwrap_or_default();
        match (uri.scheme_str(), uri.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(()),
            _ => Err("--proxy is not the URL of a proxy: set it to http://HOST:PORT or https://HOST:PORT".to_owned()),
        }
    }

    /// The number of watches of each kind: one for each namespace, or one for all namespaces.
    #[must_use]
    pub fn places(&self) -> usize {
        self.watch_namespaces.as_ref().map_or(1, |only| only.0.len())
    }

    /// Whether requests may name `ClusterOceanBaseConnection`s: unless some namespaces are named, or as it is said.
    #[must_use]
    pub fn uses_cluster_connections(&self) -> bool {
        self.cluster_connections.unwrap_or(self.watch_namespaces.is_none())
    }

    /// How long one watch lasts.
    #[must_use]
    pub fn watch(&self) -> Duration {
        Duration::from_secs(self.watch_seconds.into())
    }

    /// A Kill that is created less than this after its `notAfterTime`, and has no receipt, was missed.
    #[must_use]
    pub fn missed_within(&self) -> SignedDuration {
        let seconds = self.missed_kill_seconds.unwrap_or(MISSED_KILL_SECONDS.min(self.receipt_retention_seconds));
        SignedDuration::from_secs(seconds.into())
    }

    /// The time between two sweeps.
    #[must_use]
    pub fn sweep_interval(&self) -> Duration {
        Duration::from_secs(self.sweep_interval_seconds.into())
    }
}

/// Names of namespaces: at least one, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces(BTreeSet<String>);

impl Namespaces {
    /// The most namespaces. Each has its own watches, which the API server must keep open.
    const MOST: usize = 100;

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromStr for Namespaces {
    type Err = String;

    /// Parses names separated by commas. Fails for an invalid name, and for more than 100. Fails for an empty list too:
    /// it does not mean all namespaces.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names: BTreeSet<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        if let Some(wrong) = names.iter().find(|name| !is_label(name)) {
            let wrong = quoted(wrong, 64);
            return Err(format!("{wrong} is not the name of a namespace: name each, separated by commas"));
        }
        if names.len() > Self::MOST {
            return Err(format!(
                "{} namespaces are too many: name at most {}, or none for all",
                names.len(),
                Self::MOST
            ));
        }
        Ok(Self(names))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address to listen at: use IP:PORT, such as 0.0.0.0:8080".to_owned())
}

/// The most characters of an Event's `reportingInstance`. A claim has room for more.
const MAX_IDENTITY: usize = 128;

/// Parses the name of a Pod, and cuts it to 128 characters. A random part distinguishes operators, not this name.
fn identity(text: &str) -> Result<String, String> {
    if !is_object_name(text) {
        return Err(
            "not the name of a Pod: set POD_NAME, or --identity, to 1 to 253 lower-case letters, digits, - and ."
                .to_owned(),
        );
    }
    Ok(text[..text.len().min(MAX_IDENTITY)].to_owned())
}

fn namespace(text: &str) -> Result<String, String> {
    let refusal =
        "not the name of a namespace: set POD_NAMESPACE, or --leader-election-namespace, to the one of the Lease";
    if is_label(text) { Ok(text.to_owned()) } else { Err(refusal.to_owned()) }
}

/// Parses the name of the namespace with what `ClusterOceanBaseConnection`s name.
pub fn resource_namespace(text: &str) -> Result<String, String> {
    let refusal = "not the name of a namespace: use the one with the Secrets of ClusterOceanBaseConnections";
    if is_label(text) { Ok(text.to_owned()) } else { Err(refusal.to_owned()) }
}

fn lease_name(text: &str) -> Result<String, String> {
    let refusal = "not the name of a Lease: use 1 to 253 lower-case letters, digits, - and .";
    if is_object_name(text) { Ok(text.to_owned()) } else { Err(refusal.to_owned()) }
}

/// A Lease, by its namespace and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRef {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl FromStr for LeaseRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('/').filter(|(namespace, name)| is_label(namespace) && is_object_name(name));
        let (namespace, name) = named.ok_or("not a Lease: name it as NAMESPACE/NAME")?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_proxy_that_would_be_gone_around_is_refused_and_its_password_is_not_repeated() {
        #[derive(Parser)]
        struct Run {
            #[command(flatten)]
            config: Config,
        }
        let check = |proxy: &str| Run::parse_from(["run", "--proxy", proxy]).config.check();
        for good in ["http://proxy:8080", "https://user:hidden@proxy.example.com"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in
            ["", "proxy:8080", "ftp://user:hidden@proxy", "socks5://proxy:1080", "http://", "http://user:hid den@proxy"]
        {
            let error = check(bad).unwrap_err();
            assert!(error.contains("--proxy") && !error.contains("hid"), "{error}");
        }
        assert!(Run::parse_from(["run"]).config.check().is_ok());
    }

    #[test]
    fn a_kill_is_not_called_missed_when_its_receipt_may_be_gone() {
        #[derive(Parser)]
        struct Run {
            #[command(flatten)]
            config: Config,
        }
        let run = |arguments: &[&str]| Run::parse_from([&["run"][..], arguments].concat()).config;
        let check = |missed: &str, kept: &str| {
            run(&["--missed-kill-seconds", missed, "--receipt-retention-seconds", kept]).check()
        };
        for (missed, kept) in [("0", "60"), ("60", "60"), ("604800", "604800")] {
            assert_eq!(check(missed, kept), Ok(()), "{missed} {kept}");
        }
        let error = check("61", "60").unwrap_err();
        for words in ["--missed-kill-seconds is 61", "60 or less", "--receipt-retention-seconds to 61 or more"] {
            assert!(error.contains(words), "{error}");
        }
        let within = |arguments: &[&str]| run(arguments).missed_within().as_secs();
        assert_eq!(within(&[]), 3600);
        assert_eq!(within(&["--missed-kill-seconds", "0"]), 0);
        let short = ["--receipt-retention-seconds", "60"];
        assert_eq!((run(&short).check(), within(&short)), (Ok(()), 60), "whoever keeps receipts for less");
    }

    #[test]
    fn of_a_long_name_as_much_is_used_as_can_be_used_everywhere() {
        assert_eq!(identity("pod-1").unwrap(), "pod-1");
        for length in [128, 129, 230, 253] {
            assert_eq!(identity(&"a".repeat(length)).unwrap().len(), 128, "{length}");
        }
        for bad in ["", "a b", "A", "ü", &"a".repeat(254)] {
            assert!(identity(bad).unwrap_err().contains("set POD_NAME"), "{bad:?}");
        }
    }

    #[test]
    fn an_endpoint_that_no_connection_can_name_is_refused_at_the_start() {
        #[derive(Parser, Debug)]
        struct Run {
            #[command(flatten)]
            config: Config,
        }
        let run = |endpoints: &str| Run::try_parse_from(["run", "--allow-endpoint", endpoints]);
        assert_eq!(run("Gateway.Example:8443,http://10.0.0.1").unwrap().config.allow_endpoints.len(), 2);
        for bad in ["a, b", "a_b", "a,,b", "a/b", ""] {
            let error = run(bad).unwrap_err().to_string();
            assert!(error.contains("--allow-endpoint") && error.contains("is not a host name"), "{error}");
        }
    }

    #[test]
    fn connections_of_no_namespace_are_used_unless_some_namespaces_are_named_or_as_it_is_said() {
        #[derive(Parser)]
        struct Run {
            #[command(flatten)]
            config: Config,
        }
        let used =
            |arguments: &[&str]| Run::parse_from([&["run"][..], arguments].concat()).config.uses_cluster_connections();
        assert!(used(&[]) && !used(&["--watch-namespaces", "a"]));
        assert!(used(&["--watch-namespaces", "a", "--cluster-connections"]));
        assert!(used(&["--cluster-connections=true"]) && !used(&["--cluster-connections=false"]));
    }

    fn names(text: &str) -> Result<Vec<String>, String> {
        text.parse::<Namespaces>().map(|only| only.iter().map(str::to_owned).collect())
    }

    #[test]
    fn each_namespace_is_worked_in_once() {
        assert_eq!(names("team-b, team-a,team-b").unwrap(), ["team-a", "team-b"]);
        let many = (0..100).map(|number| format!("n{number}")).collect::<Vec<_>>().join(",");
        assert_eq!(names(&many).unwrap().len(), 100);
        assert!(names(&format!("{many},n100")).unwrap_err().contains("at most 100"));
    }

    #[test]
    fn what_names_no_namespace_does_not_mean_all() {
        for text in ["", ",", "a,", "A", "a b", "a/b", "-a", "a-", "*", &"a".repeat(64)] {
            let error = names(text).unwrap_err();
            assert!(error.contains("not the name of a namespace"), "{text:?}: {error}");
        }
        assert!(names(&"a".repeat(63)).is_ok());
    }
}
