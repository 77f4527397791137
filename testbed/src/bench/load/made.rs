//! Requests that were made, and their results.

use std::{collections::HashMap, time::Instant};

use super::super::plan::{Ended, Sample};

/// A request as it was stored.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// The index of its stream in the plan.
    pub stream: usize,
    /// Its name.
    pub name: String,
    /// Which of the stream's tenants it is for.
    pub tenant: u32,
    /// When it was due.
    pub due: Instant,
    /// Its resource version, which increases over all objects: the order in which requests were stored.
    pub version: u64,
}

/// When a request was seen to have ended, and its place in the order of ends.
pub(super) type Ending = (Instant, u32);

/// The results of the requests of one stream, in the order in which they were stored.
pub(super) fn samples(mut made: Vec<Made>, ended: &HashMap<String, Ending>, started: Instant) -> Vec<Sample> {
    made.sort_by_key(|made| made.version);
    let since = |at: Instant| at.saturating_duration_since(started).as_secs_f64();
    let sample = |made: Made| Sample {
        tenant: made.tenant,
        due: since(made.due),
        ended: ended.get(&made.name).map(|(at, rank)| Ended { at: since(*at), rank: *rank }),
    };
    made.into_iter().map(sample).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn samples_are_in_the_order_of_the_store_and_those_without_an_end_are_kept() {
        let started = Instant::now();
        let at = |ms| started + Duration::from_millis(ms);
        let made = |name: &str, due, version| Made { stream: 0, name: name.into(), tenant: 1, due: at(due), version };
        let ended = [("b".to_owned(), (at(1500), 0))].into();
        let samples = samples(vec![made("a", 1000, 12), made("b", 500, 9)], &ended, started);
        assert_eq!(samples[0].ended, Some(Ended { at: 1.5, rank: 0 }));
        assert_eq!(samples[0].latency_ms(), Some(1000.0));
        assert_eq!((samples[1].due, samples[1].ended), (1.0, None));
    }
}
