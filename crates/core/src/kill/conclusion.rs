//! The end of a request, in words for people and for programs. Pure; `status` builds the status from it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sessionkill_api::{
    Dispatch, Operation, Outcome, SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionOutcome,
    SessionReason, SessionStatus,
};

use crate::kill::outcome::{counts, ended, for_all, for_sent, sends_nothing, summary};
use crate::text::{clamp, clamp_bytes, quoted};

/// The most bytes of a status's sessions. With five conditions of at most 4 KiB each, the status stays below 256 KiB:
/// etcd would refuse a too large object only after the kill, when it is too late.
const MAX_BYTES: usize = 232 * 1024;

/// Advice for a user who wants to try again.
const TRY_AGAIN: &str = "to try again, create a new SessionKill with a new notAfterTime";

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// The reason of the `Succeeded` condition.
    pub reason: Outcome,
    /// What happened and what to do next, for people.
    pub message: String,
    /// The outcome of each session.
    pub sessions: Vec<SessionStatus>,
    /// How many sessions the selector matched.
    pub matched: Option<i32>,
    /// The call, if one was sent.
    pub dispatch: Option<Dispatch>,
    /// For which sessions the answer named another user, database or client than was meant.
    pub target_mismatch: Option<String>,
    /// The outcome is that of another request of the same content.
    pub is_copied: bool,
    /// The audit line of the call was lost.
    pub is_unaudited: bool,
}

impl Conclusion {
    /// Ends a request without a call.
    #[must_use]
    pub fn uncalled(reason: Outcome, message: String, sessions: Vec<SessionStatus>) -> Self {
        Self {
            reason,
            message,
            sessions,
            matched: None,
            dispatch: None,
            target_mismatch: None,
            is_copied: false,
            is_unaudited: false,
        }
    }

    /// The same, for a request whose selector matched so many sessions.
    #[must_use]
    pub fn of_matched(self, matched: Option<i32>) -> Self {
        Self { matched, ..self }
    }

    /// Ends a request whose claim says that nothing is sent, as its selector matched nothing, or too much.
    #[must_use]
    pub fn unsendable(receipt: &SessionKillReceipt) -> Self {
        let sessions = receipt.spec.sessions.clone();
        let matched = receipt.spec.matched;
        let (reason, message) = if sessions.is_empty() {
            (Outcome::NothingMatched, "nothing was sent: no session matches the selector".to_owned())
        } else {
            let message = format!(
                "nothing was sent: {} sessions match, more than selector.maxSessions: {}; narrow the selector, or let \
                 maxSessions or take allow it, in a new SessionKill",
                matched.unwrap_or_default(),
                who(&sessions)
            );
            (Outcome::TooManyMatched, message)
        };
        Self::uncalled(reason, message, sessions).of_matched(matched)
    }

    /// Ends `object` without a call: every session is skipped for `why`.
    #[must_use]
    pub fn nothing_sent(object: &SessionKill, reason: Outcome, why: SessionReason, message: String) -> Self {
        Self::uncalled(reason, message, for_all(&object.spec.sessions, SessionOutcome::Skipped, why))
    }

    /// Ends a request that has no sessions left to kill.
    #[must_use]
    pub fn nothing_left(sessions: Vec<SessionStatus>) -> Self {
        let message = format!("nothing was sent: {}", in_words(&sessions));
        Self::uncalled(summary(&sessions), message, sessions)
    }

    /// Ends a `DryRun`: each of `planned` says what a Kill would do. `executed` names the SessionKill that executed the
    /// same content before, if any: a Kill would then send nothing.
    #[must_use]
    pub fn dry_run(planned: &[SessionStatus], matched: Option<i32>, executed: Option<&str>) -> Self {
        let word = if executed.is_some() { "no Kill" } else { "a Kill" };
        let would = |session: &SessionStatus| match session.outcome {
            SessionOutcome::Pending => SessionStatus {
                message: format!("{word} would be sent for it"),
                ..ended(session, SessionOutcome::Skipped, SessionReason::DryRun)
            },
            _ => session.clone(),
        };
        let sessions: Vec<_> = planned.iter().map(would).collect();
        let killed = sessions.iter().filter(|session| session.reason == SessionReason::DryRun).count();
        let of = matched.map_or(sessions.len(), |matched| usize::try_from(matched).unwrap_or_default());
        let mut message = format!("nothing was sent: a Kill would be sent for {killed} of {of} sessions");
        if let Some(name) = executed {
            message = format!(
                "nothing was sent, and nor would a Kill be: the same request was executed before as SessionKill {name}"
            );
        }
        Self::uncalled(Outcome::DryRunCompleted, message, sessions).of_matched(matched)
    }

    /// Ends a request after its call left `sessions`. `detail` says why an unknown outcome is unknown.
    #[must_use]
    pub fn called(sessions: Vec<SessionStatus>, dispatch: Dispatch, detail: &str) -> Self {
        let reason = summary(&sessions);
        let words = in_words(&sessions);
        let message = match (rejected(&sessions), reason) {
            (Some(why), _) => format!("refused by the API before execution, {why}: correct it in a new SessionKill"),
            (_, Outcome::SessionsKilled | Outcome::SessionsGone) => words,
            (_, Outcome::OutcomeUnknown) => format!(
                "whether the sessions ended cannot be told ({words}): {detail}; nothing is sent again; look at the \
                 sessions, and if they are still there: {TRY_AGAIN}"
            ),
            _ => format!("{words}: see status.sessions; nothing is sent again; {TRY_AGAIN}"),
        };
        Self { dispatch: Some(dispatch), ..Self::uncalled(reason, message, sessions) }
    }

    /// Ends a request with the outcome recorded in `receipt`. `same_object` says that the record is of this object.
    #[must_use]
    pub fn recorded(receipt: &SessionKillReceipt, record: &SessionKillReceiptStatus, same_object: bool) -> Self {
        let (sessions, matched) = (record.sessions.clone(), receipt.spec.matched);
        let dispatch = (!sends_nothing(&receipt.spec)).then(|| dispatch(receipt, record.operation, &record.request_id));
        if same_object {
            let called = |dispatch| Self::called(sessions, dispatch, &nothing_certain(receipt)).of_matched(matched);
            return Self { reason: record.outcome, ..dispatch.map_or_else(|| Self::unsendable(receipt), called) };
        }
        let name = &receipt.spec.session_kill_ref.name;
        let completed = &record.completion_time.0;
        let outcome = record.outcome.as_str();
        let word = if rejected(&sessions).is_some() { "refused" } else { "executed" };
        let message = format!(
            "the same request was {word} as SessionKill {name} and ended at {completed} with {outcome}; nothing was \
             sent again; to kill again, create a SessionKill with a new notAfterTime"
        );
        let reason = if is_goal_reached(record.outcome) { Outcome::AlreadyExecuted } else { record.outcome };
        Self { dispatch, is_copied: true, ..Self::uncalled(reason, message, sessions).of_matched(matched) }
    }

    /// The record of this conclusion for its receipt.
    #[must_use]
    pub fn record(&self, now: Timestamp) -> SessionKillReceiptStatus {
        SessionKillReceiptStatus {
            outcome: self.reason,
            completion_time: Time(now),
            request_id: self.dispatch.as_ref().map(|d| d.request_id.clone()).unwrap_or_default(),
            operation: self.dispatch.as_ref().map(|d| d.operation).unwrap_or_default(),
            sessions: bounded(self.sessions.clone()),
        }
    }
}

/// The most users and clients in a message.
const MAX_SHOWN: usize = 5;

/// Whose sessions these are, those with the most first: `12 of "report" at "10.0.0.1", 1 of "app" at "10.0.0.2"`.
fn who(sessions: &[SessionStatus]) -> String {
    let mut counts = BTreeMap::new();
    for seen in sessions.iter().filter_map(|session| session.observed.as_ref()) {
        *counts.entry((&seen.user, &seen.client_ip)).or_insert(0) += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| -count);
    let named = counts.iter().take(MAX_SHOWN);
    let named = named.map(|((user, client), count)| {
        format!("{count} of {} at {}", quoted(user, MAX_SHOWN_NAME), quoted(client, MAX_SHOWN_NAME))
    });
    let others = if counts.len() > MAX_SHOWN { ", and others" } else { "" };
    format!("{}{others}", named.collect::<Vec<_>>().join(", "))
}

/// The most characters of a name in a message about several.
const MAX_SHOWN_NAME: usize = 64;

/// Why the API refused the whole call before execution, if it did.
fn rejected(sessions: &[SessionStatus]) -> Option<&str> {
    let rejected = sessions.iter().find(|session| session.reason == SessionReason::RequestRejected);
    rejected.map(|session| session.message.as_str())
}

/// The state of the sessions of a receipt whose holder is gone: those to be sent may have been killed.
#[must_use]
pub fn orphaned(receipt: &SessionKillReceipt) -> Vec<SessionStatus> {
    for_sent(&receipt.spec.sessions, SessionOutcome::Unknown, SessionReason::HolderLost)
}

/// Why the outcome of `receipt` is unknown.
#[must_use]
pub fn nothing_certain(receipt: &SessionKillReceipt) -> String {
    format!(
        "operator {} claimed the call and recorded no certain answer, and the process list could not be read",
        receipt.spec.holder_identity
    )
}

/// The status entry for the call of `operation` made under `receipt`.
#[must_use]
pub fn dispatch(receipt: &SessionKillReceipt, operation: Operation, request_id: &str) -> Dispatch {
    Dispatch {
        receipt_name: receipt.metadata.name.clone().unwrap_or_default(),
        attempt_id: receipt.spec.attempt_id.clone(),
        operation,
        request_id: clamp(request_id, 64),
        start_time: receipt.spec.claim_time.clone(),
    }
}

/// Whether a request that ended with `reason` reached its goal.
#[must_use]
pub const fn is_goal_reached(reason: Outcome) -> bool {
    matches!(
        reason,
        Outcome::SessionsKilled
            | Outcome::SessionsGone
            | Outcome::AlreadyExecuted
            | Outcome::NothingMatched
            | Outcome::DryRunCompleted
    )
}

/// Whether `reason` is a missed goal that needs no alarm: an old manifest was applied again, or a user deleted the
/// request.
#[must_use]
pub const fn is_neutral(reason: Outcome) -> bool {
    matches!(reason, Outcome::ExpiredOnArrival | Outcome::Deleted)
}

/// Keeps the sessions of a status or a claim within `MAX_BYTES`: it drops the statements, then everything observed,
/// then shortens messages to 256 bytes.
#[must_use]
pub fn bounded(mut sessions: Vec<SessionStatus>) -> Vec<SessionStatus> {
    if size(&sessions) > MAX_BYTES {
        for observed in sessions.iter_mut().filter_map(|session| session.observed.as_mut()) {
            observed.sql_text.clear();
        }
    }
    if size(&sessions) > MAX_BYTES {
        for session in &mut sessions {
            session.observed = None;
        }
    }
    if size(&sessions) > MAX_BYTES {
        for session in &mut sessions {
            session.error_message = clamp_bytes(&session.error_message, 256);
            session.message = clamp_bytes(&session.message, 256);
        }
    }
    sessions
}

fn size(sessions: &[SessionStatus]) -> usize {
    serde_json::to_vec(sessions).map_or(0, |json| json.len())
}

/// `2 of 4 sessions killed, 1 already gone, 1 skipped`.
fn in_words(sessions: &[SessionStatus]) -> String {
    let counts = counts(sessions);
    let still = sessions.iter().filter(|session| session.reason == SessionReason::StillPresent).count();
    let failed = usize::try_from(counts.failed).unwrap_or_default().saturating_sub(still);
    let others = [
        (usize::try_from(counts.gone).unwrap_or_default(), "gone"),
        (usize::try_from(counts.skipped).unwrap_or_default(), "skipped"),
        (failed, "failed"),
        (still, "still present"),
        (usize::try_from(counts.unknown).unwrap_or_default(), "unknown"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    format!("{} of {} sessions killed{}", counts.killed, counts.total, others.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::claim::{Attempt, receipt};
    use crate::kill::status::finished;
    use crate::selection::{Selected, choose};
    use crate::session::Seen;
    use crate::test_objects::{attempt, request, seen, selecting, time};
    use serde_json::json;
    use sessionkill_api::{ObservedSession, SqlTextPolicy};

    fn planned(outcomes: &[(SessionOutcome, SessionReason)]) -> Vec<SessionStatus> {
        let session = &attempt().planned[0];
        outcomes.iter().map(|(outcome, reason)| ended(session, *outcome, *reason)).collect()
    }

    #[test]
    fn a_dry_run_says_for_each_session_what_a_kill_would_do() {
        let planned = planned(&[
            (SessionOutcome::Pending, SessionReason::Waiting),
            (SessionOutcome::Gone, SessionReason::NotFound),
            (SessionOutcome::Skipped, SessionReason::PreconditionMismatch),
        ]);
        let conclusion = Conclusion::dry_run(&planned, None, None);
        assert_eq!(conclusion.reason, Outcome::DryRunCompleted);
        assert_eq!(conclusion.message, "nothing was sent: a Kill would be sent for 1 of 3 sessions");
        let reasons: Vec<_> = conclusion.sessions.iter().map(|session| (session.outcome, session.reason)).collect();
        assert_eq!(
            reasons,
            [
                (SessionOutcome::Skipped, SessionReason::DryRun),
                (SessionOutcome::Gone, SessionReason::NotFound),
                (SessionOutcome::Skipped, SessionReason::PreconditionMismatch),
            ]
        );
        assert_eq!(conclusion.dispatch, None);
        let executed = Conclusion::dry_run(&planned, None, Some("first"));
        assert!(executed.message.contains("executed before as SessionKill first"), "{}", executed.message);
        let messages = [&conclusion, &executed].map(|conclusion| conclusion.sessions[0].message.as_str());
        assert_eq!(messages, ["a Kill would be sent for it", "no Kill would be sent for it"]);
    }

    #[test]
    fn a_request_without_a_session_left_ends_without_a_call() {
        let gone = planned(&[(SessionOutcome::Gone, SessionReason::NotFound); 2]);
        let conclusion = Conclusion::nothing_left(gone);
        assert_eq!(conclusion.reason, Outcome::SessionsGone);
        assert_eq!(conclusion.message, "nothing was sent: 0 of 2 sessions killed, 2 gone");
        let skipped = planned(&[(SessionOutcome::Skipped, SessionReason::PreconditionMismatch)]);
        assert_eq!(Conclusion::nothing_left(skipped).reason, Outcome::PreconditionFailed);
    }

    #[test]
    fn a_message_says_how_many_stand_where_and_what_to_do() {
        let receipt = receipt(&request(), &attempt());
        let call = |sessions| {
            Conclusion::called(sessions, dispatch(&receipt, Operation::KillProcessList, "R"), "the list is down")
                .message
        };
        let all = planned(&[
            (SessionOutcome::Killed, SessionReason::Verified),
            (SessionOutcome::Gone, SessionReason::NotFound),
            (SessionOutcome::Skipped, SessionReason::PreconditionMismatch),
            (SessionOutcome::Failed, SessionReason::KillRefused),
            (SessionOutcome::Failed, SessionReason::StillPresent),
        ]);
        assert_eq!(
            call(all),
            "1 of 5 sessions killed, 1 gone, 1 skipped, 1 failed, 1 still present: see status.sessions; nothing is sent \
             again; to try again, create a new SessionKill with a new notAfterTime"
        );
        let unknown = call(planned(&[(SessionOutcome::Unknown, SessionReason::AnswerLost)]));
        assert!(unknown.contains("cannot be told (0 of 1 sessions killed, 1 unknown): the list is down"), "{unknown}");
        assert!(unknown.ends_with("create a new SessionKill with a new notAfterTime"), "{unknown}");
        let killed = call(planned(&[(SessionOutcome::Killed, SessionReason::Verified)]));
        assert_eq!(killed, "1 of 1 sessions killed", "there is nothing to do");
    }

    #[test]
    fn an_orphaned_claim_leaves_only_what_it_named_unknown() {
        let mut attempt = attempt();
        attempt.planned[1] = ended(&attempt.planned[1], SessionOutcome::Gone, SessionReason::NotFound);
        let sessions = orphaned(&receipt(&request(), &attempt));
        assert_eq!((sessions[0].outcome, sessions[0].reason), (SessionOutcome::Unknown, SessionReason::HolderLost));
        assert_eq!((sessions[1].outcome, sessions[1].reason), (SessionOutcome::Gone, SessionReason::NotFound));
    }

    #[test]
    fn a_copied_outcome_is_already_executed_unless_it_failed() {
        let receipt = receipt(&request(), &attempt());
        let mut record = SessionKillReceiptStatus {
            outcome: Outcome::SessionsKilled,
            completion_time: Time(time("10:00:01")),
            request_id: "R".to_owned(),
            operation: Operation::BatchKillProcessList,
            sessions: vec![],
        };
        let copied = Conclusion::recorded(&receipt, &record, false);
        assert_eq!(copied.reason, Outcome::AlreadyExecuted);
        let call = copied.dispatch.unwrap();
        assert_eq!((call.request_id.as_str(), call.operation), ("R", Operation::BatchKillProcessList));
        assert_eq!(Conclusion::recorded(&receipt, &record, true).reason, Outcome::SessionsKilled);
        record.outcome = Outcome::PartiallyKilled;
        assert_eq!(Conclusion::recorded(&receipt, &record, false).reason, Outcome::PartiallyKilled);
    }

    #[test]
    fn a_status_never_outgrows_the_limit() {
        let text = "数".repeat(1024);
        let observed = ObservedSession { sql_text: text.clone(), user: text.clone(), ..ObservedSession::default() };
        let session = |session_id| SessionStatus {
            server_ip: "10.0.0.1".to_owned(),
            server_port: None,
            session_id,
            outcome: SessionOutcome::Failed,
            reason: SessionReason::KillRefused,
            status: String::new(),
            error_message: text.clone(),
            message: text.clone(),
            observed: Some(observed.clone()),
        };
        let conclusion = Conclusion {
            reason: Outcome::KillFailed,
            message: text.clone(),
            sessions: (0..100).map(session).collect(),
            matched: None,
            dispatch: None,
            target_mismatch: Some("\u{10ffff}".repeat(2000)),
            is_copied: false,
            is_unaudited: true,
        };
        let status = finished(&request(), &conclusion, time("10:00:00"));
        assert!(serde_json::to_vec(&status).unwrap().len() < 256 * 1024);
        assert_eq!(status.sessions.len(), 100);
    }

    /// The receipt of a request whose selector matched so many, of which none may be ended.
    fn of_too_many(matched: usize) -> SessionKillReceipt {
        let object = selecting(json!({"match": {"users": ["report"]}, "maxSessions": 2}));
        let session = |number| {
            let client_ip = format!("10.0.0.{}", number % 7);
            Seen {
                server_ip: "10.9.9.9".to_owned(),
                session_id: number,
                user: "report".to_owned(),
                client_ip,
                ..seen(0)
            }
        };
        let sessions = (1..=i64::try_from(matched.min(100)).unwrap()).map(session).collect();
        let choice =
            choose(&object.spec, &Selected { matched, sessions, is_cut: false }, SqlTextPolicy::None, time("10:00:00"));
        receipt(&object, &Attempt { planned: choice.planned, matched: Some(choice.matched), ..attempt() })
    }

    #[test]
    fn a_selector_that_matched_nothing_has_reached_its_goal_and_one_that_matched_too_many_has_not() {
        let nothing = Conclusion::unsendable(&of_too_many(0));
        let status = finished(&request(), &nothing, time("10:00:00"));
        assert_eq!((nothing.reason, status.counts.unwrap().matched), (Outcome::NothingMatched, Some(0)));
        assert!(is_goal_reached(nothing.reason) && status.sessions.is_empty() && status.dispatch.is_none());
        let too_many = Conclusion::unsendable(&of_too_many(250));
        let status = finished(&request(), &too_many, time("10:00:00"));
        let counts = status.counts.unwrap();
        assert_eq!((too_many.reason, counts.matched, counts.total), (Outcome::TooManyMatched, Some(250), 100));
        let said = "nothing was sent: 250 sessions match, more than selector.maxSessions: 15 of \"report\" at \"10.0.0.1\", 15 of";
        assert!(too_many.message.starts_with(said), "{}", too_many.message);
        assert!(too_many.message.contains("and others; narrow the selector"), "{}", too_many.message);
        assert!(!is_goal_reached(too_many.reason) && status.dispatch.is_none());
    }

    #[test]
    fn what_a_claim_that_sends_nothing_came_to_is_told_to_all_who_find_it() {
        for matched in [0, 250] {
            let receipt = of_too_many(matched);
            let made = Conclusion::unsendable(&receipt);
            let record = made.record(time("10:00:01"));
            assert_eq!(Conclusion::recorded(&receipt, &record, true), made, "by the same object");
            let orphaned = crate::kill::orphan::conclude(&receipt, None, None, time("23:00:00"));
            assert_eq!(orphaned, Some(made), "its holder is gone, and nothing is left to be looked at");
            let copied = Conclusion::recorded(&receipt, &record, false);
            assert_eq!((copied.dispatch, copied.is_copied), (None, true));
            let reason = if matched == 0 { Outcome::AlreadyExecuted } else { Outcome::TooManyMatched };
            assert_eq!(copied.reason, reason);
        }
    }

    #[test]
    fn a_call_that_the_api_refused_says_why_and_is_not_called_executed() {
        let receipt = receipt(&request(), &attempt());
        let sessions = crate::kill::outcome::rejected(&attempt().planned, "E: no such tenant");
        let call = dispatch(&receipt, Operation::KillProcessList, "R");
        let refused = Conclusion::called(sessions, call, "");
        assert_eq!(refused.reason, Outcome::KillFailed);
        let expected = "refused by the API before execution, E: no such tenant: correct it in a new SessionKill";
        assert_eq!(refused.message, expected);
        let record = refused.record(time("10:00:01"));
        let copied = Conclusion::recorded(&receipt, &record, false).message;
        assert!(copied.starts_with("the same request was refused as SessionKill incident"), "{copied}");
        let record = SessionKillReceiptStatus { outcome: Outcome::SessionsKilled, sessions: vec![], ..record };
        let copied = Conclusion::recorded(&receipt, &record, false).message;
        assert!(copied.starts_with("the same request was executed as SessionKill incident"), "{copied}");
    }

    /// One session, with a `field` so long that it takes `bytes` in a status.
    fn of_size(bytes: usize, mut it: SessionStatus, field: fn(&mut SessionStatus) -> &mut String) -> SessionStatus {
        *field(&mut it) = "x".to_owned();
        let rest = size(&[it.clone()]) - 1;
        *field(&mut it) = "x".repeat(bytes - rest);
        it
    }

    #[test]
    fn only_what_has_no_room_is_left_out_and_statements_go_first() {
        let (room, plain) = (232 * 1024, attempt().planned.remove(0));
        let kept = |session: SessionStatus| bounded(vec![session]).remove(0);

        let statement = |bytes| of_size(bytes, plain.clone(), |it| &mut it.observed.as_mut().unwrap().sql_text);
        assert!(kept(statement(room)) == statement(room), "there is room for all of it");
        let observed = kept(statement(room + 1)).observed.unwrap();
        assert_eq!((observed.sql_text.as_str(), observed.user.as_str()), ("", "report_ro"));

        let long_user = |bytes| {
            let mut session = of_size(bytes, plain.clone(), |it| &mut it.observed.as_mut().unwrap().user);
            session.observed.as_mut().unwrap().sql_text = "SELECT 1".to_owned();
            kept(session).observed.map(|observed| observed.sql_text)
        };
        assert_eq!([long_user(room), long_user(room + 1)], [Some(String::new()), None]);

        let long_error = |bytes| {
            let unseen = SessionStatus { observed: None, ..plain.clone() };
            let session = of_size(bytes, unseen, |it| &mut it.error_message);
            let before = session.error_message.len();
            let session = kept(SessionStatus { observed: plain.observed.clone(), ..session });
            (session.error_message.len() == before, session.error_message.len() <= 256, session.observed)
        };
        assert_eq!([long_error(room), long_error(room + 1)], [(true, false, None), (false, true, None)]);
    }
}
