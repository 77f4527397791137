//! One node. To its Pods it looks like a machine, and it can be disconnected and lost.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::{config, network, programs::Programs, requirements};
use crate::{
    control_plane::ControlPlane,
    inside,
    process::{Output, Process},
};

/// A node. Everything that runs on it ends with it.
#[derive(Debug)]
pub struct Node {
    number: u8,
    directory: PathBuf,
    programs: PathBuf,
    process: Mutex<Option<Process>>,
    policies: Mutex<Option<Process>>,
}

impl Node {
    /// Starts the node with this number, counted from 1. Does not wait until it is ready.
    pub(super) fn start(
        control_plane: &ControlPlane,
        programs: &Programs,
        directory: &Path,
        number: u8,
    ) -> anyhow::Result<Self> {
        let node = Self {
            number,
            directory: directory.join(network::name_of(number)),
            programs: programs.directory.clone(),
            process: Mutex::default(),
            policies: Mutex::default(),
        };
        node.configure(control_plane)?;
        node.boot()?;
        Ok(node)
    }

    /// Its name in the API server.
    #[must_use]
    pub fn name(&self) -> String {
        network::name_of(self.number)
    }

    fn configure(&self, control_plane: &ControlPlane) -> anyhow::Result<()> {
        let group = format!("/{}/{}", inside::control_group()?, self.name());
        let user = format!("system:node:{}", self.name());
        let access = control_plane.component_kubeconfig(&user, Some("system:nodes"), network::HOST)?;
        let proxy = control_plane.component_kubeconfig("system:kube-proxy", None, network::HOST)?;
        let kubelet = config::kubelet(&control_plane.authority_file(), &group);
        self.write("kubelet.json", &kubelet.to_string())?;
        self.write("kubelet-access.json", &fs::read_to_string(access)?)?;
        self.write("kube-proxy.json", &config::proxy(&proxy).to_string())?;
        self.write("node.sh", include_str!("node.sh"))?;
        self.write("containerd.toml", &config::containerd(&self.directory, requirements::plugins()?))?;
        self.write("cni/pods.conflist", &config::network(self.number).to_string())?;
        self.write(&format!("registries/{}/hosts.toml", network::REGISTRY), &config::registry())
    }

    fn write(&self, name: &str, content: &str) -> anyhow::Result<()> {
        let path = self.directory.join(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, content));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Switches it on, also again. Its disk keeps its content.
    pub fn boot(&self) -> anyhow::Result<()> {
        network::connect(self.number)?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name()))
            .args(["--", "unshare", "--mount", "--uts", "--ipc", "--pid", "--kill-child=KILL", "--mount-proc"])
            .arg("bash")
            .arg(self.directory.join("node.sh"))
            .args([self.name(), inside::control_group()?])
            .args([&self.programs, &self.directory])
            .arg(network::address_of(self.number).to_string());
        let process = Process::start(&command, Output::together(self.directory.join("node.log")))?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    /// Enforces `NetworkPolicy` objects on it from now on.
    pub(super) fn enforce_policies(&self, programs: &Programs, access: &Path) -> anyhow::Result<()> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name()))
            .arg("--")
            .args([programs.network_policy.as_path(), access])
            .arg(self.name());
        let process = Process::start(&command, Output::together(self.directory.join("network-policy.log")))?;
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        Ok(())
    }

    /// Switches its power off: all its processes end at once, without any message.
    pub fn lose(&self) -> anyhow::Result<()> {
        drop(self.policies.lock().unwrap_or_else(PoisonError::into_inner).take());
        drop(self.process.lock().unwrap_or_else(PoisonError::into_inner).take());
        network::disconnect(self.number)
    }

    /// Disconnects it from the API server and from everything else. Its processes go on.
    pub fn cut_off(&self) -> anyhow::Result<()> {
        network::plug(self.number, "down")
    }

    /// Undoes [`Self::cut_off`].
    pub fn reconnect(&self) -> anyhow::Result<()> {
        network::plug(self.number, "up")
    }

    /// Kills the kubelet, which starts again at once. Pods go on.
    pub fn restart_kubelet(&self) -> anyhow::Result<()> {
        let pid = process_with("cmdline", &format!("--hostname-override={}", self.name()))?;
        kill_process(pid, Signal::KILL).context("cannot kill the kubelet")
    }

    /// The last lines of its logs, for people.
    #[must_use]
    pub fn logs(&self) -> String {
        let end = |name: &str| {
            let text = fs::read_to_string(self.directory.join(name)).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            format!("{} {name}:\n{}\n", self.name(), lines[lines.len().saturating_sub(20)..].join("\n"))
        };
        ["node.log", "containerd.log", "kubelet.log", "kube-proxy.log"].map(end).concat()
    }
}

/// The process of the Pod with this name, seen from outside its container. Its environment must contain the name.
pub fn process_of(pod: &str) -> anyhow::Result<Pid> {
    process_with("environ", &format!("POD_NAME={pod}"))
}

/// The process with this text in its arguments (`cmdline`) or its variables (`environ`).
fn process_with(file: &str, word: &str) -> anyhow::Result<Pid> {
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let entry = entry?;
        let words = fs::read(entry.path().join(file)).unwrap_or_default();
        let has = words.split(|byte| *byte == 0).any(|one| one == word.as_bytes());
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| has) {
            return Ok(pid);
        }
    }
    anyhow::bail!("no process has {word}")
}
