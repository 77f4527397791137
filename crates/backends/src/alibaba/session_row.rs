//! A session, as the process list and the answer to a kill both show it. Pure, and total: no value makes it panic.

use serde::Deserialize;
use serde::de::MapAccess;
use sessionkill_core::session::Seen;

use super::json::{By, Skipped, Text, TextUnlessNull};

/// The most bytes that are kept of a name, an address or another word; the longest of them that is stored has a quarter.
pub const MAX_WORD: usize = 1024;

/// The most bytes that are kept of a statement or a message.
pub const MAX_STATEMENT: usize = 8 * 1024;

/// The members of a row that are read.
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

/// Reads the value of `SessionId` into `session`, and says whether there is one. An integer, as a number or in a string; 0, which is
/// no session ID, for everything else.
pub(super) fn read_id<'de, A: MapAccess<'de>>(session: &mut Seen, members: &mut A) -> Result<bool, A::Error> {
    let id = members.next_value_seed(By(TextUnlessNull))?;
    let is_given = id.is_some();
    session.session_id = id.and_then(|id| id.trim().parse().ok()).unwrap_or_default();
    Ok(is_given)
}

/// Reads the value of `member` into `session`. Of one that is there twice the last counts.
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

/// All texts of `session`, each with the most bytes of it that are kept.
pub(super) fn texts(session: &mut Seen) -> impl Iterator<Item = (&mut String, usize)> {
    let Seen {
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
        proxy_session_id,
    } = session;
    let who = [server_ip, client_ip, tenant_id, user, database];
    let what = [command, status, sql_id, execute_time, proxy_session_id];
    let words = who.into_iter().chain(what).map(|word| (word, MAX_WORD));
    words.chain([(sql_text, MAX_STATEMENT)])
}
