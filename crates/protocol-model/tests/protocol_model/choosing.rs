//! A request that chooses its sessions: what each read of the list shows may be anything.

use serde_json::json;
use sessionkill_api::{SessionKill, SessionKillReceipt, SessionOutcome, SqlTextPolicy};
use sessionkill_core::kill::conclusion::Conclusion;
use sessionkill_core::kill::outcome::sends_nothing;
use sessionkill_core::selection::{Selected, choose};

use super::claiming::find;
use super::operator::{Member, Stage, Task, wanted};
use super::protocol::{Protocol, Rule};
use super::stored::Stored;
use super::world::{World, seen};

/// Which sessions match when a list is read: users, statements and times change at any moment.
pub(crate) const MATCHING: [&[usize]; 4] = [&[0], &[1], &[0, 1], &[]];

/// `object` with a selector instead of its sessions.
pub(crate) fn choosing_one(mut object: SessionKill) -> SessionKill {
    object.spec.sessions.clear();
    let selector = json!({"match": {"users": ["report_ro"]}, "maxSessions": 1});
    object.spec.selector = Some(serde_json::from_value(selector).unwrap());
    object
}

/// Whether `task` chooses the sessions of its request.
pub(crate) fn chooses(task: &Task) -> bool {
    task.members.iter().any(|member| member.object.spec.selector.is_some())
}

/// `batch::observe`, and `Request::attempt` up to the claim, when these sessions match.
pub(crate) fn select(protocol: Protocol, world: &mut World, operator: usize, task: &mut Task, matching: &[usize]) {
    for member in task.members.iter_mut().filter(|member| member.stage == Stage::Observing) {
        let there = matching.iter().filter(|session| world.sessions[**session]);
        let sessions: Vec<_> = there.map(|session| seen(*session)).collect();
        let selected = Selected { matched: sessions.len(), sessions, is_cut: false };
        let choice = choose(&member.object.spec, &selected, SqlTextPolicy::None, world.time(operator));
        member.object = member.object.with(|object| object.spec.sessions = choice.sessions);
        let object = member.object.clone();
        let wanted = wanted(protocol, world, operator, &object, (choice.planned, Some(choice.matched)));
        member.stage = if sends_nothing(&wanted.spec) && !protocol.has(Rule::ClaimWhatIsNotSent) {
            find(protocol, world, operator, member, ("sends nothing", || Conclusion::unsendable(&wanted)))
        } else {
            Stage::Posting { wanted, is_unanswered: false }
        };
    }
}

/// The stage of `member` with its claim. If nothing is sent under it, the end is told at once.
pub(crate) fn granted(receipt: Stored<SessionKillReceipt>, is_found: bool) -> Stage {
    if sends_nothing(&receipt.spec) {
        let sessions = Stored::new(receipt.spec.sessions.clone());
        return Stage::Told { receipt, sessions };
    }
    Stage::Claimed { receipt, request: 0, is_found }
}

/// The session that is ended under the claim of `member`, if its request chooses.
pub(crate) fn chosen(member: &Member, receipt: &SessionKillReceipt) -> Option<usize> {
    member.object.spec.selector.as_ref()?;
    let pending = receipt.spec.sessions.iter().find(|session| session.outcome == SessionOutcome::Pending)?;
    usize::try_from(pending.session_id).ok()?.checked_sub(1)
}
