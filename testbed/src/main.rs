//! The testbed's programs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testbed::{
    argocd, bench, dashboard, demo, failover, gateway, image, measure, node::Entered, plugin, rights, stack, torture,
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
    Plugin(plugin::PluginArgs),
    Rights(rights::RightsArgs),
    Torture(torture::TortureArgs),
    Up(stack::up::UpArgs),
    /// Run the load of a measurement.
    #[command(hide = true)]
    BenchLoad(bench::LoadArgs),
    /// Run the floor of a measurement.
    #[command(hide = true)]
    BenchFloor(bench::FloorArgs),
    /// Start one child and wait until killed, to test what happens to the child then.
    #[command(hide = true)]
    Hold {
        /// The directory for the child's log.
        directory: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Cli::parse().command;
    // With nodes, run this program again in their namespaces.
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
        // Print one line: a backtrace would hide what to do.
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
        Command::Plugin(args) => plugin::plugin(args).await,
        Command::Rights(args) => rights::rights(&args),
        Command::Torture(args) => torture::torture(args).await,
        Command::Up(args) => stack::up::up(args).await,
        Command::Hold { directory } => hold::run(&directory).await,
    }
}
