//! Ctrl-C and the signals that ask a process to end.

use crate::errors::{Failure, Result, failure};
use crate::exit::Exit;

/// From when it is made, such signals do not end the process any more: whoever made it looks for them.
pub struct Interrupt {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 3],
    #[cfg(windows)]
    signal: tokio::signal::windows::CtrlC,
}

impl Interrupt {
    /// Listens from now on.
    #[cfg(unix)]
    pub fn listen() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| failure(format!("cannot listen for signals: {error}")));
        let signals =
            [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        Ok(Self { signals })
    }

    /// Listens from now on.
    #[cfg(windows)]
    pub fn listen() -> Result<Self> {
        let signal =
            tokio::signal::windows::ctrl_c().map_err(|error| failure(format!("cannot listen for Ctrl-C: {error}")))?;
        Ok(Self { signal })
    }

    /// Returns when such a signal has come, also one of before. Can be dropped and called again.
    #[cfg(unix)]
    pub async fn came(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            _ = hangup.recv() => (),
        }
    }

    /// Returns when Ctrl-C has come, also one of before. Can be dropped and called again.
    #[cfg(windows)]
    pub async fn came(&mut self) {
        self.signal.recv().await;
    }

    /// What `work` returns, or a failure if a signal comes before.
    pub async fn or<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.came() => Err(interrupted()),
            done = work => done,
        }
    }
}

/// The failure of a command that was interrupted before it asked for a kill.
pub fn interrupted() -> Failure {
    Failure::Said("interrupted: nothing was asked for, and nothing is left behind".to_owned(), Exit::Other)
}
