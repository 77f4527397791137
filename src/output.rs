//! Writes lines to standard output and standard error. Does I/O in threads of their own: a slow or absent reader delays
//! its thread and nothing else.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;

/// If no line was written for 10 s, nobody reads them.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// The longest that [`Lines::written`] waits: after 1 s it is known that nobody reads.
const PATIENCE: Duration = Duration::from_secs(1);
/// The pause between a failed write and the next try.
const PAUSE: Duration = Duration::from_millis(100);
/// The most bytes per write: progress is known after each.
const CHUNK: usize = 64 * 1024;
/// The stack of the thread: it only calls `write`, and most of the stack is never touched.
const STACK_BYTES: usize = 128 * 1024;

/// The lines that wait to be written to one output, in order, up to `most` bytes. Handles share them.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    moved: Notify,
    most: usize,
    lost: Counter,
}

#[derive(Debug)]
struct Queue {
    waiting: Vec<u8>,
    /// Bytes that the thread has taken and not yet written.
    writing: usize,
    /// Total bytes that have come, and that were written.
    came: u64,
    went: u64,
    /// When bytes were last written, or a line came into the empty queue.
    moved: Instant,
    /// Whether a line was lost since the queue was last empty.
    loses: bool,
    /// Why the last write failed.
    error: Option<String>,
}

impl Lines {
    /// Starts the thread that writes to `output`, for which at most `most` bytes wait. Lines without room are counted
    /// in `lost`. Fails if the thread cannot be started.
    pub fn start(output: impl AsFd, most: usize, lost: Counter) -> io::Result<Self> {
        // The standard library's handle would keep what it could not write, and report it as written.
        let output = File::from(output.as_fd().try_clone_to_owned()?);
        let shared =
            Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), moved: Notify::new(), most, lost });
        let writer = shared.clone();
        thread::Builder::new()
            .name("output".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || writer.write_to(output))?;
        Ok(Self(shared))
    }

    /// Queues `lines`, which must be whole, without ever waiting. Returns false if there is no room: then they are
    /// lost, and counted as one.
    #[must_use]
    pub fn push(&self, lines: &[u8]) -> bool {
        let mut queue = self.0.queue();
        let has_room = queue.waits() + lines.len() <= self.0.most;
        if has_room {
            if queue.waits() == 0 {
                queue.moved = Instant::now();
            }
            queue.came += lines.len() as u64;
            queue.waiting.extend_from_slice(lines);
            self.0.filled.notify_one();
        } else {
            queue.loses = true;
            self.0.lost.inc();
        }
        has_room
    }

    /// Waits until all lines so far are written, for at most 1 s, and not at all if nobody has read for that long.
    pub async fn written(&self) {
        let came = self.0.queue().came;
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let moved = self.0.moved.notified();
            {
                let queue = self.0.queue();
                if queue.went >= came || queue.stuck_for() >= PATIENCE {
                    return;
                }
            }
            if tokio::time::timeout_at(until, moved).await.is_err() {
                return;
            }
        }
    }

    /// Blocks until nothing waits to be written, for `limit` at most.
    pub fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.0.queue().waits() > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How long the oldest line has waited without anything being written; zero if none waits.
    #[must_use]
    pub fn stuck_for(&self) -> Duration {
        self.0.queue().stuck_for()
    }

    /// Why lines are not written, or were lost since the queue was last empty; `None` if all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let queue = self.0.queue();
        if queue.waits() == 0 || !(queue.loses || queue.error.is_some() || queue.stuck_for() >= STUCK_AFTER) {
            return None;
        }
        let why = queue.error.as_deref().unwrap_or("nobody reads them");
        let lost = if queue.loses { ", and some were lost" } else { "" };
        Some(format!("{why}; {} bytes wait{lost}", queue.waits()))
    }
}

/// For logs: a line without room is lost.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _ = self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes for ever, each byte once: after a failure, continues at the same byte.
    fn write_to(&self, mut output: File) {
        loop {
            let lines = self.next();
            let mut rest = lines.as_slice();
            while !rest.is_empty() {
                match output.write(&rest[..rest.len().min(CHUNK)]) {
                    Ok(count @ 1..) => {
                        rest = &rest[count..];
                        self.wrote(count);
                    }
                    Ok(0) => self.failed("nothing can be written"),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => self.failed(&error.to_string()),
                }
            }
        }
    }

    /// Waits for lines, and takes all of them.
    fn next(&self) -> Vec<u8> {
        let queue = self.queue();
        let filled = self.filled.wait_while(queue, |queue| queue.waiting.is_empty());
        let mut queue = filled.unwrap_or_else(PoisonError::into_inner);
        queue.writing = queue.waiting.len();
        std::mem::take(&mut queue.waiting)
    }

    fn wrote(&self, count: usize) {
        let mut queue = self.queue();
        queue.writing = queue.writing.saturating_sub(count);
        queue.went += count as u64;
        (queue.moved, queue.error) = (Instant::now(), None);
        queue.loses &= queue.waits() > 0;
        drop(queue);
        self.moved.notify_waiters();
    }

    fn failed(&self, error: &str) {
        self.queue().error = Some(error.to_owned());
        thread::sleep(PAUSE);
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: vec![], writing: 0, came: 0, went: 0, moved: Instant::now(), loses: false, error: None }
    }
}

impl Queue {
    fn waits(&self) -> usize {
        self.waiting.len() + self.writing
    }

    fn stuck_for(&self) -> Duration {
        if self.waits() == 0 { Duration::ZERO } else { self.moved.elapsed() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, PipeReader};

    use futures::FutureExt as _;

    use super::*;

    /// Far longer than any test needs.
    const LIMIT: Duration = Duration::from_mins(1);
    const MOST: usize = 64 * 1024;

    fn piped() -> (Lines, PipeReader, Counter) {
        let (reader, writer) = io::pipe().unwrap();
        let lost = Counter::default();
        (Lines::start(writer, MOST, lost.clone()).unwrap(), reader, lost)
    }

    /// Fills the queue, and the pipe as well.
    fn fill(lines: &Lines) {
        while lines.stuck_for() < PATIENCE / 2 {
            let _ = lines.push(&[b'x'; 100]);
        }
    }

    fn wait_for(what: impl Fn() -> bool) {
        let until = Instant::now() + LIMIT;
        while !what() {
            assert!(Instant::now() < until, "waited in vain");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_nobody_reads_is_kept_within_a_bound_and_comes_in_order_when_somebody_does() {
        let (lines, reader, lost) = piped();
        let mut kept = vec![];
        // More than the pipe holds and may wait.
        for number in 0..100_000 {
            let line = format!("line {number}");
            if lines.push(format!("{line}\n").as_bytes()) {
                kept.push(line);
            }
        }
        let most = u64::try_from(kept.len()).unwrap();
        assert!(most > 0 && lost.get() == 100_000 - most, "{most} kept, {} lost", lost.get());
        let trouble = lines.trouble().unwrap();
        assert!(trouble.contains("nobody reads them") && trouble.contains("some were lost"), "{trouble}");
        assert!(lines.0.queue().waits() <= MOST);

        let mut read = BufReader::new(reader).lines().map(Result::unwrap);
        assert!(read.by_ref().take(kept.len()).eq(kept));
        wait_for(|| lines.trouble().is_none());
        assert_eq!(lines.stuck_for(), Duration::ZERO);
        assert!(lines.push(b"afterwards\n"));
        assert_eq!(read.next().unwrap(), "afterwards");
    }

    #[test]
    fn an_output_that_was_closed_is_told_of_and_stops_nobody() {
        let (lines, reader, lost) = piped();
        drop(reader);
        assert!(lines.push(b"line\n"));
        wait_for(|| lines.trouble().is_some_and(|why| why.contains("Broken pipe")));
        while lines.push(&[b'x'; 1024]) {}
        assert_eq!(lost.get(), 1);
        // Returns after its limit.
        lines.flush(Duration::from_millis(20));
    }

    #[tokio::test]
    async fn what_is_written_can_be_waited_for_and_what_nobody_reads_is_not_waited_for_again_and_again() {
        let (lines, reader, _) = piped();
        assert!(lines.push(b"line\n"));
        lines.written().await;
        assert_eq!(BufReader::new(&reader).lines().next().unwrap().unwrap(), "line");

        fill(&lines);
        tokio::time::timeout(LIMIT, lines.written()).await.unwrap();
        wait_for(|| lines.stuck_for() >= PATIENCE);
        assert!(lines.written().now_or_never().is_some(), "that is known by now");
    }
}
