//! The options of `testbed bench`.

use std::{path::PathBuf, thread::available_parallelism, time::Duration};

use anyhow::ensure;
use clap::{Args, ValueEnum as _};
use jiff::Timestamp;
use sessionkill::api::VerificationPolicy;

use super::{
    contender::Contender,
    record::{BackendKind, Load, Part, Setting},
    temporary_keys::wanted::TemporaryKeys,
};
use crate::{
    gateway::{GatewayOptions, Quota},
    hostile::{Kind, Size},
};

/// Options of `testbed bench`.
#[derive(Args, Clone, Debug)]
#[command(about = "Measure how fast SessionKills are finished, and what it costs, beside the least that it can cost")]
pub struct BenchArgs {
    /// What to measure: sessionkill, floor, NAME=PATH of another binary of the operator, or a peer (controller-runtime,
    /// kopf or script). controller-runtime+writes and kopf+writes make the same writes as sessionkill. Peers need
    /// --trust-answers. With --backend sql instead of peers: pymysql, a script, and pt-kill, which must be installed.
    #[arg(long, value_delimiter = ',', default_value = "sessionkill,floor")]
    contenders: Vec<Contender>,
    /// Where sessions are, and how they are ended. In a real engine the bench opens them, all in its one tenant.
    #[arg(long, value_enum, default_value = "gateway")]
    backend: BackendKind,
    /// How many requests are made at once, one load each. Give no value to leave these loads out.
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "1,100,1000")]
    requests: Vec<u32>,
    /// Requests per second, one load each. Give no value to leave these loads out.
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "20,100")]
    rates: Vec<f64>,
    /// How many seconds each rate lasts, 5 by default. With --hostile: how many seconds the victim kills alone, and
    /// then again beside each attack, 30 by default. With --short-keys: how many seconds kills are made, 300 by default.
    /// With --roles: how many seconds each part of the measurement lasts, 60 by default.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
    /// Measure only this: one kill per second, first alone and then beside attacks by users of other namespaces. Give
    /// no value for all attacks. Fails if one of these kills did not end in time.
    #[arg(long, value_name = "ATTACK", value_enum, value_delimiter = ',', num_args = 0..)]
    hostile: Option<Vec<Kind>>,
    /// How large the attacks are, in percent of their full size, 1 to 1000.
    #[arg(long, value_name = "PERCENT", requires = "hostile", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    hostile_size: u32,
    /// Attack a cluster without the admission policies of deploy/base. What they would refuse is stored then.
    #[arg(long, requires = "hostile")]
    without_policies: bool,
    /// Measure only this: 5 kills per second for this number of minutes, each request removed 10 s later. Shows whether
    /// the operator's memory, descriptors and threads grow after the first 5 minutes. Fails if a kill did not end in
    /// time, or was sent twice.
    #[arg(long, value_name = "MINUTES", num_args = 0..=1, default_missing_value = "30", conflicts_with = "hostile")]
    soak: Option<f64>,
    /// Measure only this: 5 kills per second with access keys of a role that STS issues for this number of seconds, 3 to
    /// 30. Fails if a kill failed, or was sent twice, or if there were more renewals than such lives need.
    #[arg(
        long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", conflicts_with_all = ["hostile", "soak"],
        value_parser = clap::value_parser!(u64).range(3..=30)
    )]
    short_keys: Option<u64>,
    /// Measure only this: this number of connections, each with a role of its own, at rest and while all keys are renewed,
    /// 1 to 1000. Keys live 15 times as long as each part of the measurement lasts. Fails if more than 4 calls of STS were
    /// made at once.
    #[arg(
        long, value_name = "ROLES", num_args = 0..=1, default_missing_value = "1000",
        conflicts_with_all = ["hostile", "soak", "short_keys"], value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    roles: Option<u32>,
    /// Measure the requests of one tenant, first alone and then beside this number of requests of another tenant.
    #[arg(long, value_name = "REQUESTS")]
    lone_tenant: Option<u32>,
    /// How many seconds the lone tenant makes requests. Beside the other tenant it stops when the other's requests have
    /// ended.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=86400))]
    lone_seconds: u32,
    /// How many requests per second the lone tenant makes.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    lone_rate: u32,
    /// Measure the start beside this number of finished requests. Give no value to leave the starts out.
    #[arg(long, value_delimiter = ',', num_args = 0.., default_value = "0,10000")]
    finished: Vec<u32>,
    /// How many sessions each request names, 1 to 100.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    sessions: u32,
    /// Make requests with verification.policy None: the process list is not read. Peers cannot do more.
    #[arg(long)]
    trust_answers: bool,
    /// The number of tenants, 1 to 50. Requests name them in turn.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=50))]
    tenants: u32,
    /// How long each call of the gateway takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    delay_ms: u64,
    /// The most calls of the gateway in any one second. The gateway answers further calls with Throttling.User.
    #[arg(long, value_name = "CALLS")]
    quota: Option<u32>,
    /// With --quota: say in x-acs-retry-after when there is room again.
    #[arg(long, requires = "quota")]
    retry_after: bool,
    /// How often each contender is measured, in turn with the others.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// The cargo profile of the operator.
    #[arg(long, default_value = "release")]
    profile: String,
    /// The file for all measurements, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// The file for a plot of the latency under each rate, in SVG.
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    /// Measure nothing. Print and draw what an earlier --json has written.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(super) from: Option<PathBuf>,
}

/// What to measure, in order.
pub(super) struct Agenda {
    /// In the order in which they take turns. Not built yet.
    pub contenders: Vec<Contender>,
    /// Each contender gets all of them in one run of its process.
    pub loads: Vec<Load>,
    /// Numbers of finished requests, ascending.
    pub finished: Vec<u32>,
    /// For each of them a contender's process is started anew.
    pub attacks: Vec<Kind>,
    /// How they are made.
    pub hostile: Hostile,
    /// How long the soak lasts, if there is one.
    pub soak: Option<Duration>,
    /// What is measured with temporary keys, if anything.
    pub keys: Option<TemporaryKeys>,
    /// How the gateway behaves.
    pub gateway: GatewayOptions,
    /// The setting, for the tables.
    pub setting: Setting,
}

/// How attacks are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hostile {
    /// How many seconds the victim kills alone, and how many beside the attack.
    pub seconds: u32,
    /// How large they are.
    pub size: Size,
    /// Whether the admission policies are removed first.
    pub without_policies: bool,
}

impl BenchArgs {
    /// The agenda; an error names the option that is wrong.
    pub(super) fn agenda(&self) -> anyhow::Result<Agenda> {
        ensure!(self.rates.iter().all(|rate| *rate > 0.0), "--rates: a rate must be above 0");
        ensure!(self.requests.iter().all(|requests| *requests > 0), "--requests: a load needs at least 1");
        ensure!(self.lone_tenant.is_none() || self.tenants > 1, "--lone-tenant needs --tenants 2 or more");
        let has_peers = self.contenders.iter().any(Contender::is_peer);
        ensure!(!has_peers || self.trust_answers, "--contenders: the peers need --trust-answers");
        self.check_backend(has_peers)?;
        let has_floor = self.contenders.iter().any(Contender::is_floor);
        ensure!(!has_floor || self.quota.is_none(), "--quota: the floor calls once and does not wait to be let in");
        let mut names: Vec<_> = self.contenders.iter().map(|contender| &contender.name).collect();
        names.sort();
        names.dedup();
        ensure!(names.len() == self.contenders.len(), "--contenders: two have the same name");
        ensure!(self.soak.is_none_or(|minutes| minutes > 0.0), "--soak: it takes some time");
        let only_operators = self.is_for_operators();
        ensure!(
            !only_operators || !has_peers,
            "--contenders: only operators are attacked, run for long, or have roles"
        );
        let mut contenders = self.contenders.clone();
        contenders.retain(|contender| !only_operators || !contender.is_floor());
        let mut finished = self.finished.clone();
        finished.sort_unstable();
        Ok(Agenda {
            contenders,
            loads: if only_operators { vec![] } else { self.loads() },
            finished: if only_operators { vec![] } else { finished },
            attacks: self.attacks(),
            hostile: Hostile {
                seconds: self.seconds.unwrap_or(30),
                size: Size(self.hostile_size),
                without_policies: self.without_policies,
            },
            soak: self.soak.map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
            keys: self.temporary_keys(),
            gateway: self.gateway(),
            setting: Setting { repeats: if only_operators { 1 } else { self.repeats }, ..self.setting() },
        })
    }

    fn check_backend(&self, has_peers: bool) -> anyhow::Result<()> {
        let by_sql = self.backend == BackendKind::Sql;
        let has_tools = self.contenders.iter().any(|contender| contender.tool().is_some());
        ensure!(by_sql || !has_tools, "--contenders: pymysql and pt-kill need --backend sql");
        ensure!(!by_sql || !has_peers, "--contenders: the peers call a gateway, and none is there with --backend sql");
        let others = self.lone_tenant.is_some() || self.is_for_operators();
        ensure!(
            !by_sql || !others,
            "--backend sql: the engine has one tenant, which is not attacked or used for long, and no temporary keys"
        );
        ensure!(
            !by_sql || !self.trust_answers,
            "--trust-answers: by SQL the process list is always read before, so that the floor reads it after, too"
        );
        ensure!(!by_sql || self.quota.is_none(), "--quota: the engine has none");
        Ok(())
    }

    fn loads(&self) -> Vec<Load> {
        let at_once = self.requests.iter().map(|requests| Load::AtOnce { requests: *requests });
        let rates = self.rates.iter().map(|per_second| {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded up, and positive")]
            let requests = (per_second * f64::from(self.seconds.unwrap_or(5))).ceil() as u32;
            Load::Rate { per_second: *per_second, requests }
        });
        let (per_second, requests) = (self.lone_rate, self.lone_seconds * self.lone_rate);
        let lone = |crowd| Load::Lone { crowd, per_second, requests, part: Part::All };
        let lone = self.lone_tenant.into_iter().flat_map(|crowd| [lone(0), lone(crowd)]);
        at_once.chain(rates).chain(lone).collect()
    }

    /// Whether what is measured is measured of operators only.
    fn is_for_operators(&self) -> bool {
        self.hostile.is_some() || self.soak.is_some() || self.temporary_keys().is_some()
    }

    fn temporary_keys(&self) -> Option<TemporaryKeys> {
        let seconds = |default| Duration::from_secs(self.seconds.unwrap_or(default).into());
        let short = |life| TemporaryKeys::Short { life: Duration::from_secs(life), length: seconds(300) };
        let roles = |roles| TemporaryKeys::Roles { roles, part: seconds(60) };
        self.short_keys.map(short).or_else(|| self.roles.map(roles))
    }

    fn attacks(&self) -> Vec<Kind> {
        match &self.hostile {
            None => vec![],
            Some(named) if named.is_empty() => Kind::value_variants().to_vec(),
            Some(named) => named.clone(),
        }
    }

    fn gateway(&self) -> GatewayOptions {
        let tenant = |number: u32| format!("tbench{number:04}");
        GatewayOptions {
            tenant: tenant(1),
            more_tenants: (2..=self.tenants).map(tenant).collect(),
            delay: Duration::from_millis(self.delay_ms),
            quota: self.quota.map(|calls_per_second| Quota { calls_per_second, retry_after: self.retry_after }),
            // Close connections, as the cloud's gateway keeps none for long: each call must have its own descriptor.
            keep_alive: self.hostile.is_none(),
            ..GatewayOptions::default()
        }
    }

    fn verification(&self) -> VerificationPolicy {
        if self.trust_answers { VerificationPolicy::None } else { VerificationPolicy::BestEffort }
    }

    fn setting(&self) -> Setting {
        Setting {
            time: Timestamp::now(),
            cores: available_parallelism().map_or(0, Into::into),
            processor: processor().unwrap_or_else(|| "unknown".into()),
            profile: self.profile.clone(),
            sessions: self.sessions,
            verification: self.verification(),
            // The victim is one of them.
            tenants: if self.hostile.is_some() || self.backend == BackendKind::Sql { 1 } else { self.tenants },
            delay_ms: if self.backend == BackendKind::Sql { 0 } else { self.delay_ms },
            quota: self.quota,
            repeats: self.repeats,
            backend: self.backend,
        }
    }
}

fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn agenda(arguments: &[&str]) -> anyhow::Result<Agenda> {
        Cli::try_parse_from([&["bench"], arguments].concat())?.args.agenda()
    }

    #[test]
    fn lists_become_loads_and_an_option_without_value_leaves_them_out() {
        let all = agenda(&[
            "--requests",
            "5,7",
            "--rates",
            "0.5",
            "--seconds",
            "3",
            "--lone-tenant",
            "9",
            "--lone-seconds",
            "4",
            "--lone-rate",
            "2",
        ])
        .unwrap();
        let rate = Load::Rate { per_second: 0.5, requests: 2 };
        let [five, seven] = [5, 7].map(|requests| Load::AtOnce { requests });
        let [alone, beside] = [0, 9].map(|crowd| Load::Lone { crowd, per_second: 2, requests: 8, part: Part::All });
        assert_eq!(all.loads, [five, seven, rate, alone, beside]);
        let none = agenda(&["--requests", "--rates", "--finished", "--tenants", "3"]).unwrap();
        assert!(none.loads.is_empty() && none.finished.is_empty());
        assert_eq!((none.gateway.tenant.as_str(), none.gateway.more_tenants.len()), ("tbench0001", 2));
    }

    #[test]
    fn attacks_are_made_instead_of_all_else_and_on_operators_only() {
        let all = agenda(&["--hostile"]).unwrap();
        assert_eq!(all.attacks, Kind::value_variants());
        assert!(all.loads.is_empty() && all.finished.is_empty() && all.contenders.len() == 1);
        let two = agenda(&["--hostile", "orphans,huge-keys", "--seconds", "7", "--hostile-size", "10"]).unwrap();
        assert_eq!((two.attacks, two.hostile.seconds), (vec![Kind::Orphans, Kind::HugeKeys], 7));
        let soak = agenda(&["--soak"]).unwrap();
        assert_eq!((soak.soak, soak.attacks), (Some(Duration::from_mins(30)), vec![]));
        assert!(agenda(&["--hostile", "--trust-answers", "--contenders", "kopf"]).is_err());
    }

    #[test]
    fn temporary_keys_are_measured_instead_of_all_else() {
        let s = Duration::from_secs;
        let keys = |arguments: &[&str]| agenda(arguments).unwrap().keys;
        assert_eq!(keys(&["--short-keys"]), Some(TemporaryKeys::Short { life: s(5), length: s(300) }));
        let short = ["--short-keys", "7", "--seconds", "20"];
        assert_eq!(keys(&short), Some(TemporaryKeys::Short { life: s(7), length: s(20) }));
        assert_eq!(keys(&["--roles"]), Some(TemporaryKeys::Roles { roles: 1000, part: s(60) }));
        let few = agenda(&["--roles", "8", "--seconds", "1"]).unwrap();
        assert_eq!(few.keys, Some(TemporaryKeys::Roles { roles: 8, part: s(1) }));
        assert!(few.loads.is_empty() && few.finished.is_empty() && few.contenders.len() == 1);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for wrong in [
            ["--rates", "0"],
            ["--requests", "0"],
            ["--contenders", "floor,floor"],
            ["--sessions", "101"],
            ["--contenders", "pymysql"],
            ["--backend=sql", "--contenders=script"],
            ["--backend=sql", "--soak"],
            ["--backend=sql", "--trust-answers"],
            ["--tenants", "51"],
            ["--retry-after", "--rates"],
            ["--contenders", "floor,kopf"],
            ["--contenders", "script+writes"],
            ["--contenders=floor", "--quota=9"],
            ["--hostile", "--soak"],
            ["--hostile", "politeness"],
            ["--hostile-size", "5"],
            ["--soak", "0"],
            ["--short-keys", "2"],
            ["--short-keys", "--roles"],
            ["--short-keys", "--soak"],
            ["--roles", "1001"],
            ["--backend=sql", "--roles"],
        ] {
            assert!(agenda(&wrong).is_err(), "{wrong:?}");
        }
        assert!(agenda(&["--lone-tenant", "5", "--tenants", "1"]).is_err());
    }
}
