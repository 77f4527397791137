//! `testbed torture`: random schedules on the real binary. In each, requests come, go and come again while both sides of the
//! operators fail and the operators die or sleep at random moments; when all is quiet again, everything that must hold is
//! looked at. A schedule follows from its seed.

mod clients;
mod play;
mod schedule;

use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Args;
use futures::StreamExt as _;
use tokio::task::spawn_blocking;

pub use self::{play::play, schedule::Schedule};
use crate::{
    arena::{Ground, Verdict},
    oceanbase::Engine,
    operator::build_operator,
    scratch,
};

/// How much to try.
#[derive(Args, Debug)]
#[command(about = "Let everything go wrong at random, and count the sessions that were killed twice")]
pub struct TortureArgs {
    /// For how long new schedules are started.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The seed of the first schedule; the following ones count up. Default: a random one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many schedules run at once. One alone is closest to being the same again.
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// How many schedules to run at most.
    #[arg(long)]
    schedules: Option<u64>,
    /// Kill sessions of a real engine, each held open by a client, instead of those of a table in memory.
    #[arg(long)]
    engine: bool,
    /// The cargo profile of the operator.
    #[arg(long, default_value = "dev")]
    profile: String,
    /// Where logs go; kept. Default: a temporary directory.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

/// What many schedules came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many were played.
    pub schedules: usize,
    /// How often the control plane failed in them.
    pub outages: usize,
    /// All their verdicts together.
    pub verdict: Verdict,
}

/// Tries, and prints what came of it. An error if anything did not hold.
pub async fn torture(args: TortureArgs) -> anyhow::Result<()> {
    let (directory, _removed_at_the_end) = scratch::chosen_or_new(args.dir)?;
    let profile = args.profile;
    let binary = spawn_blocking(move || build_operator(&profile)).await??;
    let mut ground = Ground::prepare(&directory, &binary).await?;
    if args.engine {
        ground.engine = Some(Engine::start(&directory.join("engine")).await?);
    }
    let ground = Arc::new(ground);
    let first = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    println!("seed {first}");
    let end = Instant::now() + Duration::from_secs(args.minutes * 60);
    let seeds = (first..).take(args.schedules.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)));
    let tally = play_all(&ground, seeds.take_while(move |_| Instant::now() < end), args.at_once).await?;
    tally.print();
    ensure!(tally.verdict.violations.is_empty(), "{} things did not hold, see above", tally.verdict.violations.len());
    Ok(())
}

/// Plays the schedules of all `seeds`, so many at once. What does not hold is printed with its seed.
pub async fn play_all(ground: &Arc<Ground>, seeds: impl Iterator<Item = u64>, at_once: usize) -> anyhow::Result<Tally> {
    let played = futures::stream::iter(seeds).map(async |seed| {
        let schedule = Schedule::of(seed);
        let outages = schedule.outages();
        Ok((outages, play(ground, schedule).await?))
    });
    let played = played.buffer_unordered(at_once);
    let tally = played.fold(ControlFlow::Continue(Tally::default()), async |tally, played| match (tally, played) {
        (ControlFlow::Continue(tally), Ok((outages, verdict))) => ControlFlow::Continue(tally.with(outages, verdict)),
        (ControlFlow::Continue(_), Err(error)) => ControlFlow::Break(error),
        (broken, _) => broken,
    });
    match tally.await {
        ControlFlow::Continue(tally) => Ok(tally),
        ControlFlow::Break(error) => Err(error),
    }
}

impl Tally {
    fn with(self, outages: usize, verdict: Verdict) -> Self {
        for violation in &verdict.violations {
            println!("VIOLATION {violation}");
        }
        Self { schedules: self.schedules + 1, outages: self.outages + outages, verdict: self.verdict.and(verdict) }
    }

    /// Prints what people want to know.
    pub fn print(&self) {
        let Verdict { violations, kills, double_kills, records, unanswered, observed, lost, served } = &self.verdict;
        println!("schedules           {:>8}", self.schedules);
        println!("control plane failed{:>8}", self.outages);
        println!("sessions killed     {kills:>8}");
        println!("killed twice        {double_kills:>8}");
        if lost + served > 0 {
            println!("clients cut off     {lost:>8}");
            println!("clients served      {served:>8}");
        }
        println!("claims recorded     {records:>8}");
        println!("without an answer   {unanswered:>8} ({})", percent(*unanswered, *records));
        println!("of these, observed  {observed:>8} ({})", percent(*observed, *unanswered));
        println!("did not hold        {:>8}", violations.len());
    }
}

fn percent(part: usize, whole: usize) -> String {
    let tenths = (part * 1000).checked_div(whole).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}
