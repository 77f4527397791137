//! Counts the inputs of a target, and measures the time and the peak memory of the process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How many inputs each target gets in `cargo test`.
pub const ITERATIONS: usize = 500;

/// Counts inputs, and prints the result when it is dropped.
pub struct Tally {
    target: &'static str,
    inputs: AtomicU64,
    taken: AtomicU64,
    since: Instant,
}

impl Tally {
    /// A tally for the target with this name.
    pub fn of(target: &'static str) -> Self {
        Self { target, inputs: AtomicU64::new(0), taken: AtomicU64::new(0), since: Instant::now() }
    }

    /// Counts one more input. `taken` says whether the code accepted it.
    pub fn count(&self, taken: bool) {
        self.inputs.fetch_add(1, Ordering::Relaxed);
        self.taken.fetch_add(taken.into(), Ordering::Relaxed);
    }

    /// Fails if all inputs were refused, or all were accepted: such a target tests nothing.
    pub fn assert_both(&self) {
        let (inputs, taken) = (self.inputs.load(Ordering::Relaxed), self.taken.load(Ordering::Relaxed));
        assert!(0 < taken && taken < inputs, "{}: {taken} of {inputs} inputs were accepted", self.target);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let (inputs, taken) = (self.inputs.load(Ordering::Relaxed), self.taken.load(Ordering::Relaxed));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or(" unknown").trim();
        let seconds = self.since.elapsed().as_secs();
        println!("{}: {inputs} inputs, {taken} of them accepted, in {seconds} s; peak memory {peak}", self.target);
    }
}
