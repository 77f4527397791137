//! `explain`: what happened to a request, step by step, and what to do.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use sessionkill_api::{Mode, Scope, SessionKill, SessionKillReceipt, SessionOutcome, SessionStatus};

use crate::advice;
use crate::client::Place;
use crate::errors::Result;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::output::{plain, print, table};
use crate::request::{is_ended, reason_and_message};
use crate::session::{count, label};

/// The flags of `explain`.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// The name of the request
    #[arg(add = crate::names::requests())]
    pub name: String,
}

/// One thing that happened.
type Step = (Timestamp, String);

/// Prints what happened.
pub async fn run(place: &Place, flags: &Flags) -> Result<Exit> {
    let mut interrupt = Interrupt::listen()?;
    let (request, receipts, events) = interrupt
        .or(async { Ok(tokio::join!(place.request(&flags.name), place.receipts(), events(place, &flags.name))) })
        .await?;
    let receipts = receipts.unwrap_or_default();
    match request {
        Ok(request) => {
            let receipt = receipt_of(&request, &receipts);
            let (events, note) = match &events {
                Ok(events) => (events.as_slice(), ""),
                Err(()) => (&[][..], "Events cannot be read by you: what it waited for in between is not shown\n"),
            };
            print(&(story(&request, receipt, events) + note))?;
        }
        Err(failure) => {
            // The request may be deleted already: its receipt outlives it.
            let of_name = receipts.iter().filter(|receipt| receipt.spec.session_kill_ref.name == flags.name);
            let last = of_name.max_by_key(|receipt| receipt.spec.claim_time.0).ok_or(failure)?;
            print(&remains(last))?;
        }
    }
    Ok(Exit::AllEnded)
}

/// The Events about the request, or nothing if the user may not read them.
async fn events(place: &Place, name: &str) -> std::result::Result<Vec<Event>, ()> {
    let about = ListParams::default().fields(&format!("involvedObject.kind=SessionKill,involvedObject.name={name}"));
    let events: Api<Event> = Api::namespaced(place.client.clone(), &place.namespace);
    Ok(events.list(&about).await.map_err(drop)?.items)
}

/// The receipt that the request names, or of which it is the maker.
fn receipt_of<'a>(request: &SessionKill, receipts: &'a [SessionKillReceipt]) -> Option<&'a SessionKillReceipt> {
    let dispatch = request.status.as_ref().and_then(|status| status.dispatch.as_ref());
    let named = dispatch.map(|dispatch| dispatch.receipt_name.as_str());
    receipts.iter().find(|receipt| {
        named.is_some() && receipt.metadata.name.as_deref() == named
            || Some(&receipt.spec.session_kill_ref.uid) == request.metadata.uid.as_ref()
    })
}

fn story(request: &SessionKill, receipt: Option<&SessionKillReceipt>, events: &[Event]) -> String {
    let spec = &request.spec;
    let what = match (spec.mode, spec.scope, &spec.selector) {
        (Mode::DryRun, _, _) => "looks at".to_owned(),
        (Mode::Kill, Scope::Session, None) => format!("ends {} of", count(spec.sessions.len())),
        (Mode::Kill, Scope::Query, None) => format!("ends the statements of {} of", count(spec.sessions.len())),
        (Mode::Kill, _, Some(_)) => "ends what its selector matches of".to_owned(),
    };
    let mut told = format!(
        "sessionkill {} {what} tenant {} of {}, through {}\n",
        request.metadata.name.as_deref().unwrap_or_default(),
        spec.tenant_id,
        spec.instance_id,
        spec.connection_ref
    );
    if let Some(reason) = &spec.reason {
        let _ = writeln!(told, "reason: {}", plain(reason));
    }
    told += "\n";
    for (at, what) in steps(request, receipt, events) {
        let _ = writeln!(told, "{}  {what}", time(at));
    }
    let (reason, message) = reason_and_message(request);
    if reason.is_empty() {
        told += "\nno operator has seen it: is one running, and does it watch this namespace? Look with: kubectl sessionkill check\n";
    } else if !is_ended(request) {
        let _ = writeln!(told, "\nnow: {reason}: {}", plain(message));
    }
    let sessions = request.status.as_ref().map(|status| status.sessions.as_slice()).unwrap_or_default();
    told += &of_sessions(sessions);
    told + &what_to_do(reason, sessions)
}

/// What happened, in the order of time.
fn steps(request: &SessionKill, receipt: Option<&SessionKillReceipt>, events: &[Event]) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![];
    let spec = &request.spec;
    if let Some(created) = &request.metadata.creation_timestamp {
        steps.push((created.0, format!("created; nothing is sent after {}", time(spec.not_after_time.0))));
    }
    let status = request.status.clone().unwrap_or_default();
    // Of a request that is claimed at once, it is written with what comes later.
    let claim = receipt.map(|receipt| receipt.spec.claim_time.0);
    if let Some(start) = status.start_time.as_ref().filter(|start| claim.is_none_or(|claim| start.0 <= claim)) {
        steps.push((start.0, "an operator began to work on it".to_owned()));
    }
    let (end, _) = reason_and_message(request);
    for event in events {
        let (Some(at), Some(reason)) = (event_time(event), event.reason.as_deref()) else { continue };
        // The end is told below, with the time of the status.
        if !(is_ended(request) && reason == end) {
            let message = plain(event.message.as_deref().unwrap_or_default());
            steps.push((at, format!("{reason}: {message}")));
        }
    }
    if let Some(receipt) = receipt {
        steps.extend(of_receipt(receipt, status.dispatch.as_ref().map(|dispatch| dispatch.operation.as_str())));
    }
    if let (Some(end), (reason, message)) = (&status.completion_time, reason_and_message(request)) {
        steps.push((end.0, format!("ended: {reason}: {}", plain(message))));
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}

fn of_receipt(receipt: &SessionKillReceipt, called: Option<&str>) -> Vec<Step> {
    let spec = &receipt.spec;
    let name = receipt.metadata.name.as_deref().unwrap_or_default();
    let mut steps = vec![(
        spec.claim_time.0,
        format!(
            "claimed by receipt {name}, for operator {}; sent at most once, before {}",
            spec.holder_identity,
            time(spec.dispatch_deadline_time.0)
        ),
    )];
    if let Some(called) = called {
        let id = receipt.status.as_ref().map(|status| status.request_id.as_str()).unwrap_or_default();
        let answered = if id.is_empty() { String::new() } else { format!(", request ID {id}") };
        steps.push((spec.claim_time.0, format!("called {called}{answered}")));
    }
    if let Some(status) = &receipt.status {
        steps.push((status.completion_time.0, format!("recorded in the receipt: {}", status.outcome.as_str())));
    }
    steps
}

fn event_time(event: &Event) -> Option<Timestamp> {
    let exact = event.event_time.as_ref().map(|at| at.0);
    exact.or_else(|| event.last_timestamp.as_ref().or(event.metadata.creation_timestamp.as_ref()).map(|at| at.0))
}

/// What a receipt tells of a request that is deleted.
fn remains(receipt: &SessionKillReceipt) -> String {
    let spec = &receipt.spec;
    let mut told = format!(
        "sessionkill {} is deleted; its receipt tells of a kill in tenant {} of {}, through {} {}\n\n",
        spec.session_kill_ref.name,
        spec.tenant_id,
        spec.instance_id,
        spec.connection_kind.as_str(),
        spec.connection_name
    );
    for (at, what) in of_receipt(receipt, Some(spec.operation.as_str())) {
        let _ = writeln!(told, "{}  {what}", time(at));
    }
    let (sessions, reason) = match &receipt.status {
        Some(status) => (&status.sessions, status.outcome.as_str()),
        None => (&spec.sessions, "Dispatching"),
    };
    told + &of_sessions(sessions) + &what_to_do(reason, sessions)
}

fn of_sessions(sessions: &[SessionStatus]) -> String {
    if sessions.is_empty() {
        return String::new();
    }
    let row = |session: &SessionStatus| {
        let seen = session.observed.clone().unwrap_or_default();
        let message = if session.error_message.is_empty() { &session.message } else { &session.error_message };
        let outcome = [session.outcome.as_str(), session.reason.as_str()].map(str::to_owned);
        [vec![label(session), plain(&seen.user), plain(&seen.client_ip)], outcome.to_vec(), vec![plain(message)]]
            .concat()
    };
    let rows: Vec<_> = sessions.iter().map(row).collect();
    "\n".to_owned() + &table(&["SESSION", "USER", "CLIENT", "OUTCOME", "REASON", "MESSAGE"], &rows)
}

/// The advice for the reason of the request, and for each outcome of a session that has some.
fn what_to_do(reason: &str, sessions: &[SessionStatus]) -> String {
    let mut told = String::new();
    if let Some(advice) = advice::of(reason) {
        let _ = writeln!(told, "\n{reason}: {}\n  what to do: {}", advice.meaning, advice.todo);
    }
    let mut seen = vec![];
    for session in sessions {
        let key = (session.outcome, session.reason);
        let is_settled =
            matches!(session.outcome, SessionOutcome::Killed | SessionOutcome::Gone | SessionOutcome::Pending);
        if is_settled || seen.contains(&key) {
            continue;
        }
        seen.push(key);
        for advice in advice::of_session(session.outcome.as_str(), session.reason.as_str()) {
            let _ = writeln!(
                told,
                "\n{} {}: {}\n  what to do: {}",
                advice.outcome, advice.reason, advice.situation, advice.todo
            );
        }
    }
    told
}

/// A time as people read it, in UTC.
pub fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_objects::{ended, request, session};

    fn receipt() -> SessionKillReceipt {
        serde_json::from_value(json!({
            "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKillReceipt",
            "metadata": {"name": format!("sk-{}", "0".repeat(40))},
            "spec": {
                "sessionKillRef": {"name": "inc-4711", "uid": "u"}, "attemptID": "a", "holderIdentity": "operator-1",
                "claimTime": "2026-10-05T09:00:05Z", "dispatchDeadlineTime": "2026-10-05T09:00:20Z",
                "settleDeadlineTime": "2026-10-05T09:01:00Z", "notAfterTime": "2026-10-05T09:30:00Z",
                "connectionName": "prod-ob", "instanceID": "i", "tenantID": "t", "operation": "KillProcessList", "sessions": [],
            },
            "status": {
                "outcome": "StillPresent", "completionTime": "2026-10-05T09:00:09Z", "requestID": "R-1",
                "operation": "KillProcessList", "sessions": [session("Failed", "StillPresent")],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_story_is_told_in_the_order_of_time_with_what_to_do() {
        let event = json!({
            "metadata": {}, "involvedObject": {}, "reason": "CredentialsUnavailable", "message": "no Secret",
            "eventTime": "2026-10-05T09:00:02.000000Z",
        });
        let event = serde_json::from_value(event).unwrap();
        let told = story(&ended("StillPresent", vec![session("Failed", "StillPresent")]), Some(&receipt()), &[event]);
        let order = [
            "created; nothing is sent after 2026-10-05 09:30:00Z",
            "an operator began",
            "CredentialsUnavailable: no Secret",
            "claimed by receipt",
            "recorded in the receipt: StillPresent",
            "ended: StillPresent",
            "Failed",
            "what to do: make a new request",
            "may stay for a while",
        ];
        let at: Vec<_> =
            order.iter().map(|words| told.find(words).unwrap_or_else(|| panic!("{words}: {told}"))).collect();
        assert!(at.is_sorted(), "{told}");
    }

    #[test]
    fn a_request_that_waits_says_for_what() {
        let told = story(&request("Suspended", "Unknown", None, vec![]), None, &[]);
        assert!(
            told.contains("now: Suspended: says Suspended") && told.contains("what to do: set it to false"),
            "{told}"
        );
        let unseen = SessionKill { status: None, ..ended("SessionsKilled", vec![]) };
        assert!(story(&unseen, None, &[]).contains("no operator has seen it"));
    }

    #[test]
    fn a_receipt_tells_of_a_request_that_is_deleted() {
        let told = remains(&receipt());
        assert!(told.starts_with("sessionkill inc-4711 is deleted") && told.contains("request ID R-1"), "{told}");
    }
}
