//! The signals that ask the process to end. The kernel drops a signal that the first process of a container does not
//! handle: a SIGTERM during start-up would be lost, and the Pod would hang until its grace period is over. No I/O.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for SIGTERM and SIGINT. A signal is kept until somebody waits for it.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on, for the life of the process. Call it inside an event loop.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for either signal.
    pub async fn asked_to_end(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Sent, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn what_comes_before_somebody_waits_is_kept() {
        let signals = Signals::listen().unwrap();
        kill_process(getpid(), Sent::TERM).unwrap();
        signals.asked_to_end().await;
    }
}
