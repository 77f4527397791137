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
    node, port,
    process::{Output, Process},
    python,
    server_certificate::{DNS_NAME, ServerCertificate},
};

mod witness;

pub use witness::{KillStatement, Witness};

const PACKAGE: &str = "pylibseekdb==1.4.0.post1";
/// Where clients reach it.
pub(crate) const HOST: &str = "127.0.0.1";
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
    ca: Option<String>,
}

impl Engine {
    /// Starts the engine with its data in `directory`, and returns when it answers queries and lists its sessions. Data
    /// of an earlier engine in the same directory is there again. The first start on a machine installs the engine's
    /// package.
    pub async fn start(directory: &Path) -> anyhow::Result<Self> {
        Self::start_with(directory, None).await
    }

    /// The same with TLS 1.2 and 1.3, by a new certificate for `localhost`, 127.0.0.1, the address for nodes and
    /// [`DNS_NAME`]. The engine takes connections without TLS, too.
    pub async fn start_secure(directory: &Path) -> anyhow::Result<Self> {
        Self::start_with(
            directory,
            Some(ServerCertificate::issue_for(&["localhost", HOST, &node::HOST.to_string(), DNS_NAME])?),
        )
        .await
    }

    async fn start_with(directory: &Path, certificate: Option<ServerCertificate>) -> anyhow::Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let directory = directory.canonicalize()?;
        ensure!(
            !has_hidden_part(&directory),
            "{} has a hidden part, below which the engine crashes when it starts again: use another directory",
            directory.display()
        );
        let ca = certificate.map(|certificate| fill_wallet(&directory, certificate)).transpose()?;
        let program = tokio::task::spawn_blocking(locate).await??;
        let (process, port) =
            port::start_on_free(async |port| Ok((launch(&program, &directory, port, ca.is_some()).await?, port)))
                .await?;
        let server_ip = Conn::new(options(port)).await?.query_first("select host_ip()").await?;
        Ok(Self {
            process: Mutex::new(Arc::new(process)),
            program,
            directory,
            port,
            server_ip: server_ip.context("the engine did not tell its address")?,
            ca,
        })
    }

    /// The authority that signed its certificate, in PEM. `None` without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// The engine's own log. Older parts of it stand beside it, with a time stamp at the end of the name.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        witness::current_log(&self.directory)
    }

    /// What the engine's log says about kills since the directory was made, also before a restart. The engine writes it
    /// before it answers, so that nothing need be waited for after an answer. It blocks, for about 0.1 s.
    pub fn witness(&self) -> anyhow::Result<Witness> {
        Witness::read(&self.directory)
    }

    /// The line of the engine's log that says that `KILL` ended this session. It must be in the current part.
    pub fn log_of_end(&self, session_id: i64) -> anyhow::Result<String> {
        witness::line_of_end(&self.log(), session_id)
    }

    /// The sessions that `KILL` ended, in order.
    pub fn executed_kills(&self) -> anyhow::Result<Vec<i64>> {
        Ok(self.witness()?.ended)
    }

    /// The `KILL` statements, in order, also those that were refused. One with a syntax error is not among them.
    pub fn kill_statements(&self) -> anyhow::Result<Vec<KillStatement>> {
        Ok(self.witness()?.statements)
    }

    /// Creates a user, or changes the password of one that is there. Each of `grants` is what stands between `GRANT` and
    /// `TO`: `PROCESS, SUPER ON *.*`.
    pub async fn create_user(&self, name: &str, password: &str, grants: &[&str]) -> anyhow::Result<()> {
        let mut root = self.connect().await?;
        let (user, password) = (quoted(name), quoted(password));
        root.query_drop(format!("create user if not exists {user}")).await?;
        root.query_drop(format!("alter user {user} identified by {password}")).await?;
        for rights in grants {
            root.query_drop(format!("grant {rights} to {user}"))
                .await
                .with_context(|| format!("cannot grant {rights} to {name}"))?;
        }
        Ok(root.disconnect().await?)
    }

    /// Takes connections from these networks, besides loopback, until it is restarted.
    pub async fn admit(&self, networks: &[&str]) -> anyhow::Result<()> {
        let mut root = self.connect().await?;
        let invited = quoted(&[&[HOST], networks].concat().join(","));
        root.query_drop(format!("set global ob_tcp_invited_nodes = {invited}")).await?;
        Ok(root.disconnect().await?)
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
        let process = launch(&self.program, &self.directory, self.port, self.ca.is_some()).await?;
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(process);
        Ok(())
    }

    fn process(&self) -> Arc<Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The text as a literal of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

/// Puts the certificate where the engine looks for it. Returns the authority.
fn fill_wallet(directory: &Path, certificate: ServerCertificate) -> anyhow::Result<String> {
    let wallet = directory.join("wallet");
    fs::create_dir_all(&wallet).with_context(|| format!("cannot create {}", wallet.display()))?;
    let files = [
        ("ca.pem", &certificate.ca),
        ("server-cert.pem", &certificate.certificate),
        ("server-key.pem", &certificate.key),
    ];
    for (name, pem) in files {
        let path = wallet.join(name);
        fs::write(&path, pem).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(certificate.ca)
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

async fn launch(program: &Path, directory: &Path, port: u16, with_tls: bool) -> anyhow::Result<Process> {
    let mut command = Command::new(program);
    command
        .args(["--nodaemon", "--port", &port.to_string(), "--base-dir"])
        .arg(directory)
        .args(["--parameter", "datafile_size=256M"])
        .args(["--parameter", "log_disk_size=2G"])
        .args(["--parameter", "memory_limit=2G"])
        .args(["--parameter", &format!("ssl_client_authentication={with_tls}")])
        // The log is a witness: no line may be left out, come late or be lost in a crash, and ten files of 256 MB stay.
        .args(["--parameter", "syslog_io_bandwidth_limit=1G"])
        .args(["--parameter", "enable_async_syslog=false"])
        .args(["--parameter", "max_syslog_file_count=10"])
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
