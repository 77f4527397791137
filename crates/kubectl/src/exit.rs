//! The exit codes, which scripts rely on.

use sessionkill_api::{Outcome, SessionKill, SessionOutcome, SessionReason};

use crate::request::{ended_with, is_ended};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All that was asked for is done: of a kill, every session has ended, or none matched.
    AllEnded = 0,
    /// Anything else, such as an API server that is not reached, or a missing right.
    Other = 1,
    /// Some sessions have not ended.
    SomeNot = 2,
    /// It is not known what became of some session, or nobody waited for it.
    CannotTell = 3,
    /// Nothing was sent: the request was refused, expired or withdrawn.
    Refused = 4,
}

/// What `--help` says of the codes.
pub const HELP: &str = "Exit codes:
  0  all sessions have ended, or nothing matched
  1  anything else, such as an API server that is not reached
  2  some sessions have not ended
  3  it cannot be told what became of some session
  4  nothing was sent: the request was refused, or it expired";

/// The exit code for a request, by its outcome and by that of each of its sessions.
pub fn of(request: &SessionKill) -> Exit {
    let Some(outcome) = ended_with(request) else {
        return if is_ended(request) { Exit::Other } else { Exit::CannotTell };
    };
    match outcome {
        Outcome::SessionsKilled | Outcome::SessionsGone | Outcome::NothingMatched | Outcome::DryRunCompleted => {
            Exit::AllEnded
        }
        Outcome::AlreadyExecuted | Outcome::PartiallyKilled => of_sessions(request),
        Outcome::KillFailed if is_rejected(request) => Exit::Refused,
        Outcome::KillFailed | Outcome::StillPresent => Exit::SomeNot,
        Outcome::OutcomeUnknown => Exit::CannotTell,
        Outcome::ExpiredOnArrival
        | Outcome::KillMissed
        | Outcome::DeadlineExceeded
        | Outcome::Deleted
        | Outcome::PreconditionFailed
        | Outcome::TooManyMatched
        | Outcome::NotAllowed
        | Outcome::InvalidObject => Exit::Refused,
    }
}

/// Whether the whole call was refused before anything of it was executed.
fn is_rejected(request: &SessionKill) -> bool {
    let sessions = request.status.as_ref().map(|status| status.sessions.as_slice()).unwrap_or_default();
    !sessions.is_empty() && sessions.iter().all(|session| session.reason == SessionReason::RequestRejected)
}

fn of_sessions(request: &SessionKill) -> Exit {
    let sessions = request.status.iter().flat_map(|status| &status.sessions);
    let rank = |outcome| match outcome {
        SessionOutcome::Killed | SessionOutcome::Gone => Exit::AllEnded,
        SessionOutcome::Skipped | SessionOutcome::Failed => Exit::SomeNot,
        SessionOutcome::Pending | SessionOutcome::Unknown => Exit::CannotTell,
    };
    // What is not known weighs more than what is known to live.
    sessions.map(|session| rank(session.outcome)).max_by_key(|exit| *exit as u8).unwrap_or(Exit::AllEnded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{ended, session};

    #[test]
    fn each_outcome_has_its_code() {
        for (outcome, sessions, code) in [
            ("SessionsKilled", vec![session("Killed", "Verified")], 0),
            ("SessionsGone", vec![session("Gone", "NotFound")], 0),
            ("NothingMatched", vec![], 0),
            ("AlreadyExecuted", vec![session("Killed", "Verified")], 0),
            ("AlreadyExecuted", vec![session("Failed", "StillPresent"), session("Killed", "Verified")], 2),
            ("PartiallyKilled", vec![session("Failed", "StillPresent"), session("Killed", "Verified")], 2),
            ("PartiallyKilled", vec![session("Skipped", "PreconditionMismatch"), session("Unknown", "AnswerLost")], 3),
            ("KillFailed", vec![session("Failed", "KillRefused")], 2),
            ("KillFailed", vec![session("Failed", "RequestRejected")], 4),
            ("StillPresent", vec![session("Failed", "StillPresent")], 2),
            ("OutcomeUnknown", vec![session("Unknown", "AnswerLost")], 3),
            ("DeadlineExceeded", vec![session("Skipped", "DeadlineExceeded")], 4),
            ("PreconditionFailed", vec![session("Skipped", "PreconditionMismatch")], 4),
            ("TooManyMatched", vec![], 4),
            ("NotAllowed", vec![], 4),
            ("OfALaterVersion", vec![], 1),
        ] {
            assert_eq!(of(&ended(outcome, sessions)) as u8, code, "{outcome}");
        }
    }

    #[test]
    fn a_request_that_still_works_cannot_be_told() {
        let mut request = ended("SessionsKilled", vec![]);
        request.status = None;
        assert_eq!(of(&request), Exit::CannotTell);
    }
}
