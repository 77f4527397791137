//! The process list of a tenant at one moment. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use sessionkill_api::Expect;

use crate::selection::{Filter, Selected, Wanted};
use crate::session::{Seen, same_address};

/// The longest time that a list may decide kills (15 s). Session IDs are reused, so that a process that was frozen
/// after reading the list could kill a new session.
const DECIDES_FOR: SignedDuration = SignedDuration::from_secs(15);

/// The process list of one tenant at one time, or the part of it that was asked for.
#[derive(Debug)]
pub struct Snapshot {
    sessions: HashMap<i64, Vec<Seen>>,
    complete: bool,
    /// The servers whose sessions it has, by address and port; `None` for all servers.
    servers: Option<HashSet<(String, String)>>,
    /// The fields of `expect` that it cannot tell.
    untold: Vec<&'static str>,
    /// Why it is not complete, for people; empty if it is.
    gap: &'static str,
    /// What it was read for: only the absence of these sessions is proven; `None` for all.
    asked: Option<Arc<Wanted>>,
    /// What each filter of `asked` has selected.
    selected: Vec<Selected>,
    /// When reading it began.
    pub time: Timestamp,
}

/// Whether a session is in a [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence<'a> {
    /// In the list.
    Present(&'a Seen),
    /// Not in the list, and the list is complete.
    Absent,
    /// Not in the list, but the list is incomplete or was not read for its ID, so that it may still exist.
    Unknown,
}

impl Snapshot {
    /// `complete` says that the list has every session.
    #[must_use]
    pub fn new(sessions: Vec<Seen>, complete: bool, time: Timestamp) -> Self {
        let mut by_id = HashMap::<i64, Vec<Seen>>::with_capacity(sessions.len());
        for seen in sessions {
            by_id.entry(seen.session_id).or_default().push(seen);
        }
        Self { sessions: by_id, complete, servers: None, untold: vec![], gap: "", asked: None, selected: vec![], time }
    }

    /// Says of what the list tells nothing: see [`ProcessList`](crate::backend::ProcessList).
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        let Limits { servers, untold, gap } = limits;
        Self { servers, untold, gap, ..self }
    }

    /// The first field of `expect` that the list cannot tell.
    #[must_use]
    pub fn cannot_tell(&self, expect: &Expect) -> Option<&'static str> {
        let is_given = |field: &&'static str| gives(expect, field);
        self.untold.iter().copied().find(is_given)
    }

    /// The first of these fields of `expect` that the list cannot tell.
    #[must_use]
    pub fn cannot_tell_of(&self, fields: &[&str]) -> Option<&'static str> {
        self.untold.iter().copied().find(|field| fields.contains(field))
    }

    /// Whether it has every session that was asked for.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// What this very filter has selected; `None` if the list was not read for it.
    #[must_use]
    pub fn selected(&self, filter: &Arc<Filter>) -> Option<&Selected> {
        self.selected.get(self.asked.as_ref()?.place(filter)?)
    }

    /// Why the list is not complete, for people; empty if nothing is known.
    #[must_use]
    pub const fn gap(&self) -> &'static str {
        self.gap
    }

    /// Marks a list as filtered to what was `wanted`, so that it proves nothing about any other session. `selected` is what each
    /// of its filters has selected.
    #[must_use]
    pub fn of_those_asked_for(self, wanted: Arc<Wanted>, selected: Vec<Selected>) -> Self {
        Self { asked: Some(wanted), selected, ..self }
    }

    /// Whether the list was read for all that is `wanted`.
    #[must_use]
    pub fn tells_of(&self, wanted: &Wanted) -> bool {
        self.asked.as_ref().is_none_or(|asked| asked.covers(wanted))
    }

    fn tells_of_id(&self, id: i64) -> bool {
        self.asked.as_ref().is_none_or(|asked| asked.ids.contains(&id))
    }

    /// Whether the list is recent enough at `now` to decide kills. False if the clock was set back since it was read:
    /// its age is then unknown.
    #[must_use]
    pub fn may_decide(&self, now: Timestamp) -> bool {
        (SignedDuration::ZERO..=DECIDES_FOR).contains(&now.duration_since(self.time))
    }

    /// Finds the session with this ID on this server.
    #[must_use]
    pub fn presence(&self, server_ip: &str, session_id: i64) -> Presence<'_> {
        self.presence_at((server_ip, None), session_id)
    }

    /// Finds the session with this ID on this server, whose port counts if both sides tell it.
    #[must_use]
    pub fn presence_at(&self, (server_ip, server_port): (&str, Option<i32>), session_id: i64) -> Presence<'_> {
        let same_id = self.sessions.get(&session_id).map(Vec::as_slice).unwrap_or_default();
        let port = server_port.map(|port| port.to_string());
        let is_at = |seen: &&Seen| {
            let other_port =
                port.as_ref().is_some_and(|port| !seen.server_port.is_empty() && *port != seen.server_port);
            same_address(server_ip, &seen.server_ip) && !other_port
        };
        match same_id.iter().find(is_at) {
            Some(seen) => Presence::Present(seen),
            None if self.complete && self.tells_of_id(session_id) && self.has_server(server_ip, server_port) => {
                Presence::Absent
            }
            None => Presence::Unknown,
        }
    }

    /// Whether it has a session of this server, whose port counts if both sides tell it.
    #[must_use]
    pub fn has_server(&self, server_ip: &str, server_port: Option<i32>) -> bool {
        let port = server_port.map(|port| port.to_string());
        let is_it = |(ip, told): &(String, String)| {
            same_address(server_ip, ip) && (told.is_empty() || port.as_ref().is_none_or(|port| port == told))
        };
        self.servers.as_ref().is_none_or(|servers| servers.iter().any(is_it))
    }
}

/// Of what a process list tells nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The servers whose sessions it has, by address and port, which is empty if not told: of another server it tells nothing, as
    /// that may be unreachable. `None` for all.
    pub servers: Option<HashSet<(String, String)>>,
    /// The fields of `expect` that it cannot tell, by their names.
    pub untold: Vec<&'static str>,
    /// Why it is not complete, for people.
    pub gap: &'static str,
}

/// Whether `expect` gives the field of this name.
fn gives(expect: &Expect, field: &str) -> bool {
    match field {
        "user" => expect.user.is_some(),
        "database" => expect.database.is_some(),
        "clientIP" => expect.client_ip.is_some(),
        "clientPort" => expect.client_port.is_some(),
        "command" => expect.command.is_some(),
        "state" => expect.state.is_some(),
        "sqlID" => expect.sql_id.is_some(),
        "traceID" => expect.trace_id.is_some(),
        "transactionID" => expect.transaction_id.is_some(),
        "transaction" => expect.transaction.is_some(),
        "proxySessionID" => expect.proxy_session_id.is_some(),
        "minExecutionSeconds" => expect.min_execution_seconds.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{seen, snapshot, time};

    #[test]
    fn the_same_id_on_another_server_is_another_session() {
        let other = Seen { server_ip: "10.9.9.9".to_owned(), ..seen(0) };
        let list = snapshot(vec![other, seen(1)]);
        assert_eq!(list.presence(&seen(0).server_ip, seen(0).session_id), Presence::Absent);
        assert!(matches!(list.presence("10.9.9.9", seen(0).session_id), Presence::Present(_)));
    }

    #[test]
    fn a_list_decides_for_a_while_and_not_if_nobody_can_tell_how_old_it_is() {
        let list = snapshot(vec![]);
        for (clock, expected) in [("09:59:59", false), ("10:00:00", true), ("10:00:15", true), ("10:00:16", false)] {
            assert_eq!(list.may_decide(time(clock)), expected, "{clock}");
        }
    }

    #[test]
    fn a_list_tells_only_of_the_servers_that_it_has() {
        let servers = Some(HashSet::from([("10.0.0.1".to_owned(), String::new())]));
        let list = Snapshot::new(vec![], true, crate::test_objects::time("10:00:00"));
        let list = list.with_limits(Limits { servers, ..Limits::default() });
        assert_eq!(list.presence("10.0.0.1", 7), Presence::Absent);
        assert_eq!(list.presence("10.0.0.2", 7), Presence::Unknown, "that server may be unreachable");
    }

    #[test]
    fn two_servers_on_one_address_are_told_apart_by_their_ports() {
        let at = |port: &str| Seen {
            server_ip: "10.0.0.1".to_owned(),
            server_port: port.to_owned(),
            session_id: 7,
            ..Seen::default()
        };
        let list = |seen| Snapshot::new(vec![seen], true, crate::test_objects::time("10:00:00"));
        let presence = |seen: &Snapshot, port| seen.presence_at(("10.0.0.1", port), 7) != Presence::Absent;
        assert!(presence(&list(at("2881")), Some(2881)) && presence(&list(at("2881")), None));
        assert!(!presence(&list(at("2882")), Some(2881)));
        assert!(presence(&list(at("")), Some(2881)), "a list that tells no port");
    }

    #[test]
    fn a_list_says_what_it_cannot_tell() {
        let list = Snapshot::new(vec![], true, crate::test_objects::time("10:00:00"));
        let list = list.with_limits(Limits { untold: vec!["traceID", "database"], ..Limits::default() });
        let of = |expect| list.cannot_tell(&expect);
        assert_eq!(of(Expect { trace_id: Some("Y".to_owned()), ..Expect::default() }), Some("traceID"));
        assert_eq!(of(Expect { user: Some("a".to_owned()), ..Expect::default() }), None);
    }
}
