//! Standard output to a pipe that stays full.

use std::{
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    os::fd::AsRawFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use futures::future::{BoxFuture, FutureExt as _, pending};
use tokio::task::spawn_blocking;

use super::{
    attack::{Attack, Needs},
    ground::Ground,
};

/// The pipe. It is read until the attack begins.
pub(super) struct Unread {
    writer: PipeWriter,
    /// Dropped at the end, so that blocked writers end.
    _reader: PipeReader,
    is_read: Arc<AtomicBool>,
}

impl Unread {
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let is_read = Arc::new(AtomicBool::new(true));
        let mut read = reader.try_clone()?;
        let goes_on = is_read.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while goes_on.load(Ordering::Relaxed) && read.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
        });
        Ok(Self { writer, _reader: reader, is_read })
    }
}

impl Attack for Unread {
    fn needs(&self) -> Needs {
        // The parent of the operator, which is this process, opens the path.
        let stdout = format!("/proc/self/fd/{}", self.writer.as_raw_fd());
        Needs { stdout: Some(stdout.into()), ..Needs::default() }
    }

    fn strike<'a>(&'a self, ground: &'a Ground<'_>) -> BoxFuture<'a, anyhow::Result<()>> {
        async {
            self.is_read.store(false, Ordering::Relaxed);
            let mut writer = self.writer.try_clone()?;
            // Fill what the reader left free. Then the write waits until the pipe is closed.
            spawn_blocking(move || while writer.write_all(b"\n").is_ok() {});
            ground.tally.made();
            pending().await
        }
        .boxed()
    }
}
