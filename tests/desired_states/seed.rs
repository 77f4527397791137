//! The choices of one run.

use fastrand::Rng;

/// Choices from the seed that the environment names, or from a new one; printed, so that a failure can be repeated.
pub fn of_this_run(test: &str) -> Rng {
    let named = std::env::var("DESIRED_STATES_SEED").ok().map(|seed| seed.parse().expect("the seed is a number"));
    let seed = named.unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: DESIRED_STATES_SEED={seed}");
    Rng::with_seed(seed)
}
