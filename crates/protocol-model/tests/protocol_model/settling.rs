//! Plays a world to its end without faults, after all deadlines, with one operator left.

use std::cell::RefCell;
use std::collections::HashSet;

use super::effect::Effect;
use super::model::{Action, Arrival, Checked};
use super::operator::Operator;
use super::stored::digest;
use super::world::{Trouble, World};

/// More steps than any request needs.
const STEPS: usize = 100;

thread_local! {
    /// Digests of worlds that are known to end well. Many worlds differ only in the operator that is gone.
    static KNOWN: RefCell<HashSet<u64>> = RefCell::default();
}

/// Whether every stored request ends, whichever operator is left while the other is gone for good. Checked with an API
/// server that stores everything again. If it refused writes before, also with one that goes on refusing them. Then the
/// requests that can be written must end.
pub(crate) fn settles(model: &Checked, world: &World) -> bool {
    let is_troubled = world.trouble != Trouble::None;
    let ways = (0..2).flat_map(|left| [Some((left, Trouble::None)), is_troubled.then_some((left, world.trouble))]);
    ways.flatten().all(|(left, trouble)| {
        let mut world = world.clone();
        world.operators[1 - left] = Operator::default();
        world.trouble = trouble;
        // These are limits of the model, not of the protocol.
        (world.faults, world.attempts) = (u8::MAX, u8::MAX);
        world.executions.clear();
        world.refused_together.clear();
        let known = digest(&(model.protocol, model.scenario, left, &world));
        if KNOWN.with_borrow(|worlds| worlds.contains(&known)) {
            return true;
        }
        let ends = (0..STEPS).find_map(|_| next(model, &mut world, left)).unwrap_or(false);
        if ends {
            KNOWN.with_borrow_mut(|worlds| worlds.insert(known));
        }
        ends
    })
}

/// One step of the operator `left`. If there is nothing to do: whether all requests have ended.
fn next(model: &Checked, world: &mut World, left: usize) -> Option<bool> {
    if let Some(task) = world.operators[left].tasks.first() {
        let effect = Effect::of_task(task)[0];
        if effect == Effect::GiveUp {
            // A call that arrives now is refused, as its time stamp has expired.
            let call = world.network.iter().position(|call| task.waits_for(call))?;
            let refused = Arrival::RefusedWith("InvalidTimeStamp.Expired", false);
            return model.step(world, Action::Arrive(call, refused)).is_none().then_some(false);
        }
        return model.step(world, Action::Work(left, 0, effect)).is_none().then_some(false);
    }
    let unfinished = |index: &usize| {
        let object = world.requests[*index].object.as_ref();
        object.is_some_and(|object| object.status.as_ref().is_none_or(|status| status.completion_time.is_none()))
    };
    let can_end = |index: &usize| *index != 0 || world.trouble != Trouble::Status;
    let Some(index) = (0..2).filter(can_end).find(unfinished) else { return Some(true) };
    // By now the watch cache shows the current version.
    let current = world.requests[index].object.clone()?;
    let version = world.requests[index].versions.iter().position(|version| *version == current)?;
    model.step(world, Action::Take(left, vec![(index, version)])).is_none().then_some(false)
}
