//! A registry on loopback and its client, both from other projects: what they accept, other registries and clients
//! accept.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output as Said, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::net::TcpStream;

use super::{
    layout::Digest,
    names::{BINARY, VERSION},
};
use crate::{
    port,
    process::{Output, Process},
};

const START_LIMIT: Duration = Duration::from_mins(1);

/// A running registry, in memory. It ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct Registry {
    _process: Process,
    crane: PathBuf,
    host: String,
}

impl Registry {
    pub(super) async fn start(crane: &Path, directory: &Path) -> anyhow::Result<Self> {
        port::start_on_free(|port| Self::start_at(crane, directory, format!("127.0.0.1:{port}"))).await
    }

    /// Starts it at `host`, an address with a port.
    pub(crate) async fn start_at(crane: &Path, directory: &Path, host: String) -> anyhow::Result<Self> {
        let mut command = Command::new(crane);
        command.args(["registry", "serve", "--address", &host]);
        let process = Process::start(&command, Output::together(directory.join("registry.log")))?;
        process.ready(START_LIMIT, async || Ok(TcpStream::connect(&host).await.map(drop)?)).await?;
        Ok(Self { _process: process, crane: crane.into(), host })
    }

    /// The name of the image with its tag.
    pub(crate) fn image(&self) -> String {
        format!("{}/{BINARY}:{VERSION}", self.host)
    }

    /// Pushes a layout with one manifest.
    pub(crate) fn push(&self, layout: &Path, to: &str) -> anyhow::Result<()> {
        let layout = layout.to_str().context("crane needs a path in UTF-8")?;
        self.crane(&["push", "--insecure", layout, to]).map(drop)
    }

    /// The output of the client. Fails if the client does.
    pub(crate) fn crane(&self, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
        let Said { status, stdout, stderr } =
            Command::new(&self.crane).args(arguments).stdin(Stdio::null()).output().context("cannot run crane")?;
        let said = String::from_utf8_lossy(&stderr);
        ensure!(status.success(), "crane {}: {}", arguments.join(" "), said.trim());
        Ok(stdout)
    }

    /// The digests of the artifacts that refer to the image. They are found by the tag that is made of its digest, as
    /// in a registry without a referrers API.
    pub(super) fn referrers(&self, image: &Digest) -> anyhow::Result<Vec<String>> {
        let tag = image.to_string().replace(':', "-");
        let list = self.crane(&["manifest", "--insecure", &format!("{}/{BINARY}:{tag}", self.host)])?;
        let list: Value = serde_json::from_slice(&list)?;
        let found = list["manifests"].as_array().into_iter().flatten();
        Ok(found.filter_map(|it| it["digest"].as_str().map(str::to_owned)).collect())
    }
}
