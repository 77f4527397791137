//! What may happen to stored objects. Each mishap happens only where it makes a difference, as this keeps the number of
//! states small.

use super::operator::{Member, Stage};
use super::world::{Trouble, World};

/// The writes that the API server may begin to refuse. It begins only when a process is about to make one, as it makes
/// no difference before.
pub(crate) fn troubles(world: &World) -> impl Iterator<Item = Trouble> {
    let any = |is: fn(&Member) -> bool| {
        let tasks = world.operators.iter().flat_map(|operator| &operator.tasks);
        world.trouble == Trouble::None && tasks.flat_map(|task| &task.members).any(is)
    };
    let is_record = |member: &Member| matches!(member.stage, Stage::Recording { .. } | Stage::Resolved { .. });
    let is_end =
        |member: &Member| member.request == 0 && matches!(member.stage, Stage::Told { .. } | Stage::Ending { .. });
    [(Trouble::Records, any(is_record)), (Trouble::Status, any(is_end))]
        .into_iter()
        .filter_map(|(trouble, is_due)| is_due.then_some(trouble))
}

/// Whether an edit makes a difference now: a process is about to delete the version of the receipt that it knows.
pub(crate) fn may_edit(world: &World, index: usize) -> bool {
    let receipt = &world.receipts[index];
    let is_about_to =
        |member: &Member| matches!(&member.stage, Stage::Refused { receipt: known, .. } if known == receipt);
    let tasks = world.operators.iter().flat_map(|operator| &operator.tasks);
    receipt.metadata.resource_version.is_none() && tasks.flat_map(|task| &task.members).any(is_about_to)
}

/// Whether no process tries this claim again. Such a try would store it too. The API server drops a request that takes
/// it too long, here at the claim's settle deadline.
pub(crate) fn may_arrive(world: &World, index: usize) -> bool {
    let post = &world.posts[index];
    let tries_it = |member: &Member| matches!(&member.stage, Stage::Posting { wanted, .. } if wanted == post);
    let mut tasks = world.operators.iter().flat_map(|operator| &operator.tasks);
    let slowest = (0..2).map(|operator| world.time(operator)).min();
    slowest < Some(post.spec.settle_deadline_time.0) && !tasks.any(|task| task.members.iter().any(tries_it))
}
