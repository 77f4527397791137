//! A model checker for the protocol: it checks every order in which the steps can happen.
//!
//! ```text
//!  domain (the real functions) ←── operator, claiming, calling, sweeping: their order, one effect a step, as in src/kill
//!                                      │
//!  scenario ─→ world: API server, watch caches, clocks, network, gateway ─→ model: all that may happen ─→ properties
//! ```
//!
//! `in_order` is the same for a database, where a call is a kill for each session and may end before its last one.
//!
//! Each decision of an operator is the crate's own function. The model adds the order of the effects, which follows
//! `src/kill` step by step, and the world around the operators. `mutants` leaves out one rule at a time and checks that
//! a property fails.
//!
//! `SESSIONKILL_MODEL_MORE_FAULTS` and `SESSIONKILL_MODEL_MORE_ATTEMPTS` add this number of faults or attempts to every
//! run. Each one makes a run about ten times as long.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a model that breaks fails its test")]

mod calling;
mod choosing;
mod claiming;
mod effect;
mod in_order;
mod live_claims;
mod mishaps;
mod model;
mod mutants;
mod operator;
mod properties;
mod protocol;
mod scenario;
mod settling;
mod stored;
mod sweeping;
mod time;
mod world;

use std::time::Instant;

use stateright::{Checker as _, Expectation, HasDiscoveries, Model as _};

use model::Checked;
use protocol::is_bound_as_shipped;
use scenario::{A_CLOCK_FAR_OFF, ALL_CLOCKS, Scenario};
use time::{AT_ONCE, EARLY, ON_ITS_WAY, ORPHANED};

/// The threads of one check. Only one, as the tests of this file run in parallel.
const THREADS: usize = 1;

/// Explores all states of `model`. Fails if a property does not hold, if a situation is never reached, or if there are
/// fewer states than `floor`, which would mean that the model does not explore enough.
fn explore(model: Checked, floor: usize) {
    let more = |name: &str| std::env::var(name).map_or(0, |number| number.parse::<u8>().expect(name));
    let faults = model.faults + more("SESSIONKILL_MODEL_MORE_FAULTS");
    let attempts = model.attempts + more("SESSIONKILL_MODEL_MORE_ATTEMPTS");
    let model = Checked { faults, attempts, ..model };
    let started = Instant::now();
    let checker = model.checker().threads(THREADS).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{:?}, {} clocks, {} moments, {} faults, {} attempts: {} states, {} steps, depth {}, {:.1} s",
        model.scenario,
        model.clocks.len(),
        model.moments.len(),
        model.faults,
        model.attempts,
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64(),
    );
    for property in model.properties() {
        let found = checker.discovery(property.name);
        match (property.expectation, found) {
            (Expectation::Sometimes, None) => panic!("never met: {}", property.name),
            (Expectation::Always | Expectation::Eventually, Some(path)) => {
                panic!("does not hold: {}\n{}\nin the end: {:#?}", property.name, steps(&path), path.last_state());
            }
            _ => {}
        }
    }
    assert!(checker.unique_state_count() >= floor, "{} states are too few", checker.unique_state_count());
}

/// The steps of a counterexample, one per line.
fn steps(path: &stateright::Path<world::World, model::Action>) -> String {
    let steps: Vec<_> = path.clone().into_actions().iter().map(|action| format!("  {action:?}")).collect();
    steps.join("\n")
}

#[test]
fn one_request_is_executed_once_and_in_time() {
    explore(Scenario::Single.with(1, 2), 400_000);
}

#[test]
fn clocks_may_differ_by_the_bound() {
    explore(Checked { clocks: ALL_CLOCKS, ..Scenario::Single.with(1, 1) }, 200_000);
    explore(Checked { clocks: ALL_CLOCKS, ..Scenario::Single.with(0, 2) }, 80_000);
}

#[test]
fn a_clock_that_is_far_off_is_not_believed() {
    explore(Checked { clocks: A_CLOCK_FAR_OFF, ..Scenario::Single.with(1, 2) }, 10_000);
}

#[test]
fn a_request_that_is_created_again_is_executed_once_and_in_time() {
    explore(Scenario::Recreated.with(0, 2), 80_000);
    explore(Checked { moments: AT_ONCE, ..Scenario::Recreated.with(1, 2) }, 10_000);
}

#[test]
fn the_same_content_under_two_names_is_executed_once_and_in_time() {
    explore(Scenario::Twins.with(0, 2), 600_000);
}

#[test]
fn a_claim_that_is_let_go_of_is_made_again() {
    explore(Checked { moments: EARLY, ..Scenario::Single.with(1, 2) }, 150_000);
}

#[test]
fn what_the_api_server_does_not_store_keeps_nothing_from_its_end() {
    explore(Checked { moments: ORPHANED, ..Scenario::Recreated.with(1, 1) }, 10_000);
}

#[test]
fn requests_that_share_a_call_have_each_their_own_outcome() {
    explore(Scenario::Group.with(0, 2), 80_000);
    explore(Checked { moments: AT_ONCE, ..Scenario::Group.with(1, 2) }, 800);
}

#[test]
fn requests_whose_shared_call_is_refused_are_each_executed_once_and_in_time() {
    explore(Checked { moments: AT_ONCE, ..Scenario::Group.with(1, 4) }, 80_000);
}

#[test]
fn a_call_by_sql_that_ends_early_is_told_for_each_session() {
    explore(Scenario::OneInOrder.with(1, 2), 120_000);
    explore(Checked { moments: ON_ITS_WAY, ..Scenario::OneInOrder.with(1, 1) }, 30_000);
}

#[test]
fn what_a_call_by_sql_did_not_come_to_goes_out_again_and_nothing_else() {
    explore(Checked { moments: AT_ONCE, ..Scenario::TwoInOrder.with(1, 3) }, 30_000);
    explore(Checked { moments: AT_ONCE, ..Scenario::SameInOrder.with(1, 3) }, 20_000);
    explore(Scenario::TwoInOrder.with(0, 2), 100_000);
}

#[test]
fn whatever_each_operator_sees_a_selection_is_one_kill() {
    explore(Scenario::Chosen.with(1, 2), 100_000);
    explore(Checked { moments: AT_ONCE, ..Scenario::ChosenTwice.with(1, 2) }, 50_000);
}

#[test]
fn the_clocks_of_the_model_differ_by_what_the_product_allows_for() {
    assert!(is_bound_as_shipped());
}
