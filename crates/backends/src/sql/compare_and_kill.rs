//! Ends sessions one after the other: compares, then kills, on one connection. Does I/O.
//!
//! 1. The server itself compares the session with what was seen and what is expected, and keeps its ID in `@k`. That is never done
//!    by `INTO`, which leaves the ID of the session before in `@k` if there is none.
//! 2. `KILL` is sent only if the row that was just read has the ID. It names `@k`, under the condition that the dispatch deadline
//!    has not passed by the server's clock.
//!
//! The first `KILL` without a certain answer costs its connection: the sessions behind it go on with a new one, once.

use std::time::Duration;

use jiff::Timestamp;
use sessionkill_api::{ObservedSession, Scope, SessionReason};
use sessionkill_core::backend::{CallError, ErrorKind, KillPermit, ProcessList, TargetSession};
use sessionkill_core::kill::expect::mismatch;
use sessionkill_core::selection::Wanted;
use sessionkill_core::session::{Row, Seen, Verdict};
use sessionkill_core::snapshot::{Presence, Snapshot};
use tokio::time::Instant;

use super::access::Access;
use super::error_codes::{Killed, of_kill, of_read, unreachable};
use super::process_list::{self, Of};
use super::session::Session;
use super::statements::{self, Pinned};

/// IDs below this are those of sessions behind a proxy, on a server that knows them: one such ID may stand for several
/// sessions of several servers.
const FIRST_SERVER_ID: i64 = 1 << 31;

/// Without a condition in `KILL`, at least this much must be left: nothing refuses what is late on its way.
const WITHOUT_FENCE: Duration = Duration::from_secs(2);

/// The most connections of one call that may be lost.
const MOST_LOST: u32 = 2;

/// The code of the error for a comparison that several sessions fit.
const SEVERAL_ROWS: &str = "1242";

/// A call under way.
pub(super) struct Calling<'a, P> {
    pub(super) access: &'a Access,
    pub(super) permit: &'a P,
    /// The tenant of the sessions, if the login is of another.
    pub(super) tenant: &'a str,
    /// The open connection; `None` once it is lost.
    pub(super) session: Option<Session>,
    pub(super) lost: u32,
}

/// Why nothing was sent for a session.
enum Unsent {
    /// It alone: this is known of it.
    This(Verdict),
    /// Nor will be for those behind it.
    All(CallError),
}

impl<P: KillPermit> Calling<'_, P> {
    /// Ends `sessions`, in order, each at most once. Returns a row for each, and why the call ended before the last if it did.
    pub(super) async fn kill_all(&mut self, sessions: &[TargetSession]) -> (Vec<Row>, Option<CallError>) {
        let mut ended: Option<CallError> = None;
        let mut rows = Vec::with_capacity(sessions.len());
        for target in sessions {
            let (verdict, error_message) = match &ended {
                Some(error) => (Verdict::NotSent(error.to_string()), String::new()),
                None => self.kill_one(target).await.unwrap_or_else(|unsent| match unsent {
                    Unsent::This(verdict) => (verdict, String::new()),
                    Unsent::All(error) => {
                        let verdict = Verdict::NotSent(error.to_string());
                        ended = Some(error);
                        (verdict, String::new())
                    }
                }),
            };
            let seen = Seen { server_ip: target.server_ip.clone(), session_id: target.session_id, ..Seen::default() };
            rows.push(Row { seen, error_message, verdict, meant: Some(target.meant.clone()) });
        }
        (rows, ended)
    }

    async fn kill_one(&mut self, target: &TargetSession) -> Result<(Verdict, String), Unsent> {
        let scope = target.meant.scope;
        loop {
            let session = self.session().await?;
            let (id, observed) = must_be_other(target, session.own_id).map_err(Unsent::This)?;
            let compared = match self.compare(id, observed, target).await {
                Ok(compared) => compared,
                Err(error) if error.code == SEVERAL_ROWS => return Err(Unsent::This(Verdict::Skipped(several()))),
                // A connection that was kept for a while may be closed by now. Nothing was executed.
                Err(error) if self.session.is_none() && self.lost < MOST_LOST => {
                    tracing::debug!(%error, "connection lost before a kill: made anew");
                    continue;
                }
                Err(error) => return Err(Unsent::All(error)),
            };
            let Some(server_time) = compared else { return Err(Unsent::This(self.look(target, observed).await?)) };
            return match self.kill(scope, id, server_time).await? {
                Killed::Taken => Ok((Verdict::Answered, String::new())),
                Killed::Refused(message) => Ok((Verdict::Answered, message)),
                Killed::Ambiguous(error) => {
                    self.lose();
                    Ok((Verdict::Ambiguous(error.to_string()), String::new()))
                }
                Killed::Late => Err(Unsent::All(deadline_passed())),
                Killed::Rejected(error) => Err(Unsent::All(CallError { is_of_whole_call: true, ..error })),
                Killed::NotSent(error) => {
                    self.lose();
                    Err(Unsent::All(error))
                }
            };
        }
    }

    /// The open connection, or a new one.
    async fn session(&mut self) -> Result<&mut Session, Unsent> {
        if self.time_left().is_none() {
            return Err(Unsent::All(deadline_passed()));
        }
        if self.session.is_none() {
            if self.lost >= MOST_LOST {
                return Err(Unsent::All(unreachable("the connection was lost before its turn came")));
            }
            self.session = Some(self.access.connect().await.map_err(Unsent::All)?);
        }
        self.session.as_mut().ok_or_else(|| Unsent::All(unreachable("no connection")))
    }

    fn time_left(&self) -> Option<Duration> {
        self.permit.time_left()
    }

    fn lose(&mut self) {
        self.session = None;
        self.lost += 1;
    }

    /// Step 1. The server's time in microseconds, if the session is as it must be. Nothing is executed by it.
    async fn compare(
        &mut self,
        id: u32,
        observed: &ObservedSession,
        target: &TargetSession,
    ) -> Result<Option<u128>, CallError> {
        let deadline = self.until();
        let Some(session) = self.session.as_mut() else { return Err(unreachable("no connection")) };
        let meant = &target.meant;
        let pinned = Pinned {
            id,
            server_ip: &target.server_ip,
            server_port: meant.server_port,
            tenant: session.columns.has("TENANT").then_some(self.tenant),
            user: &observed.user,
            host: &observed.host,
            trace_id: Some(observed.trace_id.as_str()).filter(|_| meant.scope == Scope::Query),
            expect: meant.expect.as_ref(),
        };
        let statement = statements::compare(session.view, &session.columns, &pinned);
        let mut compared = None;
        let read = session.connection.query(&statement, deadline, |row| {
            let text = |column| row.at(column).flatten().map(|value| String::from_utf8_lossy(value).into_owned());
            compared = Some((text(0), text(1)));
        });
        let read = read.await.map_err(of_read);
        if read.is_err() && !session.connection.is_usable() {
            self.lose();
        }
        let rows = read.map_err(not_executed)?;
        let (found, time) = compared.unwrap_or_default();
        let time = time.as_deref().and_then(micros);
        let found = match found {
            None if rows == 1 => return Ok(None),
            found => found.unwrap_or_default(),
        };
        match time.filter(|_| rows == 1 && found == id.to_string()) {
            Some(time) => Ok(Some(time)),
            None => Err(CallError::local(
                ErrorKind::OperationUnavailable,
                "ServerNotSupported",
                "the server compared something else",
            )),
        }
    }

    /// Step 2, for a session that was just as it must be, when the server's clock showed `server_time`.
    async fn kill(&mut self, scope: Scope, id: u32, server_time: u128) -> Result<Killed, Unsent> {
        // The time that is left now is less than that at `server_time`, so that the server's deadline is no later than ours,
        // whatever its clock says. A pause of this process from here on is covered by it.
        let left = self.time_left().ok_or_else(|| Unsent::All(deadline_passed()))?;
        let until = Instant::now() + self.access.request_timeout;
        let Some(session) = self.session.as_mut() else { return Err(Unsent::All(unreachable("no connection"))) };
        let statement = if session.has_fence {
            statements::kill_before(scope, server_time + left.as_micros())
        } else if left > WITHOUT_FENCE {
            statements::kill(scope, id)
        } else {
            return Err(Unsent::All(deadline_passed()));
        };
        Ok(of_kill(id, session.connection.query(&statement, until, |_| {}).await))
    }

    /// What the list has under the ID instead of the session that is meant. Ends nothing.
    async fn look(&mut self, target: &TargetSession, observed: &ObservedSession) -> Result<Verdict, Unsent> {
        let deadline = self.until();
        let Some(session) = self.session.as_mut() else { return Err(Unsent::All(unreachable("no connection"))) };
        let of = Of { tenant: self.tenant, login: &self.access.tenant };
        match process_list::read(session, of, &Wanted::by_id([target.session_id]), deadline).await {
            Ok(list) => Ok(instead(list, target, observed)),
            Err(error) => {
                self.lose();
                Ok(Verdict::Skipped(format!(
                    "it is not as it was any more, and what it is now cannot be read: {error}"
                )))
            }
        }
    }

    /// The end of a statement that begins now and must be answered before the deadline.
    fn until(&self) -> Instant {
        Instant::now() + self.access.request_timeout.min(self.time_left().unwrap_or_default())
    }
}

/// What is known of the session that is meant, by a list that was read after the comparison. Others may have its ID, on other
/// servers. That it is missing proves its end only if the list has all sessions of its server.
fn instead(list: ProcessList, target: &TargetSession, observed: &ObservedSession) -> Verdict {
    let ProcessList { sessions, complete, limits, .. } = list;
    let is_it = |seen: &&Seen| seen.host == observed.host && seen.user == observed.user;
    if let Some(there) = sessions.iter().find(is_it) {
        let difference = target.meant.expect.as_ref().and_then(|expect| mismatch(expect, there));
        return Verdict::Skipped(
            difference.unwrap_or_else(|| "it changed between the process list and the kill".to_owned()),
        );
    }
    let others = Snapshot::new(vec![], complete, Timestamp::now()).with_limits(limits);
    let server = (target.server_ip.as_str(), target.meant.server_port);
    match others.presence_at(server, target.session_id) {
        Presence::Absent if sessions.is_empty() => Verdict::Gone(SessionReason::NotFound),
        Presence::Absent => Verdict::Gone(SessionReason::IdReused),
        _ => Verdict::Skipped("it is not in the process list any more, which does not prove its end".to_owned()),
    }
}

/// The ID and what was seen of a session that may be compared and killed.
fn must_be_other(target: &TargetSession, own_id: i64) -> Result<(u32, &ObservedSession), Verdict> {
    let skipped = |why: &str| Verdict::Skipped(why.to_owned());
    let Ok(id) = u32::try_from(target.session_id) else {
        return Err(skipped("its ID is larger than any session's, and the server would cut it to another's"));
    };
    if target.session_id == own_id {
        return Err(skipped("it is the operator's own session"));
    }
    let Some(observed) = target.observed.as_ref().filter(|observed| !observed.host.is_empty()) else {
        return Err(skipped("it was not seen in the process list, so that it cannot be told from another with its ID"));
    };
    if !observed.proxy_session_id.is_empty() && target.session_id < FIRST_SERVER_ID {
        return Err(skipped(
            "it is behind a proxy and has the ID of the proxy's client session, under which the server would end all \
             sessions of that client: end it through the proxy",
        ));
    }
    Ok((id, observed))
}

fn several() -> String {
    "the server has several sessions like it under its ID: name the port of its server, serverPort".to_owned()
}

fn deadline_passed() -> CallError {
    let message = "the dispatch deadline passed before the session's turn came";
    CallError::local(ErrorKind::DeadlinePassed, "DeadlinePassed", message)
}

/// A comparison ends nothing, whatever came of it.
fn not_executed(error: CallError) -> CallError {
    if error.kind.is_not_executed() { error } else { CallError { kind: ErrorKind::Unreachable, ..error } }
}

/// A number of seconds with a fraction, such as `1796085657.813805`, in microseconds.
fn micros(text: &str) -> Option<u128> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || seconds.len() > 12 || fraction.len() > 6 || !is_number(seconds) || !is_number(fraction) {
        return None;
    }
    format!("{seconds}{fraction:0<6}").parse().ok()
}

#[cfg(test)]
mod tests {
    use sessionkill_api::Expect;
    use sessionkill_core::session::Meant;
    use sessionkill_core::snapshot::Limits;

    use super::*;

    fn observed() -> ObservedSession {
        ObservedSession { host: "10.2.3.4:5".to_owned(), user: "app".to_owned(), ..ObservedSession::default() }
    }

    fn target(session_id: i64) -> TargetSession {
        TargetSession { session_id, observed: Some(observed()), ..TargetSession::default() }
    }

    fn there(host: &str, sql_id: &str) -> Seen {
        Seen { host: host.to_owned(), user: "app".to_owned(), sql_id: sql_id.to_owned(), ..Seen::default() }
    }

    #[test]
    fn the_servers_time_is_read_to_the_microsecond() {
        assert_eq!(micros("1796085657.813805"), Some(1_796_085_657_813_805));
        assert_eq!(micros("1796085657.8"), Some(1_796_085_657_800_000));
        assert_eq!(micros("1796085657"), Some(1_796_085_657_000_000));
        for wrong in ["", ".", ".5", "-1", "1e9", "1.0000001", "1.-1", "9999999999999", "NULL"] {
            assert_eq!(micros(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_is_sent_for_what_could_be_another_session() {
        assert!(must_be_other(&target(7), 8).is_ok());
        assert!(must_be_other(&target(i64::from(u32::MAX)), 8).is_ok());
        let unseen = TargetSession { observed: None, ..target(7) };
        let proxied = |id| {
            let observed = Some(ObservedSession { proxy_session_id: "9".to_owned(), ..observed() });
            TargetSession { observed, ..target(id) }
        };
        assert!(must_be_other(&proxied(FIRST_SERVER_ID), 8).is_ok(), "the server's own ID behind a proxy");
        for wrong in [target(8), target((1 << 32) + 7), target(-1), unseen, proxied(7)] {
            assert!(matches!(must_be_other(&wrong, 8), Err(Verdict::Skipped(_))), "{wrong:?}");
        }
    }

    #[test]
    fn what_has_the_id_now_tells_what_became_of_the_session() {
        let expect = Expect { sql_id: Some("A".to_owned()), ..Expect::default() };
        let meant = Meant { expect: Some(expect), ..Meant::default() };
        let target = TargetSession { server_ip: "10.0.0.1".to_owned(), meant, ..target(7) };
        let of = |sessions: Vec<Seen>, complete, server: &str| {
            let servers = Some(std::collections::HashSet::from([(server.to_owned(), String::new())]));
            let limits = Limits { servers, ..Limits::default() };
            instead(ProcessList { sessions, selected: vec![], complete, limits }, &target, &observed())
        };
        let (own, other) = (|sql_id| there("10.2.3.4:5", sql_id), || there("10.2.3.4:6", "A"));
        assert_eq!(of(vec![], true, "10.0.0.1"), Verdict::Gone(SessionReason::NotFound));
        assert_eq!(of(vec![other()], true, "10.0.0.1"), Verdict::Gone(SessionReason::IdReused));
        let differs = Verdict::Skipped("sqlID is \"B\", expected \"A\"".to_owned());
        assert_eq!(of(vec![own("B"), other()], true, "10.0.0.1"), differs, "another one on another server is not it");
        assert!(matches!(of(vec![own("A")], true, "10.0.0.1"), Verdict::Skipped(why) if why.contains("changed")));
        for (sessions, complete, server) in
            [(vec![], false, "10.0.0.1"), (vec![other()], false, "10.0.0.1"), (vec![], true, "10.0.0.2")]
        {
            let verdict = of(sessions, complete, server);
            assert!(matches!(&verdict, Verdict::Skipped(why) if why.contains("does not prove its end")), "{verdict:?}");
        }
    }
}
