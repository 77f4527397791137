//! Parses a session row, in the process list as in the answer to a kill. Pure, and total: no value makes it panic.

use serde::Deserialize;
use serde::de::MapAccess;
use sessionkill_core::session::Seen;

use super::json::{By, Skipped, Text, TextUnlessNull};

/// The most bytes kept of a name, an address or another word: four times the longest that is stored.
pub const MAX_WORD: usize = 1024;

/// The most bytes kept of a statement or a message.
pub const MAX_STATEMENT: usize = 8 * 1024;

/// The known members of a row.
#[derive(Clone, Copy, Deserialize)]
#[serde(field_identifier, rename_all = "PascalCase")]
pub(super) enum Member {
    SessionId,
    ServerIp,
    ClientIp,
    TenantId,
    User,
    Database,
    Command,
    Status,
    SqlText,
    SqlId,
    ExecuteTime,
    ProxySessId,
    ErrorMessage,
    ProcessSqlLists,
    ProcessSqlList,
    #[serde(other)]
    Other,
}

/// Parses `SessionId` into `session`, and returns whether it is present and not null. It may be an integer or a string;
/// everything else becomes 0, which is no session ID.
pub(super) fn read_id<'de, A: MapAccess<'de>>(session: &mut Seen, members: &mut A) -> Result<bool, A::Error> {
    let id = members.next_value_seed(By(TextUnlessNull))?;
    let is_given = id.is_some();
    session.session_id = id.and_then(|id| id.trim().parse().ok()).unwrap_or_default();
    Ok(is_given)
}

/// Parses the value of `member` into `session`; the last of repeated members counts.
pub(super) fn read<'de, A: MapAccess<'de>>(
    session: &mut Seen,
    member: Member,
    members: &mut A,
) -> Result<(), A::Error> {
    let text = match member {
        Member::SessionId => return read_id(session, members).map(drop),
        Member::ServerIp => &mut session.server_ip,
        Member::ClientIp => &mut session.client_ip,
        Member::TenantId => &mut session.tenant_id,
        Member::User => &mut session.user,
        Member::Database => &mut session.database,
        Member::Command => &mut session.command,
        Member::Status => &mut session.status,
        Member::SqlText => &mut session.sql_text,
        Member::SqlId => &mut session.sql_id,
        Member::ExecuteTime => &mut session.execute_time,
        Member::ProxySessId => &mut session.proxy_session_id,
        Member::ErrorMessage | Member::ProcessSqlLists | Member::ProcessSqlList | Member::Other => {
            return members.next_value::<Skipped>().map(drop);
        }
    };
    *text = members.next_value_seed(By(Text))?;
    Ok(())
}

/// All texts of `session`, each with the most bytes to keep.
pub(super) fn texts(session: &mut Seen) -> impl Iterator<Item = (&mut String, usize)> {
    let Seen {
        session_id: _,
        // By SQL only.
        server_port: _,
        host: _,
        client_port: _,
        trace_id: _,
        transaction_id: _,
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
        proxy_session_id,
    } = session;
    let who = [server_ip, client_ip, tenant_id, user, database];
    let what = [command, status, sql_id, execute_time, proxy_session_id];
    let words = who.into_iter().chain(what).map(|word| (word, MAX_WORD));
    words.chain([(sql_text, MAX_STATEMENT)])
}
