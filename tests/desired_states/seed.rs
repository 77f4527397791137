//! The choices of one run.

use std::time::{SystemTime, UNIX_EPOCH};

/// Choices that follow from a seed.
pub struct Choices(u64);

impl Choices {
    /// Those of the seed that the environment names, or of a new one; printed, so that a failure can be repeated.
    pub fn of_this_run(test: &str) -> Self {
        let named = std::env::var("DESIRED_STATES_SEED").ok().map(|seed| seed.parse().expect("the seed is a number"));
        let new = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos().into());
        let seed = named.unwrap_or_else(new);
        println!("{test}: DESIRED_STATES_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    /// One of `items`.
    pub fn one<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}
