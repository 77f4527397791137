//! The registry of the nodes. They pull all their images from it.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tar::{Builder, Header};

use super::{network::REGISTRY, programs::Programs};
use crate::image::{self, Registry};

/// An image in the nodes' registry, by digest and not by tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its address without tag and digest.
    pub repository: String,
    /// `sha256:...`.
    pub digest: String,
}

/// The image of the operator's Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// An OCI layout, written by `testbed image`.
    Layout(PathBuf),
    /// This binary, with the libraries of this machine that it needs.
    Binary(PathBuf),
}

/// Starts the registry, with the image of the first container of each Pod.
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

/// Pushes the image into it.
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
