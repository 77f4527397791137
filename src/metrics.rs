//! Numbers for those who watch the operator, in the text format of `OpenMetrics`.

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What `/metrics` answers with.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The operator's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    target_mismatches: Counter,
    leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sessionkill");
        let target_mismatches = Counter::default();
        registry.register(
            "target_mismatches",
            "Calls whose answer named another user, database or client than was expected or seen before",
            target_mismatches.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "1 in the process that does the work, 0 in one that stands by", leader.clone());
        Self { registry: Mutex::new(registry), target_mismatches, leader }
    }
}

impl Metrics {
    /// The answer to a call named other sessions than were meant.
    pub fn target_mismatch(&self) {
        self.target_mismatches.inc();
    }

    /// Whether this process does the work.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// All metrics as text. Fails only when a metric's own encoder does.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_counted_and_described() {
        let metrics = Metrics::default();
        metrics.target_mismatch();
        metrics.leads(true);
        let text = metrics.encode().unwrap();
        assert!(text.contains("# TYPE sessionkill_target_mismatches counter"), "{text}");
        assert!(text.contains("sessionkill_target_mismatches_total 1\n"), "{text}");
        assert!(text.contains("sessionkill_leader 1\n"), "{text}");
    }
}
