//! Smaller forms of a final status, for an object that has no room for all of it. Pure.

use sessionkill_api::{ConditionType, SessionKillStatus};

use crate::text::clamp;

/// How much of a final status to write: each form is smaller than the one before. Try the next one if the API server
/// refuses an object as too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Everything.
    Whole,
    /// Nothing from outside: only the outcome and reason of each session.
    Short,
    /// No sessions.
    Summary,
    /// `completionTime` and the `Succeeded` condition only.
    Least,
}

impl Form {
    /// The next smaller form, if any.
    #[must_use]
    pub const fn smaller(self) -> Option<Self> {
        match self {
            Self::Whole => Some(Self::Short),
            Self::Short => Some(Self::Summary),
            Self::Summary => Some(Self::Least),
            Self::Least => None,
        }
    }
}

/// The most characters in a condition's message in the forms without sessions.
const SHORT_MESSAGE: usize = 128;

/// `status` in the given form.
#[must_use]
pub fn in_form(status: &SessionKillStatus, form: Form) -> SessionKillStatus {
    let mut status = status.clone();
    if form >= Form::Short {
        for session in &mut status.sessions {
            session.observed = None;
            session.error_message.clear();
            session.status.clear();
            session.message.clear();
        }
    }
    if form >= Form::Summary {
        status.sessions.clear();
        for condition in &mut status.conditions {
            condition.message = clamp(&condition.message, SHORT_MESSAGE);
        }
    }
    if form >= Form::Least {
        status.counts = None;
        status.dispatch = None;
        status.conditions.retain(|condition| condition.type_ == ConditionType::Succeeded.as_str());
        for condition in &mut status.conditions {
            condition.message.clear();
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::conclusion::{Conclusion, dispatch};
    use crate::kill::outcome::for_all;
    use crate::kill::status::finished;
    use crate::test_objects::{attempt, request, time};
    use sessionkill_api::{Outcome, SessionOutcome, SessionReason};

    #[test]
    fn each_form_is_smaller_and_tells_the_outcome() {
        let object = request();
        let receipt = crate::kill::claim::receipt(&object, &attempt());
        let mut sessions = for_all(&object.spec.sessions, SessionOutcome::Failed, SessionReason::StillPresent);
        sessions[0].error_message = "from outside".repeat(20);
        let call = dispatch(&receipt, receipt.spec.operation, "R");
        let whole = finished(&object, &Conclusion::called(sessions, call, ""), time("10:00:05"));
        let size = |status: &SessionKillStatus| serde_json::to_string(status).unwrap().len();
        let (mut form, mut before) = (Form::Whole, size(&whole) + 1);
        loop {
            let told = in_form(&whole, form);
            assert!(size(&told) < before, "{form:?}: {} of {before}", size(&told));
            assert_eq!(told.completion_time, whole.completion_time);
            let succeeded = told.conditions.iter().find(|it| it.type_ == "Succeeded").unwrap();
            assert_eq!(succeeded.reason, Outcome::StillPresent.as_str());
            before = size(&told);
            let Some(smaller) = form.smaller() else { break };
            form = smaller;
        }
        assert_eq!(form, Form::Least);
        assert_eq!(in_form(&whole, form).conditions.len(), 1);
    }
}
