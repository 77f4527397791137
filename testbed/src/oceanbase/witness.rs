//! What the engine's own log says about kills: a witness that no client can influence.
//!
//! ```text
//! [time] INFO  [SQL] kill_session (…) … kill session successfully(peer="…", …, server_sid=1059, query_str=…)
//! [time] INFO  [SQL.SESSION] kill_query (…) … kill query(get_server_sid()=1060, …)
//! [time] INFO  [SHARE] log (…) … payload="cmd_type=71, sql_text=KILL 1059, return_code=0")
//! ```
//!
//! The first line stands once for each session that was ended, the second once for each `KILL QUERY` of a session that
//! lived, the third for a statement that was executed or refused. On a busy machine one of the third may be missing: count
//! ends by the first.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::Context;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// The engine's name of its log. A full one gets a time stamp at its end.
const LOG: &str = "seekdb.log";
/// The statement is `KILL` of whatever kind.
const KILL_COMMAND: &str = "payload=\"cmd_type=71, sql_text=";
const RETURN_CODE: &str = ", return_code=";
/// The kernel's code for the client's 1094.
const UNKNOWN_THREAD: i64 = -4174;

/// A `KILL` statement that reached the engine and had no syntax error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillStatement {
    /// Its text. A line break in it is the two characters `\n`, a quote is `\"`.
    pub text: String,
    /// The kernel's own code. It is 0 for OK.
    pub return_code: i64,
}

impl KillStatement {
    /// Whether it was answered with OK.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.return_code == 0
    }

    /// Whether it was answered with 1094, `Unknown thread id`. A fence that has passed is answered so, too.
    #[must_use]
    pub fn is_unknown_thread(&self) -> bool {
        self.return_code == UNKNOWN_THREAD
    }
}

/// What the log says about kills, each kind in the order of execution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// The sessions that were ended.
    pub ended: Vec<i64>,
    /// When each of them was, by the engine's clock.
    pub times: Vec<Timestamp>,
    /// The sessions whose statement was told to end. OK for an idle session, too.
    pub interrupted: Vec<i64>,
    /// The statements, also those that were refused.
    pub statements: Vec<KillStatement>,
}

impl Witness {
    /// Reads all logs in `directory`, the oldest first.
    pub(super) fn read(directory: &Path) -> anyhow::Result<Self> {
        loop {
            let files = logs(directory)?;
            let read = Self::read_files(&files);
            // The engine renames a full log. Read again, as a file may be missing or another one read twice.
            if logs(directory)? == files {
                return read;
            }
        }
    }

    fn read_files(files: &[PathBuf]) -> anyhow::Result<Self> {
        let mut witness = Self::default();
        for path in files {
            let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            // Bytes, as the text of a statement may be cut within a character.
            for line in BufReader::with_capacity(1 << 20, file).split(b'\n') {
                witness.add(&line?);
            }
        }
        Ok(witness)
    }

    /// A line that begins with a time stamp is the engine's. Any other one continues the text of a client's statement,
    /// which may look like a record.
    fn add(&mut self, line: &[u8]) {
        if !line.starts_with(b"[20") {
            return;
        }
        // The level, module and function, without the text: most lines are told apart by them, cheaply.
        let head = String::from_utf8_lossy(&line[..line.len().min(120)]);
        let text = || String::from_utf8_lossy(line);
        if head.contains("] kill_session (") {
            if let Some(id) = number(&text(), "kill session successfully(", "server_sid=") {
                self.ended.push(id);
                self.times.push(time(&head).unwrap_or(Timestamp::MAX));
            }
        } else if head.contains("] kill_query (") {
            self.interrupted.extend(number(&text(), "kill query(", "get_server_sid()="));
        } else if head.contains("(ob_structured_event_logger.h") {
            self.statements.extend(statement(&text()));
        }
    }
}

/// The time at the beginning of a record, which is local.
fn time(head: &str) -> Option<Timestamp> {
    let (time, _) = head.strip_prefix('[')?.split_once(']')?;
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S%.f", time).ok()?;
    time.to_zoned(TimeZone::system()).ok().map(|time| time.timestamp())
}

/// The number after `key`, in a record of this kind.
fn number(line: &str, record: &str, key: &str) -> Option<i64> {
    let (_, fields) = line.split_once(record)?;
    let (_, value) = fields.split_once(key)?;
    value.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn statement(line: &str) -> Option<KillStatement> {
    let (_, payload) = line.split_once(KILL_COMMAND)?;
    let (text, code) = payload.rsplit_once(RETURN_CODE)?;
    Some(KillStatement { text: text.into(), return_code: code.trim_end_matches("\")").parse().ok()? })
}

/// The record in the log `path` of the end of this session.
pub(super) fn line_of_end(path: &Path, session_id: i64) -> anyhow::Result<String> {
    let log = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut lines = log.split(|byte| *byte == b'\n');
    let is_it = |line: &&[u8]| {
        let mut witness = Witness::default();
        witness.add(line);
        witness.ended == [session_id]
    };
    let line = lines.find(is_it).with_context(|| format!("{} has no end of session {session_id}", path.display()))?;
    Ok(String::from_utf8_lossy(line).into_owned())
}

/// The current log in the engine's `directory`.
pub(super) fn current_log(directory: &Path) -> PathBuf {
    directory.join("log").join(LOG)
}

fn logs(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let current = current_log(directory);
    let folder = directory.join("log");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    found.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seekdb.log.")));
    // The time stamp at the end gives the order.
    found.sort();
    found.push(current);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    const ENDED: &str = r#"[2026-12-01 00:35:55.579166] INFO  [SQL] kill_session (ob_sql_session_mgr.cpp:464) [27057][T1_ReqWorker][YB427F000001-00066187B5D0C2A3-0-0] [lt=0] kill session successfully(peer="127.0.0.1:60530", real_client_ip=127.0.0.1, server_sid=ID, query_str=select 1, server_sid=7)"#;
    const STATEMENT: &str = r#"[2026-12-01 00:35:55.579357] INFO  [SHARE] log (ob_structured_event_logger.h:48) [27057][T1_ReqWorker][YB427F000001-00066187B5D0C2A3-0-0] [lt=27] structured diagnostic event(ret=0, scope="server", module="sql", event="execute_cmd", payload="cmd_type=71, sql_text=KILL 1164 /* a, return_code=0\") */, return_code=-4174")"#;

    #[test]
    fn all_logs_are_read_in_the_order_of_their_time_stamps() {
        let directory = scratch::directory().unwrap();
        fs::create_dir(directory.path().join("log")).unwrap();
        for (name, id) in [("", "3"), (".20261201003555123", "2"), (".20261130003555123", "1")] {
            let path = directory.path().join(format!("log/seekdb.log{name}"));
            fs::write(path, format!("a line\n{}\n", ENDED.replace("ID", id))).unwrap();
        }
        assert_eq!(Witness::read(directory.path()).unwrap().ended, [1, 2, 3]);
        assert_eq!(line_of_end(&current_log(directory.path()), 3).unwrap(), ENDED.replace("ID", "3"));
        assert!(line_of_end(&current_log(directory.path()), 2).is_err(), "in an older part");
    }

    #[test]
    fn the_text_of_a_statement_is_no_record() {
        let mut witness = Witness::default();
        witness.add(ENDED.replace("ID", "5").as_bytes());
        // What a victim's statement with a line break looks like.
        witness.add(br#" kill session successfully(peer="1:1", real_client_ip=1, server_sid=4, query_str=')"#);
        witness.add(STATEMENT.as_bytes());
        assert_eq!(witness.ended, [5]);
        let time = DateTime::constant(2026, 12, 1, 0, 35, 55, 579_166_000).to_zoned(TimeZone::system()).unwrap();
        assert_eq!(witness.times, [time.timestamp()]);
        let text = r#"KILL 1164 /* a, return_code=0\") */"#.to_owned();
        assert_eq!(witness.statements, [KillStatement { text, return_code: -4174 }]);
    }

    #[test]
    fn a_log_that_is_not_utf_8_is_read() {
        let mut witness = Witness::default();
        witness.add(&[b"[2026 \xff ".as_slice(), ENDED.replace("ID", "6").as_bytes()].concat());
        assert_eq!(witness.ended, [6]);
    }
}
