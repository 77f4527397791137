//! The statements that are sent. Pure.
//!
//! Values are written as digits or as hexadecimal literals only: no text of an object or of the server becomes SQL. Without
//! `BINARY`, a comparison takes no notice of upper case, accents and trailing blanks (measured on the engine).

use std::time::Duration;

use sessionkill_api::{Expect, Scope, SessionState, TransactionState};

use super::columns::Columns;

/// The views with the sessions of all servers, and of one server only.
pub(super) const VIEWS: [&str; 2] = ["oceanbase.GV$OB_PROCESSLIST", "oceanbase.V$OB_PROCESSLIST"];

/// An ID that nobody has, for a `KILL` that ends nothing.
const NOBODY: u32 = u32::MAX;

/// What a connection must have: time in UTC, as the number of a repeated local hour is ambiguous, and no statement that goes
/// on long after nobody waits for it.
pub(super) fn settings(timeout: Duration) -> String {
    format!("SET SESSION time_zone = '+00:00', ob_query_timeout = {}", timeout.as_micros())
}

/// All sessions that the user may see.
pub(super) fn list(view: &str) -> String {
    format!("SELECT * FROM {view}")
}

/// The sessions with these `ids`, of which there is at least one, and a session of each server that tells its sessions: the rest
/// of a long list takes the server and the network most of the time. Servers and sessions come from one scan of the list: a
/// server that does not answer is missing in both.
pub(super) fn list_of(view: &str, columns: &Columns, ids: impl Iterator<Item = u32>) -> String {
    let ids = ids.map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    if columns.has("SVR_IP") {
        // Several servers may have one address.
        let server = if columns.has("SQL_PORT") { "SVR_IP, SQL_PORT" } else { "SVR_IP" };
        format!(
            "SELECT * FROM (SELECT P.*, ROW_NUMBER() OVER (PARTITION BY {server}) AS ROW_OF_SERVER FROM {view} P) Q WHERE \
             ROW_OF_SERVER = 1 OR ID IN ({ids})"
        )
    } else {
        format!("{} WHERE ID IN ({ids})", list(view))
    }
}

/// Two kills of nobody, which a server with conditions in `KILL` answers with 1094 and these IDs.
pub(super) fn fence_probes() -> [(String, u64); 2] {
    let probe = |compared: &str| format!("KILL IF(UNIX_TIMESTAMP(SYSDATE(6)) {compared} 1, {NOBODY}, 0)");
    [(probe("<"), 0), (probe(">="), NOBODY.into())]
}

/// What a session must be like at the moment of its kill.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pinned<'a> {
    pub(super) id: u32,
    pub(super) server_ip: &'a str,
    pub(super) server_port: Option<i32>,
    /// The tenant, if the list has sessions of several.
    pub(super) tenant: Option<&'a str>,
    pub(super) user: &'a str,
    /// Address and port of its connection.
    pub(super) host: &'a str,
    /// The statement that is to end, if it is that.
    pub(super) trace_id: Option<&'a str>,
    pub(super) expect: Option<&'a Expect>,
}

/// Keeps in `@k` the ID of the session that is as `pinned`, or NULL. Its one row has that, and the server's time in seconds.
pub(super) fn compare(view: &str, columns: &Columns, pinned: &Pinned<'_>) -> String {
    let Pinned { id, server_ip, server_port, tenant, user, host, trace_id, expect } = *pinned;
    let mut conditions = vec![format!("ID = {id}"), same("USER", user), same("HOST", host)];
    if columns.has("SVR_IP") {
        conditions.push(same("SVR_IP", server_ip));
    }
    if let Some(port) = server_port.filter(|_| columns.has("SQL_PORT")) {
        conditions.push(format!("SQL_PORT = {port}"));
    }
    conditions.extend(tenant.map(|tenant| same("TENANT", tenant)));
    conditions.extend(trace_id.map(|trace_id| same("TRACE_ID", trace_id)));
    conditions.extend(expect.map(expected).into_iter().flatten());
    let conditions = conditions.join(" AND ");
    format!("SELECT @k := (SELECT ID FROM {view} WHERE {conditions}), UNIX_TIMESTAMP(SYSDATE(6))")
}

/// Ends what `@k` names, unless the server's time is `deadline` (in microseconds since 1970) or later.
pub(super) fn kill_before(scope: Scope, deadline: u128) -> String {
    let (seconds, micros) = (deadline / 1_000_000, deadline % 1_000_000);
    format!("{} IF(UNIX_TIMESTAMP(SYSDATE(6)) < {seconds}.{micros:06}, @k, 0)", verb(scope))
}

/// Ends `id`, for a server without conditions in `KILL`.
pub(super) fn kill(scope: Scope, id: u32) -> String {
    format!("{} {id}", verb(scope))
}

const fn verb(scope: Scope) -> &'static str {
    match scope {
        Scope::Session => "KILL",
        Scope::Query => "KILL QUERY",
    }
}

/// The conditions of `expect`, but for the client's address and port, which the pinned HOST has.
fn expected(expect: &Expect) -> Vec<String> {
    let Expect {
        user,
        database,
        client_ip: _,
        client_port: _,
        command,
        state,
        sql_id,
        proxy_session_id,
        min_execution_seconds,
        trace_id,
        transaction_id,
        transaction,
    } = expect;
    let text = |column: &str, value: &Option<String>| value.as_ref().map(|value| same(column, value));
    let number = |column: &str, value: &Option<String>| digits(column, value.as_deref());
    let word = |column: &str, value: Option<&str>| value.map(|value| format!("{column} = {}", literal(value)));
    let state = state.map(SessionState::as_listed);
    let transaction = transaction.map(|transaction| match transaction {
        TransactionState::Open => "TRANS_ID <> 0".to_owned(),
        TransactionState::None => "(TRANS_ID = 0 OR TRANS_ID IS NULL)".to_owned(),
    });
    [
        text("USER", user),
        text("DB", database),
        word("COMMAND", command.as_deref()),
        word("STATE", state),
        word("SQL_ID", sql_id.as_deref()),
        number("PROXY_SESSID", proxy_session_id),
        min_execution_seconds.map(|seconds| format!("TIME >= {seconds}")),
        text("TRACE_ID", trace_id),
        number("TRANS_ID", transaction_id),
        transaction,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The column has exactly this text.
fn same(column: &str, value: &str) -> String {
    format!("{column} <=> BINARY x'{}'", hex::encode(value))
}

/// The column has this number; never, if the text is no number.
fn digits(column: &str, value: Option<&str>) -> Option<String> {
    let is_number = |value: &&str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.map(|value| {
        Some(value).filter(is_number).map_or_else(|| "1 = 0".to_owned(), |value| format!("{column} = {value}"))
    })
}

/// A text as a literal without a character of it, to be compared whatever its case.
fn literal(value: &str) -> String {
    format!("_utf8mb4 x'{}'", hex::encode(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns::of(["ID", "USER", "HOST", "SVR_IP", "SQL_PORT", "TENANT"].map(str::to_owned).to_vec())
    }

    fn pinned() -> Pinned<'static> {
        Pinned {
            id: 7,
            server_ip: "10.0.0.1",
            server_port: None,
            tenant: None,
            user: "app",
            host: "10.2.3.4:5",
            trace_id: None,
            expect: None,
        }
    }

    #[test]
    fn no_text_from_outside_becomes_sql() {
        let nasty = "' OR 1=1; DROP TABLE t -- \\ \u{0} \u{202e} 名".to_owned();
        let expect = Expect {
            user: Some(nasty.clone()),
            database: Some(nasty.clone()),
            command: Some(nasty.clone()),
            sql_id: Some(nasty.clone()),
            proxy_session_id: Some(nasty.clone()),
            trace_id: Some(nasty.clone()),
            transaction_id: Some(nasty.clone()),
            ..Expect::default()
        };
        let all = Pinned {
            server_ip: &nasty,
            tenant: Some(&nasty),
            user: &nasty,
            host: &nasty,
            trace_id: Some(&nasty),
            expect: Some(&expect),
            ..pinned()
        };
        let statement = compare(VIEWS[0], &columns(), &all);
        let known = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@:=().,'$<> ";
        assert!(statement.chars().all(|c| known.contains(c)), "{statement}");
        assert!(!statement.contains("DROP") && !statement.contains("OR 1"), "{statement}");
        assert_eq!(statement.matches("1 = 0").count(), 2, "a text that is no number matches nothing: {statement}");
    }

    #[test]
    fn a_list_of_several_servers_has_a_row_of_each() {
        let alone = Columns::of(vec!["ID".to_owned()]);
        assert_eq!(
            list_of(VIEWS[1], &alone, [7, 8].into_iter()),
            "SELECT * FROM oceanbase.V$OB_PROCESSLIST WHERE ID IN (7, 8)"
        );
        let of_all = list_of(VIEWS[0], &columns(), [7].into_iter());
        assert!(of_all.contains("PARTITION BY SVR_IP") && of_all.ends_with("= 1 OR ID IN (7)"), "{of_all}");
        assert_eq!(of_all.matches(VIEWS[0]).count(), 1, "one scan");
    }

    #[test]
    fn a_kill_names_nothing_but_digits_and_what_was_compared() {
        assert_eq!(
            kill_before(Scope::Session, 1_795_968_000_000_042),
            "KILL IF(UNIX_TIMESTAMP(SYSDATE(6)) < 1795968000.000042, @k, 0)"
        );
        assert_eq!(kill(Scope::Query, 7), "KILL QUERY 7");
        let statement = compare(VIEWS[1], &columns(), &pinned());
        assert_eq!(
            statement,
            "SELECT @k := (SELECT ID FROM oceanbase.V$OB_PROCESSLIST WHERE ID = 7 AND USER <=> BINARY x'617070' AND HOST <=> BINARY \
             x'31302e322e332e343a35' AND SVR_IP <=> BINARY x'31302e302e302e31'), \
             UNIX_TIMESTAMP(SYSDATE(6))"
        );
    }
}
