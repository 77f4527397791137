//! Which of the selected sessions a request takes, each pinned as it was seen. Pure.

use std::net::IpAddr;

use jiff::Timestamp;
use sessionkill_api::{
    Expect, MAX_SESSIONS, Mode, Scope, Session, SessionCriteria, SessionKillSpec, SessionOutcome, SessionReason,
    SessionSelector, SessionState, SessionStatus, SqlTextPolicy, Take, TransactionState,
};

use super::selecting::Selected;
use crate::session::{Seen, observed, session_status};

/// The sessions that a request with a selector takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The sessions, each with what it must still be like at its kill. From here on they are the request's, as if it had named
    /// them: what matches later is no part of it.
    pub sessions: Vec<Session>,
    /// The state of each, in the same order: `Pending` if it is to be killed.
    pub planned: Vec<SessionStatus>,
    /// How many sessions match.
    pub matched: i32,
}

/// What the request of `spec` takes of `selected`, which was seen at `time`. Of a Kill nothing is pending if more match than it
/// may end, unless it says which to take.
#[must_use]
pub fn choose(spec: &SessionKillSpec, selected: &Selected, policy: SqlTextPolicy, time: Timestamp) -> Choice {
    let selector = spec.selector.clone().unwrap_or_default();
    let is_kill = spec.mode == Mode::Kill;
    // A Kill without a bound ends nothing, whatever the API server let pass. A DryRun without one lists.
    let most = selector.max_sessions.and_then(|most| usize::try_from(most).ok()).or(is_kill.then_some(0));
    let is_too_many = selector.take == Take::None && most.is_some_and(|most| selected.matched > most);
    let most = most.unwrap_or(MAX_SESSIONS);
    let taken = if is_too_many { 0 } else { most };
    let shown = if is_kill && !is_too_many { most } else { MAX_SESSIONS };
    let kept = || selected.sessions.iter().take(shown.min(MAX_SESSIONS));
    let sessions: Vec<_> = kept().map(|seen| pinned(seen, &selector, spec.scope)).collect();
    let state_of = |(place, (session, seen)): (usize, (&Session, &Seen))| {
        let (outcome, reason) = if place < taken {
            (SessionOutcome::Pending, SessionReason::Waiting)
        } else {
            (SessionOutcome::Skipped, SessionReason::TooManyMatched)
        };
        SessionStatus { observed: Some(observed(seen, policy, time)), ..session_status(session, outcome, reason) }
    };
    let planned = sessions.iter().zip(kept()).enumerate().map(state_of).collect();
    Choice { sessions, planned, matched: i32::try_from(selected.matched).unwrap_or(i32::MAX) }
}

/// The session in a row. What identifies it is pinned, and what it was selected by: at its kill, all of that must still hold.
fn pinned(seen: &Seen, selector: &SessionSelector, scope: Scope) -> Session {
    let criteria = &selector.matches;
    let present = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let is_given = |is_given: bool, text: &str| present(text).filter(|_| is_given);
    let is_of_statement = scope == Scope::Query || names_statement(criteria);
    let proxy_session_id = present(&seen.proxy_session_id);
    Session {
        server_ip: seen.server_ip.clone(),
        server_port: seen.server_port.parse().ok(),
        session_id: seen.session_id,
        expect: Some(Expect {
            user: present(&seen.user),
            database: is_given(!criteria.databases.is_empty(), &seen.database),
            client_ip: present(&seen.client_ip).filter(|address| address.parse::<IpAddr>().is_ok()),
            // Behind a proxy, the proxy's own ID tells its sessions apart.
            client_port: if proxy_session_id.is_none() { seen.client_port.parse().ok() } else { None },
            proxy_session_id,
            command: is_given(!criteria.commands.is_empty(), &seen.command),
            state: state(seen).filter(|_| !criteria.states.is_empty()),
            sql_id: is_given(is_of_statement, &seen.sql_id),
            trace_id: is_given(is_of_statement, &seen.trace_id),
            transaction_id: is_given(criteria.transaction == Some(TransactionState::Open), &seen.transaction_id),
            transaction: criteria.transaction,
            min_execution_seconds: criteria.min_execution_seconds,
        }),
    }
}

/// Whether sessions are chosen by what they run at the moment: the same session with its next statement is not meant.
fn names_statement(criteria: &SessionCriteria) -> bool {
    !criteria.sql_ids.is_empty() || criteria.sql_text_pattern.is_some() || criteria.min_execution_seconds.is_some()
}

fn state(seen: &Seen) -> Option<SessionState> {
    [SessionState::Active, SessionState::Sleep]
        .into_iter()
        .find(|state| seen.status.eq_ignore_ascii_case(state.as_listed()))
}

/// The fields of `expect` that a list must be able to tell for `selector`, by their names.
#[must_use]
pub fn needed(selector: &SessionSelector) -> Vec<&'static str> {
    let of = |criteria: &SessionCriteria| {
        let fields = [
            ("database", !criteria.databases.is_empty()),
            ("clientIP", !criteria.client_cidrs.is_empty()),
            ("sqlID", !criteria.sql_ids.is_empty()),
            ("transaction", criteria.transaction.is_some()),
        ];
        fields.into_iter().filter(|(_, is_given)| *is_given).map(|(field, _)| field).collect::<Vec<_>>()
    };
    let mut fields = of(&selector.matches);
    fields.extend(selector.exclude.iter().flat_map(of));
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kill::expect::mismatch;
    use crate::test_objects::{selecting, time};

    fn seen(session_id: i64) -> Seen {
        Seen {
            server_ip: "192.168.13.119".to_owned(),
            session_id,
            status: "ACTIVE".to_owned(),
            client_ip: "10.2.3.4".to_owned(),
            client_port: "50123".to_owned(),
            user: "report".to_owned(),
            database: "shop".to_owned(),
            sql_id: "45CC".to_owned(),
            trace_id: "YB42".to_owned(),
            transaction_id: "2713".to_owned(),
            command: "Query".to_owned(),
            execute_time: "301".to_owned(),
            ..Seen::default()
        }
    }

    fn selected(matched: usize) -> Selected {
        Selected {
            matched,
            sessions: (0..matched.min(MAX_SESSIONS)).map(|number| seen(number.try_into().unwrap())).collect(),
            is_cut: false,
        }
    }

    fn chosen(selector: Value, mode: Mode, matched: usize) -> Choice {
        let mut object = selecting(selector);
        object.spec.mode = mode;
        choose(&object.spec, &selected(matched), SqlTextPolicy::None, time("10:00:00"))
    }

    fn reasons(choice: &Choice) -> (usize, usize) {
        let count = |reason| choice.planned.iter().filter(|session| session.reason == reason).count();
        (count(SessionReason::Waiting), count(SessionReason::TooManyMatched))
    }

    #[test]
    fn of_a_kill_nothing_is_pending_if_too_many_match_unless_it_says_which() {
        let by = |more: Value| {
            let mut selector = json!({"match": {"users": ["report"]}, "maxSessions": 2});
            selector.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            move |mode, matched| reasons(&chosen(selector.clone(), mode, matched))
        };
        let (none, longest) = (by(json!({})), by(json!({"take": "Longest"})));
        assert_eq!(
            [0, 1, 2, 3, 500].map(|matched| none(Mode::Kill, matched)),
            [(0, 0), (1, 0), (2, 0), (0, 3), (0, 100)]
        );
        assert_eq!([0, 2, 3, 500].map(|matched| longest(Mode::Kill, matched)), [(0, 0), (2, 0), (2, 0), (2, 0)]);
        assert_eq!([2, 3, 500].map(|matched| none(Mode::DryRun, matched)), [(2, 0), (0, 3), (0, 100)]);
        assert_eq!([2, 3, 500].map(|matched| longest(Mode::DryRun, matched)), [(2, 0), (2, 1), (2, 98)]);
        assert_eq!(reasons(&chosen(json!({"match": {}}), Mode::DryRun, 500)), (100, 0), "it lists");
        assert_eq!(reasons(&chosen(json!({"match": {}}), Mode::Kill, 1)), (0, 1), "no bound is no permission");
        assert_eq!(chosen(json!({"match": {}}), Mode::DryRun, 500).matched, 500);
    }

    #[test]
    fn what_identifies_a_session_is_pinned_and_what_it_was_chosen_by() {
        let pinned = |criteria: Value, seen: &Seen| {
            let selector: SessionSelector = serde_json::from_value(json!({"match": criteria})).unwrap();
            let session = pinned(seen, &selector, Scope::Session);
            assert_eq!(mismatch(session.expect.as_ref().unwrap(), seen), None, "it is as it was seen");
            serde_json::to_value(session.expect).unwrap()
        };
        let identity = json!({"user": "report", "clientIP": "10.2.3.4", "clientPort": 50123});
        let with = |more: Value| {
            let mut all = identity.clone();
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        assert_eq!(pinned(json!({"users": ["report"]}), &seen(1)), identity, "its next statement is meant, too");
        let statement = json!({"sqlID": "45CC", "traceID": "YB42"});
        assert_eq!(pinned(json!({"sqlTextPattern": "."}), &seen(1)), with(statement.clone()));
        assert_eq!(pinned(json!({"sqlIDs": ["45cc"]}), &seen(1)), with(statement));
        let long = json!({"sqlID": "45CC", "traceID": "YB42", "minExecutionSeconds": 300});
        assert_eq!(pinned(json!({"minExecutionSeconds": 300}), &seen(1)), with(long));
        assert_eq!(pinned(json!({"commands": ["query"]}), &seen(1)), with(json!({"command": "Query"})));
        assert_eq!(pinned(json!({"states": ["Active"]}), &seen(1)), with(json!({"state": "Active"})));
        assert_eq!(pinned(json!({"databases": ["shop"]}), &seen(1)), with(json!({"database": "shop"})));
        let open = json!({"transaction": "Open", "transactionID": "2713"});
        assert_eq!(pinned(json!({"transaction": "Open"}), &seen(1)), with(open));
        let proxied = Seen { proxy_session_id: "752".to_owned(), ..seen(1) };
        let by_proxy = json!({"user": "report", "clientIP": "10.2.3.4", "proxySessionID": "752"});
        assert_eq!(pinned(json!({}), &proxied), by_proxy);
    }

    #[test]
    fn of_a_statement_that_is_to_end_its_trace_is_pinned() {
        let selector = SessionSelector::default();
        let expect = pinned(&seen(1), &selector, Scope::Query).expect.unwrap();
        assert_eq!(expect.trace_id.as_deref(), Some("YB42"));
    }
}
