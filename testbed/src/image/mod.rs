//! `testbed image`: builds the operator's container image without a container engine, and checks it with a registry and
//! its client.
//!
//! ```text
//! commit ─export→ sources ─compile→ binary ─layer→ tar.gz ─layout→ OUT/image ─push→ registry ─pull→ inspect → demo
//!                     └──────sbom→ OUT/sbom.cdx.json ─layout→ OUT/sbom ─push──┘
//! ```

mod commit;
mod compile;
mod inspect;
mod layer;
mod layout;
mod names;
mod registry;
mod sbom;
mod target;
mod tools;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use clap::Args;

use self::{commit::Commit, inspect::Pulled, layer::Layer, layout::Digest, tools::Tools};
pub(crate) use self::{layout::architecture, registry::Registry, tools::crane};
use crate::{cache, scratch};

/// Options of `testbed image`.
#[derive(Args, Debug)]
#[command(about = "Build the image of the current commit without a container engine, and inspect it")]
pub struct ImageArgs {
    /// The directory for `image` and `sbom`, which are OCI layouts, and `sbom.cdx.json`.
    #[arg(long, value_name = "DIRECTORY", default_value = "target/image")]
    out: PathBuf,
    /// Run the demo with the binary that was pulled.
    #[arg(long)]
    demo: bool,
    /// Build it a second time, from scratch in other directories, and compare. It takes two release builds.
    #[arg(long)]
    check_reproducible: bool,
}

/// Builds the image, inspects it and prints its content. Fails if anything is not as it should be.
pub async fn image(args: ImageArgs) -> anyhow::Result<()> {
    let out = std::path::absolute(&args.out)?;
    let work = cache::root()?.join("image");
    let tools = tokio::task::spawn_blocking(Tools::find).await??;
    let (commit, digest) = blocking(work.clone(), out.clone(), tools.clone()).await?;
    let pulled = Pulled::through_a_registry(&tools.crane, &out, &digest).await?;
    println!("commit       {}", commit.id);
    println!("{}", pulled.inspect(&fs::read(out.join("sbom.cdx.json"))?)?);
    println!("digest       {digest}");
    if args.check_reproducible {
        let scratch = scratch::directory()?;
        let (_, again) = blocking(scratch.path().join("elsewhere"), scratch.path().join("out"), tools).await?;
        println!("built again  {again}");
        ensure!(again == digest, "the image is not reproducible: built elsewhere it is {again}, not {digest}");
    }
    if args.demo { demo(&pulled) } else { Ok(()) }
}

async fn blocking(work: PathBuf, out: PathBuf, tools: Tools) -> anyhow::Result<(Commit, Digest)> {
    tokio::task::spawn_blocking(move || build(&work, &out, &tools)).await?
}

/// Builds the image of the current commit into `out`. Sources and intermediate files go below `work`.
fn build(work: &Path, out: &Path, tools: &Tools) -> anyhow::Result<(Commit, Digest)> {
    fs::create_dir_all(work).with_context(|| format!("cannot create {}", work.display()))?;
    let lock = File::create(work.join("lock"))?;
    lock.lock().context("cannot lock the sources of the image")?;
    let commit = Commit::current()?;
    let sources = work.join("source");
    commit.export(&sources)?;
    let binary = compile::compile(&sources, work, tools)?;
    let sbom = sbom::describe(&commit, &sources, tools)?;
    let layer = Layer::of(&fs::read(binary)?, commit.seconds)?;
    let image = layout::write_image(&out.join("image"), &layer, &commit)?;
    layout::write_sbom(&out.join("sbom"), &sbom, &image)?;
    fs::write(out.join("sbom.cdx.json"), sbom)?;
    Ok((commit, image.digest))
}

/// Writes an image of this binary into `directory`. The binary need not be static: the image has the libraries of this
/// machine that it is linked to. Use it for tests, as the shipped image takes minutes to build.
pub fn provisional(binary: &Path, directory: &Path) -> anyhow::Result<()> {
    let now = Commit { id: "provisional".into(), seconds: 0 };
    layout::write_image(directory, &Layer::with_libraries(binary)?, &now)?;
    Ok(())
}

/// Runs it in a separate process, as a person would.
fn demo(pulled: &Pulled) -> anyhow::Result<()> {
    let directory = scratch::directory()?;
    let binary = pulled.extract(directory.path())?;
    let status = Command::new(env::current_exe()?).args(["demo", "--operator"]).arg(binary).status()?;
    ensure!(status.success(), "the demo with the binary of the image failed ({status}), see above");
    Ok(())
}
