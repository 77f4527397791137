//! The sweep: work that no kill waits for.

use sessionkill_api::SessionKillReceipt;
use sessionkill_core::kill::claim::{Judge, Standing};
use sessionkill_core::kill::retention::{is_awaited, record_of, ttl_expired};

use super::claiming::{delete_if_given_up, record_for};
use super::protocol::{Protocol, Rule};
use super::world::World;

/// Whether a sweep of `operator` has anything to do with this receipt.
pub(crate) fn is_due(protocol: Protocol, world: &World, operator: usize, index: usize) -> bool {
    let (receipt, now) = (&world.receipts[index], protocol.now(world, operator).earliest());
    protocol.receipt_expired(receipt, now) || is_orphaned(protocol, world, operator, receipt)
}

fn is_orphaned(protocol: Protocol, world: &World, operator: usize, receipt: &SessionKillReceipt) -> bool {
    let judge = Judge { uid: None, attempt_id: None, is_at_work: protocol.is_at_work(world, operator, receipt) };
    protocol.standing(judge, receipt, protocol.now(world, operator).earliest()) == Standing::Orphaned
}

/// `sweep_receipts::sweep_receipts` for one receipt: removes an expired one, or resolves an orphaned one. Read and
/// record are one step here. What others may write between the two is checked in the path of requests.
pub(crate) fn receipt(protocol: Protocol, world: &mut World, operator: usize, index: usize) -> Option<()> {
    let (receipt, now) = (world.receipts[index].clone(), protocol.now(world, operator).earliest());
    let is_expired = protocol.receipt_expired(&receipt, now);
    if is_expired && !protocol.has(Rule::ReceiptUntilSettled) {
        return world.delete_receipt(&receipt).ok();
    }
    if is_orphaned(protocol, world, operator, &receipt) {
        if delete_if_given_up(world, operator, &receipt) {
            return Some(());
        }
        let record = record_for(world, operator, &receipt, true)?;
        return world.write_record(&receipt, &record).ok();
    }
    let made_by = &receipt.spec.session_kill_ref;
    if !is_expired || is_awaited(made_by, world.stored(&made_by.name)) {
        return None;
    }
    world.delete_receipt(&receipt).ok()
}

/// Whether the TTL of a finished request has passed.
pub(crate) fn is_request_due(world: &World, operator: usize, index: usize) -> bool {
    world.requests[index]
        .object
        .as_ref()
        .is_some_and(|object| ttl_expired(object, world.known_time(operator).earliest()))
}

/// `sweep_requests::Removal` for one request: removes a finished request whose TTL has passed if its outcome is
/// recorded, and records the outcome otherwise.
pub(crate) fn request(world: &mut World, index: usize) -> Option<()> {
    let object = world.requests[index].object.clone()?;
    let dispatch = object.status.as_ref().and_then(|status| status.dispatch.as_ref());
    let receipt = dispatch.and_then(|dispatch| world.receipt(&dispatch.receipt_name)).cloned();
    if let Some(receipt) = receipt.filter(|receipt| receipt.status.is_none()) {
        let record = record_of(&object, &receipt)?;
        return world.write_record(&receipt, &record).ok();
    }
    world.requests[index].object = None;
    Some(())
}
