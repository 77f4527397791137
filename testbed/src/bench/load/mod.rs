//! The load: a separate process that makes requests and sees them end.

mod made;
mod own_thread;
mod stream;
mod watch;

use std::{
    path::PathBuf,
    process,
    sync::{Arc, atomic::AtomicBool},
};

use clap::Args;
use futures::future::try_join_all;

use self::{made::Made, own_thread::OwnThread, stream::Maker, watch::Endings};
use super::{
    plan::{Plan, Report, read, write},
    usage,
};

/// The files of one load.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// The plan to carry out.
    plan: PathBuf,
    /// The file for the report.
    report: PathBuf,
}

/// Makes the load and writes the report.
pub async fn load(args: LoadArgs) -> anyhow::Result<()> {
    let plan: Arc<Plan> = Arc::new(read(&args.plan)?);
    let endings = Endings::watch(&plan).await?;
    let others_ended = Arc::new(AtomicBool::new(false));
    // Give each stream its own thread and connection: they represent independent users.
    let threads: Vec<_> = plan.streams.iter().map(|_| OwnThread::start()).collect::<Result<_, _>>()?;
    let makers = threads.iter().map(|thread| thread.run(Maker::new(plan.clone(), others_ended.clone())));
    let makers = try_join_all(makers).await?;
    let started = std::time::Instant::now();

    let numbered = || (0..plan.streams.len()).map(|index| (index, &plan.streams[index]));
    let made = |last: bool| {
        let those = numbered().filter(move |(_, stream)| stream.while_others_last == last);
        try_join_all(those.map(|(index, _)| threads[index].run(makers[index].clone().make(index))))
    };
    let first = async {
        let made = made(false).await?;
        endings.wait_for(&made, plan.limit).await;
        others_ended.store(true, std::sync::atomic::Ordering::Relaxed);
        anyhow::Ok(made)
    };
    let (first, second) = tokio::try_join!(first, made(true))?;
    endings.wait_for(&second, plan.limit).await;

    let mut streams: Vec<Vec<Made>> = first.into_iter().chain(second).collect();
    streams.sort_by_key(|made| made.first().map(|made| made.stream));
    let ended = endings.all();
    let samples = streams.into_iter().map(|made| made::samples(made, &ended, started));
    write(&args.report, &Report { streams: samples.collect(), cpu_seconds: usage::cpu_seconds(process::id())? })
}
