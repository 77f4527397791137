//! `testbed failover`: kills or stops the leader while requests keep coming. Measures how long it takes until another
//! replica leads, and checks what happened to all requests.

mod pods;
mod row;
mod stage;

use std::{path::PathBuf, sync::Arc};

use anyhow::ensure;
use clap::Args;
use futures::TryStreamExt as _;
use jiff::SignedDuration;
use tokio::task::spawn_blocking;

use self::row::row;
pub use self::stage::{FailOver, Stage, Strike};
use crate::{
    arena::{Ground, Verdict},
    node::Entered,
    operator::build_operator,
    scratch,
    stack::{NodeArgs, Pods, Sessions},
};

/// The number of requests around each strike.
const REQUESTS: usize = 3;

/// Options of `testbed failover`.
#[derive(Args, Debug)]
#[command(
    about = "Kill and stop the leader of two replicas over and over, and measure until the other leads",
    after_help = "With nodes: kill its container, delete its Pod and switch off its node."
)]
pub struct FailoverArgs {
    /// How often the leader is killed, and how often it is stopped.
    #[arg(long, default_value_t = 100)]
    runs: usize,
    /// The duration of the Lease, in seconds.
    #[arg(long, default_value_t = 3)]
    lease_seconds: u16,
    /// How many pairs of replicas run at once. They share the runs.
    #[arg(long, default_value_t = 1, conflicts_with = "nodes")]
    at_once: usize,
    /// The cargo profile of the operator.
    #[arg(long, default_value = "dev", conflicts_with = "nodes")]
    profile: String,
    /// The directory for logs, which are kept. Unset means a temporary directory.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "nodes")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    nodes: NodeArgs,
}

impl FailoverArgs {
    /// See [`NodeArgs::enter`].
    pub async fn enter(&self) -> anyhow::Result<Entered> {
        ensure!(self.nodes.count() != Some(1), "whoever loses its only node is followed by nobody: say --nodes 2");
        self.nodes.enter(Sessions::Memory).await
    }
}

/// The results of many strikes.
#[derive(Debug, Default)]
pub struct Tally {
    /// Each of them.
    pub strikes: Vec<(Strike, FailOver)>,
    /// Requests that were made.
    pub requests: usize,
    /// What happened to them.
    pub verdict: Verdict,
}

/// Runs the strikes, and prints the results. Fails if a kill was lost or made twice.
pub async fn failover(args: FailoverArgs) -> anyhow::Result<()> {
    if let Some(pods) = args.nodes.pods(None)? {
        let lease_seconds = Some(args.lease_seconds);
        return pods::on_nodes(Pods { lease_seconds, ..pods }, args.runs).await;
    }
    let (directory, _removed_at_the_end) = scratch::chosen_or_new(args.dir)?;
    let profile = args.profile;
    let binary = spawn_blocking(move || build_operator(&profile)).await??;
    let ground = Arc::new(Ground::prepare(&directory, &binary).await?);
    let pairs = args.at_once.clamp(1, args.runs.max(1));
    let played: futures::stream::FuturesUnordered<_> = (0..pairs)
        .map(|pair| {
            let runs = args.runs / pairs + usize::from(pair < args.runs % pairs);
            let (ground, name) = (ground.clone(), format!("pair-{pair}"));
            async move { play(&ground, &name, runs, args.lease_seconds).await }
        })
        .collect();
    let tally = played.try_fold(Tally::default(), async |all, one| Ok(all.and(one))).await?;
    tally.print(args.lease_seconds);
    ensure!(tally.verdict.violations.is_empty(), "{} things did not hold, see above", tally.verdict.violations.len());
    Ok(())
}

/// Kills and stops the leader in turn, each this number of times.
pub async fn play(ground: &Arc<Ground>, name: &str, runs: usize, lease_seconds: u16) -> anyhow::Result<Tally> {
    let requests = runs * 2 * REQUESTS;
    let mut stage = Stage::set(ground, name, requests, lease_seconds).await?;
    let mut strikes = vec![];
    for strike in [Strike::Kill, Strike::Stop].into_iter().cycle().take(runs * 2) {
        strikes.push((strike, stage.fail_over(strike).await?));
    }
    let verdict = stage.verdict().await?;
    Ok(Tally { strikes, requests, verdict })
}

impl Tally {
    fn and(mut self, other: Self) -> Self {
        self.strikes.extend(other.strikes);
        Self { requests: self.requests + other.requests, verdict: self.verdict.and(other.verdict), ..self }
    }

    /// Prints the results.
    pub fn print(&self, lease_seconds: u16) {
        let Verdict { violations, kills, double_kills, records, unanswered, observed, .. } = &self.verdict;
        for violation in violations {
            println!("LOST OR FALSE {violation}");
        }
        println!("a Lease of {lease_seconds} s; in seconds       runs    least   median      p95     most");
        self.row("killed: until the other leads", Strike::Kill, |it| it.until_it_leads);
        self.row("killed: until it ended a request", Strike::Kill, |it| it.until_it_serves);
        self.row("stopped: until the other leads", Strike::Stop, |it| it.until_it_leads);
        self.row("stopped: until it ended a request", Strike::Stop, |it| it.until_it_serves);
        println!("requests made around the strikes   {:>6}", self.requests);
        println!("sessions killed                    {kills:>6}");
        println!("killed twice                       {double_kills:>6}");
        println!("not killed, and the request says so{:>6}", self.requests - kills);
        println!("claims recorded                    {records:>6}");
        println!("left without an answer             {unanswered:>6}, of these observed {observed}");
        println!("lost, or said falsely              {:>6}", violations.len());
    }

    fn row(&self, what: &str, strike: Strike, which: impl Fn(&FailOver) -> SignedDuration) {
        let those = self.strikes.iter().filter(|(struck, _)| *struck == strike);
        row(what, &those.map(|(_, fail_over)| which(fail_over).as_secs_f64()).collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches as _};

    use super::*;

    fn parsed(words: &str) -> Result<FailoverArgs, clap::Error> {
        let matches = FailoverArgs::augment_args(Command::new("failover"))
            .try_get_matches_from(std::iter::once("failover").chain(words.split_whitespace()))?;
        FailoverArgs::from_arg_matches(&matches)
    }

    #[test]
    fn what_would_have_no_effect_on_nodes_is_refused() {
        assert!(parsed("--runs 1 --at-once 3 --profile dev --dir x").is_ok());
        assert!(parsed("--runs 1 --lease-seconds 15 --nodes 2 --image x").is_ok());
        for words in ["--nodes 2 --at-once 3", "--nodes 2 --profile dev", "--nodes 2 --dir x", "--image x"] {
            assert!(parsed(words).is_err(), "{words}");
        }
    }

    #[tokio::test]
    async fn one_node_is_too_few_to_lose_one() {
        let refused = parsed("--nodes 1").unwrap().enter().await.unwrap_err().to_string();
        assert!(refused.contains("--nodes 2"), "{refused}");
    }
}
