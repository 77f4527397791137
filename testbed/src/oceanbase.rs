//! A real `OceanBase` engine on loopback: the single-node server `seekdb`. It speaks the `MySQL` protocol, lists its
//! sessions in `V$OB_PROCESSLIST` and ends them with `KILL`. After a restart it reuses low session IDs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
/// The driver, for callers that hold sessions of the engine.
pub use mysql_async;
use mysql_async::{Conn, OptsBuilder, prelude::Queryable};

use crate::{
    port,
    process::{Output, Process},
    python,
};

const PACKAGE: &str = "pylibseekdb==1.4.0.post1";
const HOST: &str = "127.0.0.1";
const START_LIMIT: Duration = Duration::from_mins(3);

/// Installs the engine's package if it is missing. Call it before the network is gone. It blocks.
pub fn prepare() -> anyhow::Result<()> {
    locate().map(drop)
}

/// A running engine. It ends when this value is dropped.
#[derive(Debug)]
pub struct Engine {
    process: Mutex<Arc<Process>>,
    program: PathBuf,
    directory: PathBuf,
    port: u16,
    server_ip: String,
}

impl Engine {
    /// Starts the engine with its data in `directory`, and returns when it answers queries and lists its sessions. Data
    /// of an earlier engine in the same directory is there again. The first start on a machine installs the engine's
    /// package.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        ensure!(
            !has_hidden_part(&directory),
            "{} has a hidden part, below which the engine crashes when it starts again: use another directory",
            directory.display()
        );
        let program = tokio::task::spawn_blocking(locate).await??;
        let (process, port) =
            port::start_on_free(async |port| Ok((launch(&program, &directory, port).await?, port))).await?;
        let server_ip = Conn::new(options(port)).await?.query_first("select host_ip()").await?;
        Ok(Self {
            process: Mutex::new(Arc::new(process)),
            program,
            directory,
            port,
            server_ip: server_ip.context("the engine did not tell its address")?,
        })
    }

    /// The URL with which `root` connects without a password, as `mysql_async` reads it.
    #[must_use]
    pub fn url(&self) -> String {
        // Otherwise the driver would move a loopback connection to the engine's socket, and the session would have no
        // client address.
        format!("mysql://root@{HOST}:{}/?prefer_socket=false", self.port)
    }

    /// The port of 127.0.0.1 that it listens on, the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of this server in requests to end its sessions.
    #[must_use]
    pub fn server_ip(&self) -> &str {
        &self.server_ip
    }

    /// Its process id, which changes when it is restarted.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// The options with which `root` connects. Change the user or the database before use.
    #[must_use]
    pub fn options(&self) -> OptsBuilder {
        options(self.port)
    }

    /// A new session of `root`, whose statements may run for a day.
    pub async fn connect(&self) -> anyhow::Result<Conn> {
        Conn::new(self.options()).await.with_context(|| format!("cannot connect to the engine on port {}", self.port))
    }

    /// The ID with which the engine lists and ends the session of `connection`.
    pub async fn session_id(&self, connection: &mut Conn) -> anyhow::Result<i64> {
        let id = connection.query_first("select connection_id()").await?;
        id.context("the engine did not tell the session's id")
    }

    /// Kills the engine like a crash, and starts it again with the same data and port. All sessions are gone, and their
    /// IDs are reused.
    pub async fn restart(&self) -> anyhow::Result<()> {
        self.process().kill();
        let process = launch(&self.program, &self.directory, self.port).await?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(process);
        Ok(())
    }

    fn process(&self) -> Arc<Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn has_hidden_part(directory: &Path) -> bool {
    directory.iter().any(|part| part.as_encoded_bytes().starts_with(b"."))
}

fn options(port: u16) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname(HOST)
        .tcp_port(port)
        .user(Some("root"))
        .prefer_socket(false)
        // In microseconds. The default ends every statement after ten seconds.
        .setup(vec!["set session ob_query_timeout = 86400000000"])
}

fn locate() -> anyhow::Result<PathBuf> {
    let environment = python::environment("oceanbase", &[PACKAGE])?;
    let library = environment.join("lib");
    fs::read_dir(&library)
        .with_context(|| format!("cannot read {}", library.display()))?
        .filter_map(Result::ok)
        .map(|python| python.path().join("site-packages/pylibseekdb/seekdb"))
        .find(|program| program.is_file())
        .with_context(|| format!("{PACKAGE} brought no seekdb into {}", environment.display()))
}

async fn launch(program: &Path, directory: &Path, port: u16) -> anyhow::Result<Process> {
    let mut command = Command::new(program);
    command
        .args(["--nodaemon", "--port", &port.to_string(), "--base-dir"])
        .arg(directory)
        .args(["--parameter", "datafile_size=256M"])
        .args(["--parameter", "log_disk_size=2G"])
        .args(["--parameter", "memory_limit=2G"])
        .env("TELEMETRY_ENABLED", "false");
    let process = Process::start(&command, Output::together(directory.join("seekdb.log")))?;
    process
        .ready(START_LIMIT, async || {
            let mut connection = Conn::new(options(port)).await?;
            // It can only listen on all addresses, and root has no password.
            connection.query_drop(format!("set global ob_tcp_invited_nodes = '{HOST}'")).await?;
            // This list is served a moment later than other queries.
            connection.query_drop("select id from oceanbase.V$OB_PROCESSLIST").await?;
            Ok(connection.disconnect().await?)
        })
        .await?;
    Ok(process)
}
