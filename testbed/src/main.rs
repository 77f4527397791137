//! The testbed's programs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testbed::{
    argocd, bench, dashboard, demo, failover, gateway, image, measure, node::Entered, rights, stack, torture,
};
use tokio::task::spawn_blocking;

mod hold;

/// The real parts that sessionkill is tested on.
#[derive(Parser)]
#[command(name = "testbed")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(bench::BenchArgs),
    Dashboard(dashboard::DashboardArgs),
    Demo(demo::DemoArgs),
    Failover(failover::FailoverArgs),
    Gateway(gateway::cli::GatewayArgs),
    Gitops(argocd::GitopsArgs),
    Image(image::ImageArgs),
    Measure(measure::MeasureArgs),
    Rights(rights::RightsArgs),
    Torture(torture::TortureArgs),
    Up(stack::up::UpArgs),
    /// The load of a measurement.
    #[command(hide = true)]
    BenchLoad(bench::LoadArgs),
    /// The least that a measurement compares with.
    #[command(hide = true)]
    BenchFloor(bench::FloorArgs),
    /// Start one child and hold it until killed: the test of what happens to children then.
    #[command(hide = true)]
    Hold {
        /// Where the child's log goes.
        directory: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    // Nodes run in namespaces of their own, which this program then is in.
    let entered = match &command {
        Command::Demo(args) => args.enter().await,
        Command::Failover(args) => args.enter().await,
        Command::Up(args) => args.enter().await,
        _ => Ok(Entered::Inside),
    };
    let done = match entered {
        Ok(Entered::Inside) => run(command).await,
        Ok(Entered::Outside(code)) => return code,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // One line: a backtrace would bury what is to be done.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Bench(args) => bench::bench(args).await,
        Command::BenchLoad(args) => bench::load(args).await,
        Command::BenchFloor(args) => spawn_blocking(|| bench::floor(args)).await?,
        Command::Dashboard(args) => dashboard::dashboard(args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Failover(args) => failover::failover(args).await,
        Command::Gateway(args) => gateway::cli::run(args).await,
        Command::Gitops(args) => Box::pin(argocd::gitops(args)).await,
        Command::Image(args) => image::image(args).await,
        Command::Measure(args) => measure::measure(args).await,
        Command::Rights(args) => rights::rights(&args),
        Command::Torture(args) => torture::torture(args).await,
        Command::Up(args) => stack::up::up(args).await,
        Command::Hold { directory } => hold::run(&directory).await,
    }
}
