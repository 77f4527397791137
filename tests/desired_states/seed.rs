//! The random choices of a run.

use fastrand::Rng;

/// A generator with the seed in the environment, or with a new one. It prints the seed, so that you can repeat a
/// failure.
pub fn of_this_run(test: &str) -> Rng {
    let named = std::env::var("DESIRED_STATES_SEED").ok().map(|seed| seed.parse().expect("the seed is a number"));
    let seed = named.unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: DESIRED_STATES_SEED={seed}");
    Rng::with_seed(seed)
}
