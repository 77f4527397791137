//! The columns of the process list, which differ between versions: read by name. Pure.

use sessionkill_core::session::Seen;

use super::wire::Row;

/// What every version has, and nothing works without.
const NEEDED: [&str; 6] = ["ID", "USER", "HOST", "STATE", "COMMAND", "TIME"];

/// The fields of `expect`, each with the columns that can tell it: one of them is enough.
const TOLD_BY: [(&str, &[&str]); 7] = [
    ("database", &["DB"]),
    ("sqlID", &["SQL_ID"]),
    ("traceID", &["TRACE_ID"]),
    ("transactionID", &["TRANS_ID"]),
    ("transaction", &["TRANS_ID"]),
    ("proxySessionID", &["PROXY_SESSID"]),
    ("clientIP", &["USER_CLIENT_IP", "HOST"]),
];

/// The most bytes kept of a name, an address or another word: four times the longest that is stored.
const MAX_WORD: usize = 1024;
/// The most bytes kept of a statement.
const MAX_STATEMENT: usize = 8 * 1024;

/// The names of the columns that a list has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns(Vec<String>);

impl Columns {
    pub(super) fn of(names: Vec<String>) -> Self {
        Self(names)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|column| column.eq_ignore_ascii_case(name))
    }

    /// A needed column that is not there.
    pub(super) fn missing(&self) -> Option<&'static str> {
        NEEDED.into_iter().find(|name| !self.has(name))
    }

    /// The fields of `expect` that the list cannot tell.
    pub(super) fn untold(&self) -> Vec<&'static str> {
        let is_untold = |(_, columns): &&(&str, &[&str])| !columns.iter().any(|column| self.has(column));
        TOLD_BY.iter().filter(is_untold).map(|(field, _)| *field).collect()
    }
}

/// The session in `row`; `None` if its ID cannot be read. `server_ip` is that of the server that answers, for a list of its own
/// sessions only.
pub(super) fn session(row: &Row<'_>, server_ip: &str) -> Option<Seen> {
    let text = |name: &str, most: usize| {
        let value = row.get(name).flatten().unwrap_or_default();
        String::from_utf8_lossy(value.get(..most).unwrap_or(value)).into_owned()
    };
    let word = |name: &str| text(name, MAX_WORD);
    let present = |name: &str| Some(word(name)).filter(|word| !word.is_empty());
    let number = |name: &str| present(name).filter(|number| number != "0");
    let host = word("HOST");
    let (address, port) = split(&host);
    let proxy_session_id = number("PROXY_SESSID").unwrap_or_default();
    // Behind a proxy, HOST is the proxy's.
    let client_port = number("USER_CLIENT_PORT").or_else(|| proxy_session_id.is_empty().then(|| port.to_owned()));
    Some(Seen {
        session_id: word("ID").parse().ok()?,
        server_ip: present("SVR_IP").unwrap_or_else(|| server_ip.to_owned()),
        server_port: number("SQL_PORT").unwrap_or_default(),
        status: word("STATE"),
        client_ip: present("USER_CLIENT_IP").unwrap_or_else(|| address.to_owned()),
        client_port: client_port.unwrap_or_default(),
        tenant_id: word("TENANT"),
        user: word("USER"),
        // A session without a database has this text there.
        database: present("DB").filter(|name| name != "NULL").unwrap_or_default(),
        sql_text: text("INFO", MAX_STATEMENT),
        sql_id: word("SQL_ID"),
        trace_id: word("TRACE_ID"),
        transaction_id: number("TRANS_ID").unwrap_or_default(),
        command: word("COMMAND"),
        execute_time: word("TIME"),
        proxy_session_id,
        host,
    })
}

/// Address and port of `10.0.0.1:2881`, or of `[fd00::1]:2881`.
fn split(host: &str) -> (&str, &str) {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((address, port)) if is_port(port) && (!address.contains(':') || address.ends_with(']')) => {
            (address.trim_start_matches('[').trim_end_matches(']'), port)
        }
        _ => (host, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_a_column_cannot_tell_what_is_expected_of_it() {
        let all = ["id", "user", "host", "state", "command", "time", "db", "sql_id", "trace_id", "trans_id"];
        let columns = |names: &[&str]| Columns::of(names.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(columns(&all).missing(), None, "names have no case");
        assert_eq!(columns(&all).untold(), ["proxySessionID"]);
        assert_eq!(
            columns(&all[..6]).untold(),
            ["database", "sqlID", "traceID", "transactionID", "transaction", "proxySessionID"]
        );
        assert_eq!(columns(&all[1..]).missing(), Some("ID"));
    }

    #[test]
    fn an_address_is_told_from_its_port() {
        assert_eq!(split("10.0.0.1:2881"), ("10.0.0.1", "2881"));
        assert_eq!(split("[fd00::1]:2881"), ("fd00::1", "2881"));
        assert_eq!(split("fd00::1"), ("fd00::1", ""));
        assert_eq!(split("localhost"), ("localhost", ""));
        assert_eq!(split(":"), (":", ""));
    }
}
