//! Child processes that never outlive the process that started them, even when that one is `SIGKILL`ed.
//!
//! Each program runs through `setpriv --pdeathsig KILL`, which replaces itself by the program: the kernel ends it when
//! the thread that started it ends, and the process id is the program's own.

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
/// One readiness check; a server that accepts connections before it serves them must not hold up the next check.
const CHECK_LIMIT: Duration = Duration::from_secs(10);
const TAIL_LINES: usize = 25;

/// Where a process writes.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output; the same path as `stderr` puts both into one file.
    pub stdout: PathBuf,
    /// Standard error: the log whose end is quoted when the process dies.
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

/// A running child: gone when this value is dropped, and when this process dies in whatever way.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    output: Output,
    child: Mutex<Child>,
}

impl Process {
    /// Starts `program` with its arguments, environment and directory as set there; its streams go to `output`
    /// (appended) and it reads nothing. It gets a process group of its own, so that Ctrl-C reaches only its owner,
    /// who then stops everything in order.
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

    /// Whether it has not exited yet; a paused process is running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// `SIGKILL`, and waits until the process is gone. Nothing happens if it was.
    pub fn kill(&self) {
        let mut child = self.child();
        // Fails only for a process that has been waited for: what is wanted is then already so.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks it to end (`SIGTERM`); `wait` tells when it has.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Freezes it (`SIGSTOP`) as a long garbage collection or a suspended machine would.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a paused process go on (`SIGCONT`).
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

    /// Waits for the exit; none if it still runs after `limit`.
    pub async fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        timeout(limit, self.ended()).await.ok()
    }

    /// `SIGTERM`, and `SIGKILL` if that has not ended it within `patience`.
    pub async fn stop(&self, patience: Duration) {
        if self.terminate().is_err() || self.wait(patience).await.is_none() {
            self.kill();
        }
    }

    /// Repeats `check` until it succeeds and returns what it found. Fails at once, with the end of the log, when the
    /// process dies, and with the last failed check after `limit`.
    pub async fn ready<T, F>(&self, limit: Duration, mut check: impl FnMut() -> F) -> anyhow::Result<T>
    where
        F: Future<Output = anyhow::Result<T>>,
    {
        let deadline = Instant::now() + limit;
        loop {
            let failure = match timeout(CHECK_LIMIT, check()).await {
                // A check may have reached another server on the port that this process died for.
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

    /// The end of the log, in words that fit an error message.
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

    /// Holds the child while it signals: a process that has been waited for has lost its id, which may by now be
    /// another program's.
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

/// Turns "no such file" into the one thing to do about it.
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

/// Spawns on one thread that lives as long as the process: the death signal is sent when the spawning *thread* ends,
/// and a runtime's worker or a test's thread ends long before its children should.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                // The one who asked waits for the answer, so it is always received.
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
