//! `testbed torture`: random schedules on the real binary. Requests are created, deleted and created again. Meanwhile
//! both sides of the operators fail, and the operators die or pause at random times. When all work is done, everything
//! that must hold is checked. The seed determines the schedule.

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
    operator::build_operator,
    scratch,
};

/// Options of `testbed torture`.
#[derive(Args, Debug)]
#[command(about = "Let everything go wrong at random, and count the sessions that were killed twice")]
pub struct TortureArgs {
    /// How many minutes new schedules are started.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The seed of the first schedule. Each following schedule has the next number. Unset means a random seed, which is
    /// printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many schedules run at once. With 1 a repeated run is closest to the first one.
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// The most schedules to run.
    #[arg(long)]
    schedules: Option<u64>,
    /// Kill sessions of a real engine instead of sessions in memory. A client holds each session open.
    #[arg(long)]
    engine: bool,
    /// The same by SQL, without the gateway. Also interrupts statements.
    #[arg(long)]
    sql: bool,
    /// The cargo profile of the operator.
    #[arg(long, default_value = "dev")]
    profile: String,
    /// The directory for logs, which are kept. Unset means a temporary directory.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

/// The results of many schedules.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many were played.
    pub schedules: usize,
    /// How often the control plane failed in them.
    pub outages: usize,
    /// The sum of all their verdicts.
    pub verdict: Verdict,
}

/// Runs the schedules, and prints the results. Fails if anything did not hold.
pub async fn torture(args: TortureArgs) -> anyhow::Result<()> {
    let (directory, _removed_at_the_end) = scratch::chosen_or_new(args.dir)?;
    let profile = args.profile;
    let binary = spawn_blocking(move || build_operator(&profile)).await??;
    let mut ground = Ground::prepare(&directory, &binary).await?;
    if args.engine || args.sql {
        ground.start_engine().await?;
    }
    let ground = Arc::new(ground);
    let first = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    println!("seed {first}");
    let end = Instant::now() + Duration::from_secs(args.minutes * 60);
    let seeds = (first..).take(args.schedules.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)));
    let schedule = if args.sql { Schedule::by_sql } else { Schedule::of };
    let schedules = seeds.take_while(move |_| Instant::now() < end).map(schedule);
    let tally = play_all(&ground, schedules, args.at_once).await?;
    tally.print();
    ensure!(tally.verdict.violations.is_empty(), "{} things did not hold, see above", tally.verdict.violations.len());
    Ok(())
}

/// Plays all `schedules`, this many at once. Prints each violation with its seed.
pub async fn play_all(
    ground: &Arc<Ground>,
    schedules: impl Iterator<Item = Schedule>,
    at_once: usize,
) -> anyhow::Result<Tally> {
    let played = futures::stream::iter(schedules).map(async |schedule| {
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

    /// Prints the results.
    pub fn print(&self) {
        let Verdict { violations, kills, double_kills, records, unanswered, observed, lost, interrupted, served } =
            &self.verdict;
        println!("schedules           {:>8}", self.schedules);
        println!("control plane failed{:>8}", self.outages);
        println!("sessions killed     {kills:>8}");
        println!("killed twice        {double_kills:>8}");
        if *interrupted > 0 {
            println!("statements stopped  {interrupted:>8}");
        }
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
