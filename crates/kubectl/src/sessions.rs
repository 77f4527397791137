//! `sessions`: the sessions of a tenant.

use std::cmp::Reverse;
use std::io::IsTerminal as _;
use std::time::Duration;

use sessionkill_api::{SessionKill, SessionStatus};
use tokio::time::sleep;

use crate::client::Place;
use crate::dry_run::{Wanted, look};
use crate::errors::Result;
use crate::exit::Exit;
use crate::interrupt::Interrupt;
use crate::output::{json, print, say, table, yaml};
use crate::{filters, session, target};

/// The flags of `sessions`.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// The connection: NAME, or cobc/NAME for one of no namespace. May be left out if there is one only
    #[arg(add = crate::names::connections())]
    pub connection: Option<String>,
    /// Which tenant.
    #[command(flatten)]
    pub target: target::Flags,
    /// Which sessions.
    #[command(flatten)]
    pub filters: filters::Flags,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// The order of the sessions
    #[arg(long, value_name = "BY", default_value = "time")]
    pub sort: Sort,
    /// List again and again, with this pause (2s if none is given), until Ctrl-C
    #[arg(short, long, value_name = "PAUSE", num_args = 0..=1, default_missing_value = "2s", require_equals = true, value_parser = filters::seconds)]
    pub watch: Option<i32>,
}

/// How sessions are printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The columns that people look at.
    Table,
    /// All columns.
    Wide,
    /// What the operator wrote, as JSON.
    Json,
    /// What the operator wrote, as YAML.
    Yaml,
    /// SERVER_IP/ID alone, which kill takes.
    Name,
}

/// The order of sessions.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Longest in their present state first.
    Time,
    /// By user.
    User,
    /// By the client's address.
    Client,
    /// By database.
    Database,
}

/// Lists them, once or again and again.
pub async fn run(place: &Place, flags: &Flags) -> Result<Exit> {
    let mut interrupt = Interrupt::listen()?;
    let target = target::choose(place, flags.connection.as_deref(), &flags.target, &mut interrupt).await?;
    let wanted = Wanted::Selector(Box::new(flags.filters.selector()));
    let Some(pause) = flags.watch else {
        let list = look(place, &target, wanted, &mut interrupt).await?;
        show(&list, flags)?;
        return Ok(Exit::AllEnded);
    };
    let pause = Duration::from_secs(u64::try_from(pause).unwrap_or(2));
    loop {
        let list = look(place, &target, wanted.clone(), &mut interrupt).await?;
        if std::io::stdout().is_terminal() {
            // Clear the screen.
            print("\u{1b}[2J\u{1b}[H")?;
        }
        show(&list, flags)?;
        tokio::select! {
            // That is how it is meant to end.
            () = interrupt.came() => return Ok(Exit::AllEnded),
            () = sleep(pause) => (),
        }
    }
}

fn show(list: &SessionKill, flags: &Flags) -> Result<()> {
    let mut sessions = list.status.as_ref().map(|status| status.sessions.clone()).unwrap_or_default();
    sort(&mut sessions, flags.sort);
    match flags.output {
        Format::Table | Format::Wide if sessions.is_empty() => say("no session matches"),
        Format::Table => print(&rendered(&sessions, false))?,
        Format::Wide => print(&rendered(&sessions, true))?,
        Format::Json => print(&json(&sessions)?)?,
        Format::Yaml => print(&yaml(&sessions)?)?,
        Format::Name => print(&sessions.iter().map(|it| session::label(it) + "\n").collect::<String>())?,
    }
    let matched = matched(list);
    if matched > sessions.len() {
        say(&format!("{matched} sessions match: the {} longest are shown", sessions.len()));
    }
    Ok(())
}

/// How many sessions matched in all.
pub fn matched(list: &SessionKill) -> usize {
    let status = list.status.as_ref();
    let counted = status.and_then(|status| usize::try_from(status.counts?.matched?).ok());
    counted.or_else(|| status.map(|status| status.sessions.len())).unwrap_or_default()
}

/// A table of sessions.
pub fn rendered(sessions: &[SessionStatus], is_wide: bool) -> String {
    let wide: &[&str] = if is_wide { &session::WIDE_COLUMNS } else { &[] };
    let header = [&session::COLUMNS[..], wide].concat();
    let row = |it: &SessionStatus| {
        let wide = if is_wide { session::wide_cells(it) } else { vec![] };
        [session::cells(it), wide].concat()
    };
    table(&header, &sessions.iter().map(row).collect::<Vec<_>>())
}

/// Sorts them; those that are equal stay longest first.
pub fn sort(sessions: &mut [SessionStatus], by: Sort) {
    let text = |it: &SessionStatus, of: fn(&sessionkill_api::ObservedSession) -> &String| {
        it.observed.as_ref().map(|seen| of(seen).clone()).unwrap_or_default()
    };
    sessions.sort_by_key(|it| Reverse(session::seconds(it)));
    match by {
        Sort::Time => (),
        Sort::User => sessions.sort_by_key(|it| text(it, |seen| &seen.user)),
        Sort::Client => sessions.sort_by_key(|it| text(it, |seen| &seen.client_ip)),
        Sort::Database => sessions.sort_by_key(|it| text(it, |seen| &seen.database)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(id: i64, user: &str, time: &str) -> SessionStatus {
        serde_json::from_value(json!({
            "serverIP": "10.0.0.1", "sessionID": id, "outcome": "Skipped", "reason": "DryRun",
            "observed": {
                "user": user, "clientIP": "10.2.3.4", "database": "shop", "command": "Query", "executeTime": time,
                "sqlID": "AB", "sqlText": "select\u{1b} 1",
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_table_shows_what_people_look_at() {
        let rows = [session(7, "report", "312"), session(12, "app", "1")];
        let lines = [
            "SESSION       USER     CLIENT     DATABASE   COMMAND   TIME    STATEMENT",
            "10.0.0.1/7    report   10.2.3.4   shop       Query     5m12s   select\u{fffd} 1",
            "10.0.0.1/12   app      10.2.3.4   shop       Query     1s      select\u{fffd} 1",
        ];
        assert_eq!(rendered(&rows, false).lines().collect::<Vec<_>>(), lines);
        assert!(rendered(&rows, true).lines().next().unwrap().ends_with("TRACE ID   TRANSACTION   PROXY SESSION"));
    }

    #[test]
    fn they_are_sorted_as_asked() {
        let ids = |by| {
            let mut all = vec![session(1, "b", "5"), session(2, "a", "7"), session(3, "a", "60")];
            sort(&mut all, by);
            all.iter().map(|it| it.session_id).collect::<Vec<_>>()
        };
        assert_eq!((ids(Sort::Time), ids(Sort::User)), (vec![3, 2, 1], vec![3, 2, 1]));
        assert_eq!(ids(Sort::Client), [3, 2, 1]);
    }
}
