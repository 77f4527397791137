//! What a process knows about its own claims.

use sessionkill_api::SessionKillReceipt;

use super::operator::Member;
use super::world::World;

/// `LiveClaims::is_at_work`: whether a task of `operator` has the claim of `receipt`.
pub(crate) fn is_at_work(world: &World, operator: usize, receipt: &SessionKillReceipt) -> bool {
    let attempt_id = &receipt.spec.attempt_id;
    let has_it = |member: &Member| member.stage.own_claim().is_some_and(|own| own.spec.attempt_id == *attempt_id);
    world.operators[operator].tasks.iter().flat_map(|task| &task.members).any(has_it)
}

/// Notes that the claim was tried more than once. A try without an answer may still be stored.
pub(crate) fn try_again(world: &mut World, operator: usize, receipt: &SessionKillReceipt) {
    world.operators[operator].tried_again.push(receipt.spec.attempt_id.clone());
}

/// `LiveClaims::give_up`.
pub(crate) fn give_up(world: &mut World, operator: usize, receipt: &SessionKillReceipt) {
    let (given_up, attempt_id) = (&mut world.operators[operator].given_up, &receipt.spec.attempt_id);
    if !given_up.contains(attempt_id) {
        given_up.push(attempt_id.clone());
    }
}

/// The name of the process in its claims.
pub(crate) fn holder(world: &World, operator: usize) -> String {
    format!("operator-{operator}-{}", world.operators[operator].life)
}
