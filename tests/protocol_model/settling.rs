//! How a world goes on when nothing goes wrong any more, all deadlines have passed and one operator is left.

use std::cell::RefCell;
use std::collections::HashSet;

use super::effect::Effect;
use super::model::{Action, Arrival, Checked};
use super::operator::Operator;
use super::stored::digest;
use super::world::{Trouble, World};

/// More than any request needs.
const STEPS: usize = 100;

thread_local! {
    /// Worlds that are known to end well, by their digests: many differ only in the operator that is gone.
    static KNOWN: RefCell<HashSet<u64>> = RefCell::default();
}

/// Whether every request that is stored ends, whichever operator is left. The other one is gone for good. So it is when the
/// API server stores everything again, and, for all that can be written, when it never does.
pub(crate) fn settles(model: &Checked, world: &World) -> bool {
    let is_troubled = world.trouble != Trouble::None;
    let ways = (0..2).flat_map(|left| [Some((left, Trouble::None)), is_troubled.then_some((left, world.trouble))]);
    ways.flatten().all(|(left, trouble)| {
        let mut world = world.clone();
        world.operators[1 - left] = Operator::default();
        world.trouble = trouble;
        // Bounds of the model, not of the protocol.
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

/// One step of the operator `left`. When there is none: whether all requests have ended.
fn next(model: &Checked, world: &mut World, left: usize) -> Option<bool> {
    if let Some(task) = world.operators[left].tasks.first() {
        let effect = Effect::of_task(task)[0];
        if effect == Effect::GiveUp {
            // Whatever arrives by now is refused.
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
    // Now the watch cache shows it as it is.
    let current = world.requests[index].object.clone()?;
    let version = world.requests[index].versions.iter().position(|version| *version == current)?;
    model.step(world, Action::Take(left, vec![(index, version)])).is_none().then_some(false)
}
