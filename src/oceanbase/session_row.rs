//! A session, as the process list and the answer to a kill both show it. Pure, and total: no value makes it panic.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A session, fields as documented, as the API wrote them. Missing and null fields are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SessionRow {
    /// Positive. Unique on its server, and used again later for another session.
    #[serde(deserialize_with = "integer")]
    pub session_id: i64,
    /// The server's address.
    #[serde(deserialize_with = "text")]
    pub server_ip: String,
    /// The client's address.
    #[serde(deserialize_with = "text")]
    pub client_ip: String,
    /// The tenant.
    #[serde(deserialize_with = "text")]
    pub tenant_id: String,
    /// The database user.
    #[serde(deserialize_with = "text")]
    pub user: String,
    /// The database.
    #[serde(deserialize_with = "text")]
    pub database: String,
    /// The type of command, such as Query.
    #[serde(deserialize_with = "text")]
    pub command: String,
    /// The session's state, such as ACTIVE; in the answer to a kill, the one at the kill: not proof of its end.
    #[serde(deserialize_with = "text")]
    pub status: String,
    /// The statement.
    #[serde(deserialize_with = "text")]
    pub sql_text: String,
    /// The ID of the statement; only the process list has it.
    #[serde(deserialize_with = "text")]
    pub sql_id: String,
    /// For how long it has been in this state, in seconds: declared a string, sampled as a number.
    #[serde(deserialize_with = "text")]
    pub execute_time: String,
    /// The proxy's session in front of it, an unsigned number of 64 bits; only the process list has it.
    #[serde(deserialize_with = "text")]
    pub proxy_sess_id: String,
}

impl SessionRow {
    /// All its texts.
    pub(super) fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        let Self {
            session_id: _,
            server_ip,
            client_ip,
            tenant_id,
            user,
            database,
            command,
            status,
            sql_text,
            sql_id,
            execute_time,
            proxy_sess_id,
        } = self;
        let who = [server_ip, client_ip, tenant_id, user, database];
        let what = [command, status, sql_text, sql_id, execute_time, proxy_sess_id];
        who.into_iter().chain(what)
    }
}

/// Strings as they are, numbers and booleans as written, everything else as nothing.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// A text field; see [`text_of`].
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(text_of(&Value::deserialize(deserializer)?))
}

/// An integer, as a number or in a string; 0, which is no session ID, for everything else.
fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Ok(text_of(&Value::deserialize(deserializer)?).trim().parse().unwrap_or_default())
}
