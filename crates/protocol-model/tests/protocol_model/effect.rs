//! The effects of a task, and which of them may be next.

use super::choosing::{MATCHING, chooses};
use super::operator::{Member, Stage, Task};

/// One effect of a task or of one of its members. False means that the server does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Observe(bool),
    /// Reads the list when these sessions match.
    Select(&'static [usize]),
    Post(usize, bool),
    PostLate(usize),
    Withdraw(usize),
    Resolve(usize, bool),
    RecordOnce(usize),
    Check,
    Send,
    GiveUp,
    /// By SQL: the kill of the next session.
    Kill,
    /// By SQL: the call ends before the next session. True if that is a fault of its own.
    EndCall(bool),
    Release(usize),
    ReleaseInVain(usize),
    Verify(usize, bool),
    Show(usize),
    Settle(usize),
    Record(usize),
    Report(usize),
}

impl Effect {
    /// The effects that `member`, with the number `index` in its task, may have next. Those without a fault come first.
    fn of(member: &Member, index: usize) -> Vec<Self> {
        match &member.stage {
            Stage::Posting { is_unanswered, .. } => {
                let mut effects = vec![Self::Post(index, true), Self::Post(index, false), Self::PostLate(index)];
                effects.extend(is_unanswered.then_some(Self::Withdraw(index)));
                effects
            }
            Stage::Resolving { .. } => vec![Self::Resolve(index, true), Self::Resolve(index, false)],
            Stage::Resolved { .. } => vec![Self::RecordOnce(index)],
            Stage::Refused { .. } => vec![Self::Release(index), Self::ReleaseInVain(index)],
            Stage::Made { .. } => {
                vec![Self::Verify(index, true), Self::Verify(index, false), Self::Show(index)]
            }
            Stage::Ending { .. } | Stage::Told { .. } => vec![Self::Settle(index)],
            Stage::Recording { .. } => vec![Self::Record(index)],
            Stage::Reporting { .. } => vec![Self::Report(index)],
            Stage::Observing | Stage::Claimed { .. } | Stage::Sending { .. } | Stage::Calling { .. } | Stage::Done => {
                vec![]
            }
        }
    }

    /// The effects that `task` may have next. Claims are made in the order of the members, as they do not affect each
    /// other.
    pub(crate) fn of_task(task: &Task) -> Vec<Self> {
        let any = |is: fn(&Stage) -> bool| task.members.iter().any(|member| is(&member.stage));
        if any(|stage| matches!(stage, Stage::Observing)) && chooses(task) {
            return MATCHING.into_iter().map(Self::Select).collect();
        }
        if any(|stage| matches!(stage, Stage::Observing)) {
            return vec![Self::Observe(true), Self::Observe(false)];
        }
        let mut each = task.members.iter().enumerate().map(|(index, member)| Self::of(member, index));
        if let Some(call) = &task.in_order {
            // A connection that was lost is not always to be had anew.
            return if call.is_waiting { vec![Self::GiveUp] } else { vec![Self::Kill, Self::EndCall(call.lost == 0)] };
        }
        if any(|stage| matches!(stage, Stage::Sending { .. })) {
            return vec![Self::Send];
        }
        if any(|stage| matches!(stage, Stage::Calling { .. })) {
            return vec![Self::GiveUp];
        }
        if any(Stage::is_before_call) {
            return each.find(|effects| !effects.is_empty()).unwrap_or_else(|| vec![Self::Check]);
        }
        if any(|stage| matches!(stage, Stage::Claimed { .. })) {
            return vec![Self::Check];
        }
        each.flatten().collect()
    }

    /// Whether it counts as a fault.
    pub(crate) fn is_fault(self) -> bool {
        matches!(
            self,
            Self::Observe(false)
                | Self::Post(_, false)
                | Self::PostLate(_)
                | Self::ReleaseInVain(_)
                | Self::Resolve(_, false)
                | Self::Verify(_, false)
                | Self::GiveUp
                | Self::EndCall(true)
        )
    }
}
