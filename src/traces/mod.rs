//! Traces: one per SessionKill, from the watch to its outcome, sent by OTLP. Off unless the environment names a
//! receiver, and only in builds with the feature `otlp`. Does I/O.
//!
//! IDs are derived from the object's UID and the attempt's ID. So every replica that works on a request, also after a
//! restart, adds to one trace, and the object leads to its trace. No header of the calls tells Alibaba Cloud of it.

use std::time::SystemTime;

#[cfg(not(feature = "otlp"))]
mod off;
#[cfg(feature = "otlp")]
mod otlp;
mod span;

#[cfg(not(feature = "otlp"))]
use off::Exporter;
#[cfg(feature = "otlp")]
use otlp::Exporter;
use span::trace_id;
pub use span::{Id, Span};

/// The variables that name a receiver.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The exporter of spans; `None` by default.
#[derive(Default)]
pub struct Traces(Option<Exporter>);

impl Traces {
    /// Configures traces from the environment (`OTEL_EXPORTER_OTLP_ENDPOINT` and the others of the specification). The
    /// error says what is wrong with it.
    pub fn from_environment() -> Result<Self, String> {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let exporter = if ENDPOINTS.iter().any(is_set) { Exporter::from_environment()? } else { None };
        Ok(Self(exporter))
    }

    /// Whether spans of the request with this UID are sent: otherwise do not gather them.
    #[must_use]
    pub fn has(&self, uid: &str) -> bool {
        self.0.as_ref().is_some_and(|exporter| exporter.takes(trace_id(uid)))
    }

    /// The ID of the trace of the request with this UID, if it is sent.
    #[must_use]
    pub fn trace_id(&self, uid: &str) -> Option<String> {
        self.has(uid).then(|| hex::encode(trace_id(uid)))
    }

    /// Queues a span to be sent. Never waits: drops the span if the queue is full.
    pub fn add(&self, span: &Span<'_>) {
        if let Some(exporter) = self.0.as_ref().filter(|exporter| exporter.takes(trace_id(span.uid))) {
            exporter.add(span, SystemTime::now());
        }
    }

    /// Sends the queued spans, and waits for that, 5 s at most.
    pub fn end(&self) {
        if let Some(exporter) = &self.0 {
            exporter.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_trace_is_found_from_the_object() {
        let uid = "6f0c9a3e-8d1b-4c55-9f60-0d6f7f4f5d11";
        // printf %s UID | sha256sum | cut -c1-32
        assert_eq!(hex::encode(trace_id(uid)), "3889bbaec4791cb5b30901ff5acb567c");
    }

    #[test]
    fn without_a_receiver_nothing_has_a_trace() {
        let traces = Traces::default();
        assert!(!traces.has("uid") && traces.trace_id("uid").is_none());
        traces.add(&Span::part("uid", "settle", Duration::ZERO));
        traces.end();
    }
}
