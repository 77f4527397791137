//! `history`: what was asked for in the namespace, and what became of it.

use std::cmp::Reverse;
use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::{Mode, SessionKill, SessionKillReceipt, SessionOutcome, SessionStatus};

use crate::client::Place;
use crate::dry_run::MANAGED_BY;
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::explain::time;
use crate::filters;
use crate::interrupt::Interrupt;
use crate::output::{cut, plain, print, say, table};
use crate::request::reason_and_message;

/// The flags of `history`.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// Only what was asked for within this time, such as 1d
    #[arg(long, value_name = "DURATION", value_parser = filters::seconds)]
    pub since: Option<i32>,
}

/// One line.
struct Entry {
    at: Timestamp,
    cells: [String; 7],
}

const COLUMNS: [&str; 8] = ["TIME", "REQUEST", "MODE", "OUTCOME", "ENDED", "TENANT", "CONNECTION", "REASON"];

/// Prints the requests and, where these are deleted, their receipts; newest first.
pub async fn run(place: &Place, flags: &Flags) -> Result<Exit> {
    let mut interrupt = Interrupt::listen()?;
    let (requests, receipts) = interrupt.or(async { Ok(tokio::join!(place.all_requests(), place.receipts())) }).await?;
    let mut requests = requests?;
    // Lists that somebody looks at right now are no requests of theirs.
    requests.retain(|request| !is_list(request));
    let receipts = receipts.or_else(|failure| match failure {
        Failure::Said(words, _) => {
            say(&format!("receipts are left out: {words}"));
            Ok(vec![])
        }
        closed @ Failure::OutputClosed => Err(closed),
    })?;
    let oldest = flags.since.map(|seconds| Timestamp::now() - SignedDuration::from_secs(seconds.into()));
    let rows = rows(&requests, &receipts, oldest);
    if rows.is_empty() {
        say(&format!("no requests in namespace {}", place.namespace));
        return Ok(Exit::AllEnded);
    }
    print(&table(&COLUMNS, &rows))?;
    Ok(Exit::AllEnded)
}

/// Whether it is a list of this program.
fn is_list(request: &SessionKill) -> bool {
    let (label, value) = MANAGED_BY;
    let labels = request.metadata.labels.as_ref();
    request.spec.mode == Mode::DryRun && labels.is_some_and(|labels| labels.get(label).is_some_and(|it| it == value))
}

fn rows(requests: &[SessionKill], receipts: &[SessionKillReceipt], oldest: Option<Timestamp>) -> Vec<Vec<String>> {
    let live: HashSet<&str> = requests.iter().filter_map(|request| request.metadata.uid.as_deref()).collect();
    let of_deleted = receipts.iter().filter(|receipt| !live.contains(receipt.spec.session_kill_ref.uid.as_str()));
    let mut all: Vec<Entry> = requests.iter().map(of_request).chain(of_deleted.map(of_receipt)).collect();
    all.retain(|entry| oldest.is_none_or(|oldest| entry.at >= oldest));
    all.sort_by_key(|entry| Reverse(entry.at));
    all.into_iter().map(|entry| std::iter::once(time(entry.at)).chain(entry.cells).collect()).collect()
}

fn of_request(request: &SessionKill) -> Entry {
    let (reason, _) = reason_and_message(request);
    let spec = &request.spec;
    let sessions = request.status.as_ref().map(|status| status.sessions.as_slice()).unwrap_or_default();
    let mode = if spec.mode == Mode::DryRun { "DryRun" } else { "Kill" };
    let ended = if spec.mode == Mode::DryRun { String::new() } else { ended_of(sessions) };
    let cells = [
        request.metadata.name.clone().unwrap_or_default(),
        mode.to_owned(),
        if reason.is_empty() { "not seen by an operator".to_owned() } else { reason.to_owned() },
        ended,
        spec.tenant_id.clone(),
        spec.connection_ref.name.clone(),
        cut(&plain(spec.reason.as_deref().unwrap_or_default()), 40),
    ];
    let at = request.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0);
    Entry { at, cells }
}

fn of_receipt(receipt: &SessionKillReceipt) -> Entry {
    let spec = &receipt.spec;
    let (outcome, sessions) = match &receipt.status {
        Some(status) => (status.outcome.as_str(), &status.sessions),
        None => ("Dispatching", &spec.sessions),
    };
    let cells = [
        format!("{} (deleted)", spec.session_kill_ref.name),
        "Kill".to_owned(),
        outcome.to_owned(),
        ended_of(sessions),
        spec.tenant_id.clone(),
        spec.connection_name.clone(),
        String::new(),
    ];
    Entry { at: spec.claim_time.0, cells }
}

/// How many have ended, of how many.
fn ended_of(sessions: &[SessionStatus]) -> String {
    let ended = sessions.iter().filter(|it| matches!(it.outcome, SessionOutcome::Killed | SessionOutcome::Gone));
    format!("{}/{}", ended.count(), sessions.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{ended, session};

    #[test]
    fn each_request_is_a_line_of_those_that_are_new_enough() {
        let requests =
            [ended("PartiallyKilled", vec![session("Killed", "Verified"), session("Failed", "StillPresent")])];
        let line = [
            "2026-10-05 09:00:00Z",
            "inc-4711",
            "Kill",
            "PartiallyKilled",
            "1/2",
            "t4louaeei0000",
            "prod-ob",
            "INC-4711",
        ];
        assert_eq!(rows(&requests, &[], None), [line]);
        let mut list = ended("DryRunCompleted", vec![]);
        assert!(!is_list(&list));
        list.spec.mode = Mode::DryRun;
        list.metadata.labels = Some([(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())].into());
        assert!(is_list(&list));
        assert!(rows(&requests, &[], Some("2026-10-06T00:00:00Z".parse().unwrap())).is_empty());
    }
}
