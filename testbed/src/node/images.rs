//! The registry on the network of nodes, from which they pull all that they run.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tar::{Builder, Header};

use super::{network::REGISTRY, programs::Programs};
use crate::image::{self, Registry};

/// An image in the registry of nodes, by what is in it and not by a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its address without tag and digest.
    pub repository: String,
    /// `sha256:...`.
    pub digest: String,
}

/// Which image Pods of the operator run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An OCI layout, as `testbed image` writes it.
    Layout(PathBuf),
    /// This binary, with what it needs of this machine.
    Binary(PathBuf),
}

/// Starts the registry, with what every Pod begins with.
pub(super) async fn serve(programs: &Programs, directory: &Path) -> anyhow::Result<Registry> {
    let registry = Registry::start_at(&programs.crane, directory, REGISTRY.into()).await?;
    let layer = directory.join("pause.tar");
    let mut builder = Builder::new(File::create(&layer).context("cannot write the layer of pause")?);
    let mut binary = File::open(programs.pause()).context("cannot read pause")?;
    let mut header = Header::new_ustar();
    header.set_size(binary.metadata()?.len());
    header.set_mode(0o755);
    builder.append_data(&mut header, "pause", &mut binary)?;
    builder.finish()?;
    let name = format!("{REGISTRY}/pause:3");
    let layer = layer.to_str().context("crane needs a path in UTF-8")?;
    registry.crane(&["append", "--insecure", "--new_layer", layer, "--new_tag", &name])?;
    let platform = format!("linux/{}", image::architecture());
    let mutate =
        ["mutate", "--insecure", &name, "--entrypoint", "/pause", "--user", "65535", "--set-platform", &platform];
    registry.crane(&[&mutate[..], &["--tag", &name]].concat())?;
    Ok(registry)
}

/// Puts the image there.
pub(super) fn push(registry: &Registry, source: &Source, directory: &Path) -> anyhow::Result<Image> {
    let layout = match source {
        Source::Layout(layout) => layout.clone(),
        Source::Binary(binary) => {
            let layout = directory.join("image");
            image::provisional(binary, &layout)?;
            layout
        }
    };
    let name = registry.image();
    registry.push(&layout, &name)?;
    let digest = String::from_utf8(registry.crane(&["digest", "--insecure", &name])?)?;
    let (repository, _tag) = name.rsplit_once(':').context("an image without a tag")?;
    Ok(Image { repository: repository.into(), digest: digest.trim().into() })
}
