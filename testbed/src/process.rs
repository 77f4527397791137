//! Child processes that never outlive the process that started them, even when that one is `SIGKILL`ed.
//!
//! Each program runs through `setpriv --pdeathsig KILL`, which replaces itself by the program. The kernel ends the
//! program when the thread that started it ends. The process ID is the program's own.

use std::{
    fs::{self, File},
    future::Future,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep, timeout};

const POLL: Duration = Duration::from_millis(20);
/// The time-out of one readiness check: a server that accepts connections before it serves them must not block the next
/// check.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
const TAIL_LINES: usize = 25;

/// The files for a process's output.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output. The same path as `stderr` puts both into one file.
    pub stdout: PathBuf,
    /// Standard error: the log whose last lines are quoted when the process dies.
    pub stderr: PathBuf,
}

impl Output {
    /// Both streams in one file.
    #[must_use]
    pub fn together(log: impl Into<PathBuf>) -> Self {
        let log = log.into();
        Self { stdout: log.clone(), stderr: log }
    }
}

/// A running child. It ends when this value is dropped, and when this process dies in whatever way.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    output: Output,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `program` with the arguments, environment and directory that are set in it. Its streams are appended to
    /// `output`, and it has no input. It has its own process group, so that Ctrl-C reaches only its owner, which then
    /// stops everything in order.
    pub fn start(program: &Command, output: Output) -> anyhow::Result<Self> {
        let name = Path::new(program.get_program())
            .file_name()
            .unwrap_or(program.get_program())
            .to_string_lossy()
            .into_owned();
        let stdout = append(&output.stdout)?;
        let stderr = append(&output.stderr)?;
        let child = spawn(guarded(program, stdout, stderr))
            .map_err(|error| missing_tool(error, "setpriv", "the Debian package util-linux"))
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, pid: child.id(), output, child: Mutex::new(child) })
    }

    /// The program's own process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file that standard error goes to.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.output.stderr
    }

    /// The file that standard output goes to.
    #[must_use]
    pub fn stdout(&self) -> &Path {
        &self.output.stdout
    }

    /// Whether it has not exited yet. A paused process counts as running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Sends `SIGKILL`, and waits until the process is gone. Does nothing if it is gone already.
    pub fn kill(&self) {
        let mut child = self.child();
        // Ignore the error: it only means that the process is gone already.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks it to end (`SIGTERM`). Use `wait` to wait for its end.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Pauses it (`SIGSTOP`), like a long garbage collection or a suspended machine.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Resumes a paused process (`SIGCONT`).
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Waits for the exit.
    pub async fn ended(&self) -> ExitStatus {
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            sleep(POLL).await;
        }
    }

    /// Waits for the exit. `None` if it still runs after `limit`.
    pub async fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        timeout(limit, self.ended()).await.ok()
    }

    /// Sends `SIGTERM`, and `SIGKILL` if it still runs after `patience`.
    pub async fn stop(&self, patience: Duration) {
        if self.terminate().is_err() || self.wait(patience).await.is_none() {
            self.kill();
        }
    }

    /// Repeats `check` until it succeeds, and returns its result. Fails at once, with the last lines of the log, if the
    /// process dies. Fails after `limit`, with the last failure of `check`.
    pub async fn ready<T, F>(&self, limit: Duration, mut check: impl FnMut() -> F) -> anyhow::Result<T>
    where
        F: Future<Output = anyhow::Result<T>>,
    {
        let deadline = Instant::now() + limit;
        loop {
            let failure = match timeout(CHECK_LIMIT, check()).await {
                // Check the process again: `check` may have reached another server on the same port.
                Ok(Ok(found)) if self.is_running() => return Ok(found),
                Ok(Ok(_)) => anyhow::anyhow!("it has ended"),
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("no answer within {} s", CHECK_LIMIT.as_secs()),
            };
            if let Some(status) = self.exit_status() {
                bail!("{} ended before it was ready ({status}); {}", self.name, self.tail());
            }
            if Instant::now() >= deadline {
                return Err(failure.context(format!(
                    "{} is not ready after {} s; {}",
                    self.name,
                    limit.as_secs(),
                    self.tail()
                )));
            }
            sleep(POLL).await;
        }
    }

    /// The last lines of the log, in words that fit an error message.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        format!("the end of its log {}:\n{shown}", self.log().display())
    }

    fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Keeps the child locked while it sends the signal. After a `wait` the process ID may belong to another program.
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let mut child = self.child();
        if let Some(status) = child.try_wait()? {
            bail!("{} has already ended ({status}); {}", self.name, self.tail());
        }
        kill_process(Pid::from_child(&child), signal).with_context(|| format!("cannot signal {}", self.name))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Turns "no such file" into a message that says what to install.
#[must_use]
pub fn missing_tool(error: io::Error, tool: &str, remedy: &str) -> anyhow::Error {
    if error.kind() == io::ErrorKind::NotFound {
        anyhow::anyhow!("{tool} is not on the PATH: install {remedy}")
    } else {
        error.into()
    }
}

fn append(path: &Path) -> anyhow::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write the log {}", path.display()))
}

fn guarded(program: &Command, stdout: File, stderr: File) -> Command {
    use std::os::unix::process::CommandExt;

    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0);
    for (key, value) in program.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    if let Some(directory) = program.get_current_dir() {
        command.current_dir(directory);
    }
    command
}

type Order = (Command, Sender<io::Result<Child>>);

/// Spawns on one thread that lives as long as the process. The death signal is sent when the spawning *thread* ends,
/// and a worker of a runtime or the thread of a test ends long before its children should.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                // Ignore the error: the caller waits for the answer.
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, answer) = mpsc::channel();
    spawner.send((command, reply)).map_err(io::Error::other)?;
    answer.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn shell(script: &str, directory: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start(&command, Output::together(directory.join("log"))).unwrap()
    }

    #[tokio::test]
    async fn the_process_id_is_the_programs_own() {
        let directory = tempfile::tempdir().unwrap();
        let process = shell("echo $$; exec sleep 1000", directory.path());
        let printed = process
            .ready(LIMIT, async || {
                let log = fs::read_to_string(process.log())?;
                Ok(log.trim().parse::<u32>()?)
            })
            .await
            .unwrap();
        assert_eq!(printed, process.pid());
    }

    #[tokio::test]
    async fn a_paused_process_runs_on_after_it_is_resumed() {
        let directory = tempfile::tempdir().unwrap();
        let process = shell("exec sleep 1000", directory.path());
        let state = || fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
        let is = async |wanted: &str| {
            let wanted = format!(") {wanted} ");
            process
                .ready(LIMIT, async || state().contains(&wanted).then_some(()).with_context(|| format!("not {wanted}")))
                .await
                .unwrap();
        };
        process.pause().unwrap();
        is("T").await;
        assert!(process.is_running());
        process.resume().unwrap();
        is("S").await;
        process.terminate().unwrap();
        assert!(process.wait(LIMIT).await.is_some());
        assert!(process.pause().is_err(), "the id may be another program's by now");
    }

    #[tokio::test]
    async fn a_death_at_start_is_reported_with_the_end_of_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let process = shell("echo disk is full; exit 3", directory.path());
        let error = process.ready::<(), _>(LIMIT, async || bail!("not listening")).await.unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("exit status: 3") && message.contains("disk is full"), "{message}");
    }
}
