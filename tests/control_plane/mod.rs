//! One control plane for all tests of a test program, with `crds/` installed. Each test works in its own namespace.
//!
//! The control plane outlives the runtime of each test, so it holds no client. Each test makes its own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::json;
use testbed::control_plane::ControlPlane;
use tokio::{io::AsyncWriteExt, process::Command, sync::OnceCell};

/// The running control plane.
pub struct Cluster {
    /// The servers of the control plane.
    pub control_plane: ControlPlane,
    // A lock: another run of the same tests would use the same directory.
    _alone: File,
}

/// The result of a command.
#[derive(Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub success: bool,
    /// Its output.
    pub stdout: String,
    /// Its error output, including warnings.
    pub stderr: String,
}

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The control plane of this test program, started by the first test that needs it. It ends with the program.
pub async fn cluster() -> &'static Cluster {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_init(Cluster::start).await
}

impl Cluster {
    async fn start() -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let alone = File::create(scratch.join(concat!(env!("CARGO_CRATE_NAME"), ".lock"))).unwrap();
        alone.lock().unwrap();
        let directory = scratch.join(env!("CARGO_CRATE_NAME"));
        // The directory cannot be removed at the end, as no code runs after the last test.
        if directory.exists() {
            fs::remove_dir_all(&directory).unwrap();
        }
        let control_plane = ControlPlane::start(&directory).await.unwrap();
        control_plane.install_kinds(&repository("crds")).await.unwrap();
        // Wait until kubectl knows the kinds: it caches what it has read from the API server, and not every command
        // refreshes that.
        let kinds = ["api-resources", "--api-group=sessionkill.dev", "--no-headers"];
        let deadline = Instant::now() + Duration::from_mins(1);
        while run(&control_plane, &kinds, "").await.stdout.lines().count() < 4 {
            assert!(Instant::now() < deadline, "the API server does not list the kinds");
        }
        // `kubectl explain` works a moment later.
        for kind in ["sessionkills", "oceanbaseconnections", "clusteroceanbaseconnections", "sessionkillreceipts"] {
            while !run(&control_plane, &["explain", kind], "").await.success {
                assert!(Instant::now() < deadline, "the API server does not describe {kind}");
            }
        }
        Self { control_plane, _alone: alone }
    }

    /// Creates a namespace with these labels.
    pub async fn namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let metadata = json!({"name": name, "labels": labels});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        let said = self.kubectl_with(&["create", "-f", "-"], &namespace.to_string()).await;
        assert!(said.success, "{}", said.stderr);
    }

    /// Runs kubectl.
    pub async fn kubectl(&self, arguments: &[&str]) -> Said {
        self.kubectl_with(arguments, "").await
    }

    /// Runs kubectl with `input` as its standard input.
    pub async fn kubectl_with(&self, arguments: &[&str], input: &str) -> Said {
        run(&self.control_plane, arguments, input).await
    }
}

async fn run(control_plane: &ControlPlane, arguments: &[&str], input: &str) -> Said {
    let mut child = Command::from(control_plane.kubectl())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Ignore the error: a kubectl that fails early does not read its input, and its error output says why.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
