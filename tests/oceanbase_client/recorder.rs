//! Records what every crate in this process logs, at the most detailed level.

use std::{
    io,
    sync::{Mutex, Once, PoisonError},
};

static RECORDED: Mutex<Vec<u8>> = Mutex::new(vec![]);

/// Starts the recording, for both logging libraries of Rust.
pub fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(|| Writer).init();
        log::set_logger(&Writer).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// Everything that was recorded so far.
pub fn recorded() -> String {
    String::from_utf8_lossy(&RECORDED.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        RECORDED.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl log::Log for Writer {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}: {}\n", record.level(), record.target(), record.args());
        RECORDED.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line.as_bytes());
    }

    fn flush(&self) {}
}
