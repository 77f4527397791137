//! Waits for the end of a kill, and says how it goes.

use std::ops::ControlFlow;

use sessionkill_api::SessionKill;

use crate::advice;
use crate::client::Place;
use crate::errors::{Failure, Result};
use crate::exit::{self, Exit};
use crate::follow::follow;
use crate::interrupt::Interrupt;
use crate::output::{plain, print, say, table};
use crate::request::{is_ended, reason_and_message};
use crate::session::label;

use super::flags::Format;
use super::printed::print_request;

/// Waits for the end, and prints the outcome.
pub async fn wait(place: &Place, made: SessionKill, format: Option<Format>, interrupt: &mut Interrupt) -> Result<Exit> {
    let name = made.metadata.name.clone().unwrap_or_default();
    say(&format!("sessionkill {name} is asked for"));
    let mut said = String::new();
    let following = follow(place, made, |request| {
        if is_ended(request) {
            return ControlFlow::Break(request.clone());
        }
        let (reason, message) = reason_and_message(request);
        let progress = if reason.is_empty() { String::new() } else { format!("{reason}: {}", plain(message)) };
        if progress != said && !progress.is_empty() {
            say(&progress);
        }
        said = progress;
        ControlFlow::Continue(())
    });
    let ended = tokio::select! {
        biased;
        () = interrupt.came() => return Err(left(&place.namespace, &name)),
        ended = following => ended?,
    };
    match format {
        Some(format) => print_request(&ended, format)?,
        None => print(&outcome(&ended))?,
    }
    let exit = exit::of(&ended);
    if exit != Exit::AllEnded {
        let (reason, _) = reason_and_message(&ended);
        if let Some(advice) = advice::of(reason) {
            say(&format!("what to do: {}", advice.todo));
        }
        say(&format!("more: kubectl sessionkill explain {name} -n {}", place.namespace));
    }
    Ok(exit)
}

/// The failure of a command that was interrupted after its request was, or may have been, made.
pub fn left(namespace: &str, name: &str) -> Failure {
    let message = format!(
        "interrupted: the kill was asked for and goes on\n\
         follow it with:   kubectl sessionkill explain {name} -n {namespace}\n\
         withdraw it with: kubectl sessionkill delete {name} -n {namespace} (what was sent already ends all the same)"
    );
    Failure::Said(message, Exit::CannotTell)
}

/// What became of each session, and of the request.
fn outcome(request: &SessionKill) -> String {
    let sessions = request.status.as_ref().map(|status| status.sessions.as_slice()).unwrap_or_default();
    let row = |session: &sessionkill_api::SessionStatus| {
        let message = if session.error_message.is_empty() { &session.message } else { &session.error_message };
        vec![label(session), session.outcome.as_str().to_owned(), session.reason.as_str().to_owned(), plain(message)]
    };
    let rows: Vec<_> = sessions.iter().map(row).collect();
    let (reason, message) = reason_and_message(request);
    let sessions_table =
        if rows.is_empty() { String::new() } else { table(&["SESSION", "OUTCOME", "REASON", "MESSAGE"], &rows) };
    format!("{sessions_table}{reason}: {}\n", plain(message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{ended, session};

    #[test]
    fn the_outcome_of_each_session_is_shown() {
        let request = ended("PartiallyKilled", vec![session("Killed", "Verified"), session("Failed", "KillRefused")]);
        let lines = [
            "SESSION                     OUTCOME   REASON        MESSAGE",
            "192.168.13.119/3221614618   Killed    Verified",
            "192.168.13.119/3221614618   Failed    KillRefused",
            "PartiallyKilled: says PartiallyKilled",
        ];
        assert_eq!(outcome(&request).lines().collect::<Vec<_>>(), lines);
    }
}
