//! `testbed gitops`: requests in Git under the real Argo CD.

mod application;
mod scenes;
mod servers;

use std::{path::PathBuf, sync::Arc, time::Instant};

use anyhow::ensure;
use clap::Args;

use self::servers::Servers;
use crate::{arena::Ground, controller_manager::ControllerManager, operator::build_operator, scratch};

/// Options of `testbed gitops`.
#[derive(Args, Debug)]
#[command(
    about = "Keep requests in a Git repository, under a real GitOps tool, and print what was seen (Flux: cargo test --test flux)"
)]
pub struct GitopsArgs {
    /// Argo CD: its application-controller and its repo-server.
    #[arg(long)]
    argocd: bool,
    /// The directory for data and logs, which are kept. Unset means a temporary directory.
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
}

/// Plays all scenes and prints a table. Ends with an error if anything in a scene is not as promised.
pub async fn gitops(args: GitopsArgs) -> anyhow::Result<()> {
    ensure!(args.argocd, "say which tool: --argocd");
    let (directory, _removed_at_the_end) = scratch::chosen_or_new(args.dir)?;
    let binary = tokio::task::spawn_blocking(|| build_operator("dev")).await??;
    let ground = Arc::new(Ground::prepare(&directory.join("ground"), &binary).await?);
    let control_plane = &ground.control_plane;
    let _controllers = ControllerManager::start(control_plane, &directory).await?;
    let _servers = Servers::start(control_plane, &directory.join("argocd")).await?;
    println!("Argo CD {}\n\n| tried | what Argo CD says |\n|---|---|", servers::version()?);
    let begin = Instant::now();
    let (example, failed, gate, waits, missed) = tokio::join!(
        scenes::example(&ground, &directory),
        scenes::failed(&ground, &directory),
        scenes::gate(&ground, &directory),
        scenes::waits(&ground, &directory),
        scenes::missed(&ground, &directory),
    );
    let scenes = [("example", example), ("failed", failed), ("gate", gate), ("waits", waits), ("missed", missed)];
    let mut broken = vec![];
    for (name, seen) in scenes {
        match seen {
            Ok(seen) => seen.iter().for_each(|(what, said)| println!("| {what} | {} |", quoted(said))),
            Err(error) => broken.push(format!("in the scene {name}: {error:#}")),
        }
    }
    ensure!(broken.is_empty(), "not as promised:\n{}", broken.join("\n"));
    println!(
        "\nEach session that was to be ended was killed once, and no other. It took {} s.",
        begin.elapsed().as_secs()
    );
    Ok(())
}

fn quoted(said: &str) -> String {
    if said.is_empty() { "Synced, Healthy".to_owned() } else { format!("`{said}`") }
}
