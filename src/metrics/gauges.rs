//! The gauges, set right before each scrape. No I/O.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::SignedDuration;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use strum::VariantArray as _;

use super::labels::{Clock, Label, Output, Stage};

type Seconds = Gauge<f64, AtomicU64>;

/// The rate limits of connections whose gateways have throttled them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The number of limited connections.
    pub connections: usize,
    /// The lowest limit, in calls per second; infinite if there is none.
    pub lowest: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 0, lowest: f64::INFINITY }
    }
}

/// The gauges, set right before each scrape.
#[derive(Debug)]
pub struct Gauges {
    leader: Gauge,
    unfinished: Gauge,
    cache: Gauge,
    stage_requests: Family<[Label; 1], Gauge>,
    stage_oldest: Family<[Label; 1], Seconds>,
    limited: Gauge,
    lowest_limit: Seconds,
    watch_age: Family<[Label; 1], Seconds>,
    stall: Seconds,
    output_stuck: Family<[Label; 1], Seconds>,
    clock_lead: Family<[Label; 1], Seconds>,
    credentials_left: Seconds,
}

impl Gauges {
    /// Registers all gauges in `registry`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauges = Self {
            leader: Gauge::default(),
            unfinished: Gauge::default(),
            cache: Gauge::default(),
            stage_requests: Family::default(),
            stage_oldest: Family::default(),
            limited: Gauge::default(),
            lowest_limit: Seconds::default(),
            watch_age: Family::default(),
            stall: Seconds::default(),
            output_stuck: Family::default(),
            clock_lead: Family::default(),
            credentials_left: Seconds::default(),
        };
        registry.register(
            "leader",
            "1 if this operator is the one that works, 0 if it stands by",
            gauges.leader.clone(),
        );
        registry.register(
            "unfinished_requests",
            "SessionKills that have not ended, those among them that wait for a time or for another try",
            gauges.unfinished.clone(),
        );
        let help = "Memory of the SessionKills in the watch cache, but for those of which only the outline is kept";
        registry.register_with_unit("cache", help, Unit::Bytes, gauges.cache.clone());
        registry.register(
            "stage_requests",
            "SessionKills in each stage of their way; Queued is the depth of the queue",
            gauges.stage_requests.clone(),
        );
        let help = "For how long the oldest SessionKill of a stage has been in it; 0 if there is none";
        registry.register_with_unit("stage_oldest", help, Unit::Seconds, gauges.stage_oldest.clone());
        registry.register(
            "upstream_limited_connections",
            "Connections whose calls are limited because their gateway has throttled them",
            gauges.limited.clone(),
        );
        registry.register(
            "upstream_lowest_limit",
            "The lowest of these limits, in calls per second; infinite if there is none",
            gauges.lowest_limit.clone(),
        );
        let help = "Since an event last came in a watch, or a list showed that none had to: at most three minutes if it is alive";
        registry.register_with_unit("watch_age", help, Unit::Seconds, gauges.watch_age.clone());
        let help = "The longest time of the last minutes for which the event loop stood still: nothing went on, the Lease \
                    included";
        registry.register_with_unit("event_loop_stall", help, Unit::Seconds, gauges.stall.clone());
        let help =
            "For how long the oldest line of an output has waited without anything being written; 0 if there is none";
        registry.register_with_unit("output_stuck", help, Unit::Seconds, gauges.output_stuck.clone());
        let help = "By how much the operator's clock is ahead of another at the least; negative if it is behind, 0 if it may be \
                    right. Of the API server's: nothing is sent beyond 5 s. Of all gateways' it is the one that differs most";
        registry.register_with_unit("clock_lead", help, Unit::Seconds, gauges.clock_lead.clone());
        registry.register(
            "credentials_seconds_left",
            "What is left, in seconds, of the temporary access key that expires first of those in use; infinite if there is none",
            gauges.credentials_left.clone(),
        );
        gauges.set_leader(true);
        gauges.set_credentials_left(None);
        gauges.set_limits(Limits::default());
        gauges.set_stages(&[]);
        for watch in crate::health::Watch::KINDS {
            gauges.set_watch_age(watch.as_str(), Duration::ZERO);
        }
        for clock in Clock::VARIANTS {
            gauges.set_clock_lead(*clock, SignedDuration::ZERO);
        }
        for output in Output::VARIANTS {
            gauges.set_output_stuck(*output, Duration::ZERO);
        }
        gauges
    }

    /// Whether this operator leads.
    pub fn set_leader(&self, is_leader: bool) {
        self.leader.set(is_leader.into());
    }

    /// The number of requests that have not ended.
    pub fn set_unfinished(&self, requests: usize) {
        self.unfinished.set(i64::try_from(requests).unwrap_or(i64::MAX));
    }

    /// The bytes of the requests in the watch cache.
    pub fn set_cache(&self, bytes: usize) {
        self.cache.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The stage of each request under way, and its time in it.
    pub fn set_stages(&self, requests: &[(Stage, Duration)]) {
        for stage in Stage::VARIANTS {
            let of_stage = requests.iter().filter(|(of, _)| of == stage);
            let (count, oldest) = of_stage.fold((0, Duration::ZERO), |(n, oldest), (_, age)| (n + 1, oldest.max(*age)));
            let name = [("stage", stage.into())];
            self.stage_requests.get_or_create(&name).set(count);
            self.stage_oldest.get_or_create(&name).set(oldest.as_secs_f64());
        }
    }

    /// The limits on calls.
    pub fn set_limits(&self, limits: Limits) {
        self.limited.set(i64::try_from(limits.connections).unwrap_or(i64::MAX));
        self.lowest_limit.set(limits.lowest);
    }

    /// The time since `watch` was last known to be in step.
    pub fn set_watch_age(&self, watch: &'static str, age: Duration) {
        self.watch_age.get_or_create(&[("watch", watch)]).set(age.as_secs_f64());
    }

    /// The longest stall of the event loop.
    pub fn set_stall(&self, longest: Duration) {
        self.stall.set(longest.as_secs_f64());
    }

    /// The lead of the operator's clock over `clock`.
    pub fn set_clock_lead(&self, clock: Clock, lead: SignedDuration) {
        self.clock_lead.get_or_create(&[("clock", clock.into())]).set(lead.as_secs_f64());
    }

    /// What is left of the access key that expires first; `None` if there is none.
    pub fn set_credentials_left(&self, left: Option<Duration>) {
        self.credentials_left.set(left.map_or(f64::INFINITY, |left| left.as_secs_f64()));
    }

    /// The time that the oldest line of `output` has waited.
    pub fn set_output_stuck(&self, output: Output, waits: Duration) {
        self.output_stuck.get_or_create(&[("output", output.into())]).set(waits.as_secs_f64());
    }
}
