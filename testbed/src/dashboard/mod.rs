//! Draws the dashboard of `deploy/monitoring` with the answers of a real Prometheus, while the operator works through a
//! burst with throttling, lost answers and duplicates.

mod panels;
mod picture;
mod scene;

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use tokio::task::spawn_blocking;

pub use self::{
    panels::{Panel, Target, panels},
    picture::{Drawn, picture},
    scene::{Scene, play},
};
use crate::{
    arena::{Arena, Ground, Launch, session},
    operator::build_operator,
    prometheus::{Programs, Prometheus},
    scratch,
};

/// The interval of rates in the panels: four scrapes, as in Grafana.
const INTERVAL: &str = "4s";

/// Options of `testbed dashboard`.
#[derive(Args, Debug)]
#[command(about = "Draw the dashboard with what a real Prometheus saw of a burst with throttling")]
pub struct DashboardArgs {
    /// How many seconds requests are made.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// The file for the picture, in SVG.
    #[arg(long, default_value = "dashboard.svg")]
    out: PathBuf,
    /// The cargo profile of the operator.
    #[arg(long, default_value = "dev")]
    profile: String,
}

/// Plays the scene, and draws the result.
pub async fn dashboard(args: DashboardArgs) -> anyhow::Result<()> {
    let directory = scratch::directory()?;
    let profile = args.profile;
    let (programs, binary) =
        spawn_blocking(move || anyhow::Ok((Programs::locate()?, build_operator(&profile)?))).await??;
    let ground = Arc::new(Ground::prepare(directory.path(), &binary).await?);
    let rules = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/helm/sessionkill-operator/files/prometheus-rules.yaml");
    let arena = Arena::set(&ground, "dashboard", (1..=Scene::SESSIONS).map(session).collect()).await?;
    let replica = arena.start(Launch::default()).await?;
    replica.ready().await?;
    let target = replica.operator.health_url().replace("http://", "");
    let server = Prometheus::start(&programs, directory.path(), &target, &rules.canonicalize()?).await?;
    let start = Timestamp::now().as_second();
    let scene = play(&arena, args.seconds).await?;
    let end = Timestamp::now().as_second();
    let drawn = draw(&server, start, end).await?;
    #[allow(clippy::cast_precision_loss, reason = "seconds of this century")]
    let svg = picture(&drawn, (start as f64, end as f64));
    fs::write(&args.out, svg).with_context(|| format!("cannot write {}", args.out.display()))?;
    println!("{scene:?}: {}", args.out.display());
    Ok(())
}

/// The data of the panels from `start` to `end`, in seconds.
pub async fn draw(server: &Prometheus, start: i64, end: i64) -> anyhow::Result<Vec<Drawn>> {
    let range = format!("{}s", end - start);
    let mut drawn = vec![];
    for panel in panels()? {
        let mut lines = vec![];
        for target in &panel.targets {
            for series in server.query_range(&target.query(INTERVAL, &range), start, end).await? {
                let points = series.values.iter().filter_map(|(time, value)| Some((*time, value.parse().ok()?)));
                lines.push((named(&target.legend_format, &series.metric), points.collect()));
            }
        }
        drawn.push(Drawn { unit: panel.unit().to_owned(), title: panel.title, lines });
    }
    Ok(drawn)
}

fn named(legend: &str, labels: &std::collections::BTreeMap<String, String>) -> String {
    labels.iter().fold(legend.to_owned(), |name, (label, value)| name.replace(&format!("{{{{{label}}}}}"), value))
}
