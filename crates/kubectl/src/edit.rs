//! `suspend`, `resume` and `delete`, in words.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use sessionkill_api::SessionKill;

use crate::ask;
use crate::client::Place;
use crate::errors::{Failure, Result, failure};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::output::print;
use crate::request::{is_ended, reason_and_message};

/// The flags of `suspend` and `resume`.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// The names of the requests
    #[arg(required = true, value_name = "NAME", add = crate::names::requests())]
    pub names: Vec<String>,
}

/// The flags of `delete`.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct DeleteFlags {
    /// The names of the requests
    #[arg(required = true, value_name = "NAME", add = crate::names::requests())]
    pub names: Vec<String>,
    /// Do not ask about a request that is at work: for scripts
    #[arg(short, long)]
    pub yes: bool,
}

/// Holds requests back, or lets them go on.
pub async fn suspend(place: &Place, flags: &Flags, is_held: bool) -> Result<Exit> {
    let mut interrupt = Interrupt::listen()?;
    let mut exit = Exit::AllEnded;
    for name in &flags.names {
        let request = interrupt.or(place.request(name)).await?;
        let (words, is_done) = effect(&request, is_held);
        if is_done {
            let patch = Patch::Merge(json!({"spec": {"suspend": is_held}}));
            let patched = async {
                let patched = place.requests().patch(name, &PatchParams::default(), &patch).await;
                patched.map_err(|error| place.attempt("patch", "sessionkills", name).failed(&error))
            };
            interrupt.or(patched).await?;
        } else if is_held {
            exit = Exit::Refused;
        }
        print(&format!("sessionkill {name}: {words}\n"))?;
    }
    Ok(exit)
}

/// What suspending or resuming does to the request, and whether it does anything.
fn effect(request: &SessionKill, is_held: bool) -> (String, bool) {
    let (reason, _) = reason_and_message(request);
    let dispatched = request.status.as_ref().is_some_and(|status| status.dispatch.is_some());
    let until = crate::explain::time(request.spec.not_after_time.0);
    match (is_ended(request), is_held) {
        (true, _) => (format!("it has ended ({reason}): nothing to do"), false),
        (false, true) if dispatched => ("its call was made: it cannot be held back any more".to_owned(), false),
        (false, true) => (format!("held back until it is resumed; after {until} it ends without anything sent"), true),
        (false, false) if !request.spec.suspend => ("it is not suspended: nothing to do".to_owned(), false),
        (false, false) => (format!("goes on; nothing is sent after {until}"), true),
    }
}

/// Deletes requests, and says what that means for their sessions.
pub async fn delete(place: &Place, flags: &DeleteFlags) -> Result<Exit> {
    let mut interrupt = Interrupt::listen()?;
    for name in &flags.names {
        let request = interrupt.or(place.request(name)).await?;
        let (meaning, is_at_work) = meaning(&request);
        if is_at_work && !flags.yes {
            if !ask::is_terminal() {
                return Err(failure(format!("sessionkill {name}: {meaning}: give --yes to delete it all the same")));
            }
            if !ask::yes(&format!("sessionkill {name}: {meaning}. Delete it?"), &mut interrupt).await? {
                return Err(Failure::Said("nothing more was deleted".to_owned(), Exit::Other));
            }
        }
        let deleted = async {
            let deleted = place.requests().delete(name, &DeleteParams::background()).await;
            deleted.map(drop).map_err(|error| place.attempt("delete", "sessionkills", name).failed(&error))
        };
        interrupt.or(deleted).await?;
        print(&format!("sessionkill {name} deleted: {meaning}\n"))?;
    }
    Ok(Exit::AllEnded)
}

/// What a deletion means, and whether the request is at work.
fn meaning(request: &SessionKill) -> (String, bool) {
    let dispatched = request.status.as_ref().is_some_and(|status| status.dispatch.is_some());
    if is_ended(request) {
        return ("it has ended, and its receipt is kept".to_owned(), false);
    }
    let meaning = if dispatched {
        "its call was made, and ends the sessions all the same; the outcome is in its receipt"
    } else {
        "as far as is known nothing was sent for it; if it was claimed just now, its receipt has the outcome"
    };
    (meaning.to_owned(), true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{ended, request};

    #[test]
    fn only_what_was_not_sent_can_be_held_back() {
        let waiting = request("Scheduled", "Unknown", None, vec![]);
        assert!(effect(&waiting, true).1);
        assert!(!effect(&waiting, false).1);
        assert!(!effect(&ended("SessionsKilled", vec![]), true).1);
        let mut held = waiting;
        held.spec.suspend = true;
        assert!(effect(&held, false).1);
    }

    #[test]
    fn only_a_request_at_work_is_asked_about() {
        assert!(meaning(&request("Scheduled", "Unknown", None, vec![])).1);
        assert!(!meaning(&ended("SessionsKilled", vec![])).1);
    }
}
