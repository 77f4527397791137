//! Which sessions a kill is about: those of the list that are named, or that match.

use sessionkill_api::{MAX_SESSIONS, Session, SessionReason, SessionStatus};

use crate::client::Place;
use crate::dry_run::{Wanted, look};
use crate::errors::{Failure, Result};
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::session::{Named, label, runs_statement};
use crate::sessions::matched;
use crate::target::Target;

use super::flags::{Flags, Take};

/// The sessions that would be ended, and what is to be said of the others.
#[derive(Debug, Default, PartialEq)]
pub struct Picked {
    /// What would be ended, as seen in the list.
    pub sessions: Vec<SessionStatus>,
    /// Which were meant and would not be ended, and why.
    pub notes: Vec<String>,
}

/// Reads the list and picks.
pub async fn pick(place: &Place, target: &Target, flags: &Flags, interrupt: &mut Interrupt) -> Result<Picked> {
    let (exactly, by_id) = split(&flags.sessions);
    let mut all = Picked::default();
    if !exactly.is_empty() {
        let list = look(place, target, Wanted::Sessions(exactly), interrupt).await?;
        all.add_seen(list.status.unwrap_or_default().sessions);
    }
    if !by_id.is_empty() {
        let list = look(place, target, Wanted::Selector(Box::default()), interrupt).await?;
        let matched = matched(&list);
        all.add_by_id(&by_id, &list.status.unwrap_or_default().sessions, matched)?;
    }
    if flags.sessions.is_empty() {
        let list = look(place, target, Wanted::Selector(Box::new(flags.filters.selector())), interrupt).await?;
        let matched = matched(&list);
        all.add_seen(list.status.unwrap_or_default().sessions);
        if all.sessions.is_empty() && all.notes.is_empty() {
            all.notes.push("no session matches".to_owned());
        }
        all.sessions = bounded(all.sessions, matched, flags)?;
    }
    if flags.request.query {
        all.keep_those_with_a_statement();
    }
    Ok(all)
}

fn split(named: &[Named]) -> (Vec<Session>, Vec<i64>) {
    let mut exactly: Vec<Session> = vec![];
    let mut by_id = vec![];
    for one in named {
        match one {
            Named::Exactly(session) if !exactly.contains(session) => exactly.push((**session).clone()),
            Named::ById(id) if !by_id.contains(id) => by_id.push(*id),
            Named::Exactly(_) | Named::ById(_) => (),
        }
    }
    (exactly, by_id)
}

impl Picked {
    /// Takes those that a Kill would be sent for.
    fn add_seen(&mut self, seen: Vec<SessionStatus>) {
        for session in seen {
            match session.reason {
                SessionReason::DryRun => self.sessions.push(session),
                SessionReason::NotFound => {
                    self.notes.push(format!("{} is not in the list: it has ended", label(&session)));
                }
                _ => {
                    self.notes.push(format!(
                        "{} would be left alone: {}: {}",
                        label(&session),
                        session.reason.as_str(),
                        session.message
                    ));
                }
            }
        }
    }

    /// Takes the sessions with these IDs of a list that may be longer than what it shows.
    fn add_by_id(&mut self, ids: &[i64], shown: &[SessionStatus], matched: usize) -> Result<()> {
        for id in ids {
            let of_id: Vec<&SessionStatus> = shown.iter().filter(|session| session.session_id == *id).collect();
            match of_id.as_slice() {
                [one] if matched <= shown.len() => self.add_seen(vec![(*one).clone()]),
                [] if matched <= shown.len() => self.notes.push(format!("{id} is not in the list: it has ended")),
                [] | [_] => {
                    return Err(refused(format!(
                        "the list has {matched} sessions, of which {} are shown: name {id} by its server, as SERVER_IP/{id}",
                        shown.len()
                    )));
                }
                several => {
                    let labels: Vec<String> = several.iter().map(|session| label(session)).collect();
                    return Err(refused(format!(
                        "several sessions have the ID {id}: choose one of {}",
                        labels.join(", ")
                    )));
                }
            }
        }
        Ok(())
    }

    fn keep_those_with_a_statement(&mut self) {
        let (run, idle): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sessions).into_iter().partition(runs_statement);
        self.sessions = run;
        self.notes.extend(idle.iter().map(|session| format!("{} runs no statement", label(session))));
    }
}

/// At most as many as may be ended: as asked for, or none.
fn bounded(mut sessions: Vec<SessionStatus>, matched: usize, flags: &Flags) -> Result<Vec<SessionStatus>> {
    let max = usize::try_from(flags.request.max).unwrap_or(MAX_SESSIONS);
    if matched <= max {
        return Ok(sessions);
    }
    match flags.request.take {
        // The list has the longest first.
        Some(Take::Longest) => sessions.truncate(max),
        Some(Take::Newest) if matched > sessions.len() && !flags.request.selector => {
            return Err(refused(format!(
                "{matched} sessions match, and the newest are not among those that can be shown: narrow the filters, or give --selector"
            )));
        }
        Some(Take::Newest) => {
            sessions.drain(..sessions.len().saturating_sub(max));
        }
        None => {
            return Err(refused(format!(
                "{matched} sessions match, and at most {max} may be ended: narrow the filters, raise --max (to 100), or say which with --take"
            )));
        }
    }
    Ok(sessions)
}

fn refused(message: String) -> Failure {
    Failure::Said(message, Exit::Refused)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(line: &str) -> Flags {
        Line::try_parse_from(["x"].into_iter().chain(line.split_whitespace())).map(|line| line.flags).unwrap()
    }

    fn sessions(ids: &[i64]) -> Vec<SessionStatus> {
        let session = |id: &i64| {
            serde_json::from_value(json!({
                "serverIP": "10.0.0.1", "sessionID": id, "outcome": "Skipped", "reason": "DryRun",
                "observed": {"command": if *id == 1 { "Sleep" } else { "Query" }, "sqlID": "AB"},
            }))
            .unwrap()
        };
        ids.iter().map(session).collect()
    }

    #[test]
    fn an_id_alone_must_be_unique_and_the_list_complete() {
        let mut picked = Picked::default();
        picked.add_by_id(&[1, 9], &sessions(&[1, 2]), 2).unwrap();
        assert_eq!((picked.sessions, picked.notes.len()), (sessions(&[1]), 1));
        for (ids, shown, matched) in [(vec![1], vec![1, 2], 3), (vec![9], vec![1], 2), (vec![1], vec![1, 1], 2)] {
            let refused = Picked::default().add_by_id(&ids, &sessions(&shown), matched);
            assert!(matches!(refused, Err(Failure::Said(_, Exit::Refused))), "{ids:?}");
        }
    }

    #[test]
    fn more_than_the_bound_are_refused_unless_it_is_said_which() {
        let chosen = |line: &str, matched| {
            bounded(sessions(&[3, 2, 1]), matched, &flags(line))
                .ok()
                .map(|all| all.iter().map(|it| it.session_id).collect::<Vec<_>>())
        };
        assert_eq!(chosen("--user a", 3), Some(vec![3, 2, 1]));
        assert_eq!(chosen("--user a --max 2", 3), None);
        assert_eq!(chosen("--user a --max 2 --take longest", 3), Some(vec![3, 2]));
        assert_eq!(chosen("--user a --max 2 --take newest", 3), Some(vec![2, 1]));
        assert_eq!(chosen("--user a --max 2 --take newest", 300), None);
    }

    #[test]
    fn only_what_runs_has_a_statement_to_end() {
        let mut picked = Picked { sessions: sessions(&[1, 2]), notes: vec![] };
        picked.keep_those_with_a_statement();
        assert_eq!((picked.sessions, picked.notes), (sessions(&[2]), vec!["10.0.0.1/1 runs no statement".to_owned()]));
    }
}
