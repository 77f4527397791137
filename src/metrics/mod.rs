//! The operator's metrics, in the `OpenMetrics` text format. docs/metrics.md explains each, and is generated from what
//! is registered here. No I/O.
//!
//! Label values are closed sets ([`labels`]): never an object, an instance or a word of the gateway. Every counter
//! starts at 0, so that its first event shows as a change.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::api::{Outcome, SessionOutcome, SessionReason, SessionStatus, WaitReason};

mod gauges;
pub mod labels;
mod series;

pub use gauges::{Gauges, Limits};
use labels::{Call, ClaimResult, Code, Ending, Label, Output, Stage};

/// The content type of `/metrics`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of all time histograms, in seconds: a kill takes hundredths of a second, a verification up to minutes.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Upper bounds of the counts of requests and of sessions per call.
const SIZES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
type Counters<const N: usize> = Family<[Label; N], Counter>;
/// The trace ID of one request, shown with the bucket that the request fell into.
type Exemplar = [(&'static str, String); 1];
type Times<const N: usize> =
    Family<[Label; N], HistogramWithExemplars<Exemplar>, fn() -> HistogramWithExemplars<Exemplar>>;

type Measure = Box<dyn Fn(&Gauges) + Send>;

/// The operator's metrics. Cheap: each event takes a lock or two and a look-up.
pub struct Metrics {
    registry: Mutex<Registry>,
    before_scrape: Mutex<Vec<Measure>>,
    gauges: Gauges,
    requests: Counters<2>,
    completion: Times<1>,
    sessions: Counters<2>,
    put_off: Counters<1>,
    claims: Counters<1>,
    duplicates: Counter,
    unknown: Counters<1>,
    resolved: Counters<2>,
    target_mismatches: Counter,
    calls: Times<2>,
    stages: Family<[Label; 1], Histogram, fn() -> Histogram>,
    call_requests: Histogram,
    call_sessions: Histogram,
    lines_lost: Counters<1>,
    events_dropped: Counter,
    renewals: Counters<2>,
    sts_calls: Times<1>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sessionkill");
        let metrics = Self {
            gauges: Gauges::register(&mut registry),
            registry: Mutex::default(),
            before_scrape: Mutex::default(),
            requests: Counters::default(),
            completion: Times::new_with_constructor(times),
            sessions: Counters::default(),
            put_off: Counters::default(),
            claims: Counters::default(),
            duplicates: Counter::default(),
            unknown: Counters::default(),
            resolved: Counters::default(),
            target_mismatches: Counter::default(),
            calls: Times::new_with_constructor(times),
            stages: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            call_requests: Histogram::new(SIZES),
            call_sessions: Histogram::new(SIZES),
            lines_lost: Counters::default(),
            events_dropped: Counter::default(),
            renewals: Counters::default(),
            sts_calls: Times::new_with_constructor(times),
        };
        metrics.register(&mut registry);
        metrics.start_at_zero();
        Self { registry: Mutex::new(registry), ..metrics }
    }
}

fn times() -> HistogramWithExemplars<Exemplar> {
    HistogramWithExemplars::new(SECONDS.into_iter())
}

impl Metrics {
    /// A request ended with `reason`, this time after its creation. `trace` is its trace ID, if it has one.
    pub fn finished(&self, reason: Outcome, since_creation: Option<Duration>, trace: Option<String>) {
        self.requests.get_or_create(&of_request(reason)).inc();
        if let Some(took) = since_creation {
            let series = self.completion.get_or_create(&[("outcome", Ending::of(reason).into())]);
            observe(&series, took, trace);
        }
    }

    /// Counts the sessions of an ended request whose outcome is its own, not a copy.
    pub fn sessions_finished(&self, sessions: &[SessionStatus]) {
        for session in sessions {
            self.sessions.get_or_create(&of_session(session.outcome, session.reason)).inc();
        }
    }

    /// An attempt ended with the request waiting.
    pub fn put_off(&self, reason: WaitReason) {
        self.put_off.get_or_create(&[("reason", reason.as_str())]).inc();
    }

    /// A claim was tried or given back.
    pub fn claim(&self, result: ClaimResult) {
        self.claims.get_or_create(&[("result", result.into())]).inc();
    }

    /// A request ended with the outcome of another one.
    pub fn duplicate_suppressed(&self) {
        self.duplicates.inc();
    }

    /// The outcome of a session is unknown, for this cause.
    pub fn unknown(&self, cause: SessionReason) {
        self.unknown.get_or_create(&of_cause(cause)).inc();
    }

    /// A session's unknown outcome is now final, as nothing more can be learned: it is `outcome`.
    pub fn unknown_resolved(&self, cause: SessionReason, outcome: SessionOutcome) {
        self.resolved.get_or_create(&of_resolution(cause, outcome)).inc();
    }

    /// The answer to a call named sessions that were not meant.
    pub fn target_mismatch(&self) {
        self.target_mismatches.inc();
    }

    /// A call was answered, or not. `trace` is the trace ID of one of its requests.
    pub fn called(&self, call: Call, code: Code, took: Duration, trace: Option<String>) {
        observe(&self.calls.get_or_create(&of_call(call, code)), took, trace);
    }

    /// A kill call is made, for this number of requests and of sessions.
    pub fn batch(&self, requests: usize, sessions: usize) {
        let float = |size: usize| f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        self.call_requests.observe(float(requests));
        self.call_sessions.observe(float(sessions));
    }

    /// A request leaves a stage after this time in it.
    pub fn leaves(&self, stage: Stage, after: Duration) {
        self.stages.get_or_create(&[("stage", stage.into())]).observe(after.as_secs_f64());
    }

    /// The counter of the lost lines of `output`.
    #[must_use]
    pub fn lines_lost(&self, output: Output) -> Counter {
        self.lines_lost.get_or_create(&[("output", output.into())]).clone()
    }

    /// An Event is dropped, as too many wait.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// An access key of this source was renewed, or could not be for this reason.
    pub fn renewed(&self, source: &'static str, failed: Option<WaitReason>) {
        self.renewals.get_or_create(&of_renewal(source, failed)).inc();
    }

    /// A call of this action of the Security Token Service took this long, whatever came of it.
    pub fn sts_called(&self, action: &'static str, took: Duration) {
        observe(&self.sts_calls.get_or_create(&[("action", action)]), took, None);
    }

    /// Calls `measure` to set gauges before each scrape, so that they cost nothing in between.
    pub fn before_scrape(&self, measure: impl Fn(&Gauges) + Send + 'static) {
        self.before_scrape.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(measure));
    }

    /// All metrics as text. Fails only if a metric's encoder does.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        for measure in self.before_scrape.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            measure(&self.gauges);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }
}

fn observe(series: &HistogramWithExemplars<Exemplar>, took: Duration, trace: Option<String>) {
    let at = trace.as_ref().map(|_| SystemTime::now());
    series.observe(took.as_secs_f64(), trace.map(|trace| [("trace_id", trace)]), at);
}

fn of_request(reason: Outcome) -> [Label; 2] {
    [("outcome", Ending::of(reason).into()), ("reason", reason.as_str())]
}

fn of_session(outcome: SessionOutcome, reason: SessionReason) -> [Label; 2] {
    [("outcome", outcome.as_str()), ("reason", reason.as_str())]
}

fn of_call(call: Call, code: Code) -> [Label; 2] {
    [("operation", call.as_str()), ("code", code.into())]
}

fn of_renewal(source: &'static str, failed: Option<WaitReason>) -> [Label; 2] {
    [("source", source), ("result", failed.map_or("Ok", WaitReason::as_str))]
}

fn of_cause(cause: SessionReason) -> [Label; 1] {
    [("cause", cause.as_str())]
}

fn of_resolution(cause: SessionReason, outcome: SessionOutcome) -> [Label; 2] {
    [("cause", cause.as_str()), ("outcome", outcome.as_str())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_counted_and_described() {
        let metrics = Metrics::default();
        metrics.target_mismatch();
        let text = metrics.encode().unwrap();
        assert!(text.contains("# TYPE sessionkill_target_mismatches counter"), "{text}");
        assert!(text.contains("sessionkill_target_mismatches_total 1\n"), "{text}");
        let version = env!("CARGO_PKG_VERSION");
        assert!(text.contains(&format!("sessionkill_build_info{{version=\"{version}\"}} 1\n")), "{text}");
    }

    #[test]
    fn what_can_be_counted_is_there_before_it_happens() {
        let metrics = Metrics::default();
        let series = "sessionkill_requests_finished_total{outcome=\"Unknown\",reason=\"OutcomeUnknown\"}";
        assert!(metrics.encode().unwrap().contains(&format!("{series} 0\n")));
        metrics.finished(Outcome::OutcomeUnknown, None, None);
        assert!(metrics.encode().unwrap().contains(&format!("{series} 1\n")));
    }

    #[test]
    fn a_time_carries_the_trace_that_it_is_an_example_of() {
        let metrics = Metrics::default();
        metrics.called(Call::Probe, Code::Ok, Duration::from_millis(7), None);
        assert!(!metrics.encode().unwrap().contains("trace_id"));
        metrics.called(Call::Probe, Code::Ok, Duration::from_millis(7), Some("abc".to_owned()));
        let text = metrics.encode().unwrap();
        let line = text.lines().find(|line| line.contains("trace_id")).unwrap();
        assert!(line.contains("operation=\"Probe\"") && line.contains("# {trace_id=\"abc\"} 0.007"), "{line}");
    }

    #[test]
    fn what_is_measured_at_a_scrape_is_measured_again_at_the_next() {
        let metrics = Metrics::default();
        let times = std::sync::atomic::AtomicUsize::new(0);
        metrics.before_scrape(move |gauges| {
            gauges.set_unfinished(times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
        });
        for expected in ["1\n", "2\n"] {
            let text = metrics.encode().unwrap();
            assert!(text.contains(&format!("sessionkill_unfinished_requests {expected}")), "{text}");
        }
    }
}
