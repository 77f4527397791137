//! A session, as the process list and the answer to a kill both show it. Pure, and total: no value makes it panic.

use serde::Deserialize;
use serde::de::MapAccess;

use super::json::{By, Skipped, Text, TextUnlessNull};

/// The most bytes that are kept of a name, an address or another word; the longest of them that is stored has a quarter.
pub const MAX_WORD: usize = 1024;

/// The most bytes that are kept of a statement or a message.
pub const MAX_STATEMENT: usize = 8 * 1024;

/// A session, fields as documented, as the API wrote them. Missing and null fields are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionRow {
    /// Positive. Unique on its server, and used again later for another session.
    pub session_id: i64,
    /// The server's address.
    pub server_ip: String,
    /// The client's address.
    pub client_ip: String,
    /// The tenant.
    pub tenant_id: String,
    /// The database user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The type of command, such as Query.
    pub command: String,
    /// The session's state, such as ACTIVE; in the answer to a kill, the one at the kill: not proof of its end.
    pub status: String,
    /// The statement, or the beginning of a long one.
    pub sql_text: String,
    /// The ID of the statement; only the process list has it.
    pub sql_id: String,
    /// For how long it has been in this state, in seconds: declared a string, sampled as a number.
    pub execute_time: String,
    /// The proxy's session in front of it, an unsigned number of 64 bits; only the process list has it.
    pub proxy_sess_id: String,
}

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

impl SessionRow {
    /// Reads the value of `SessionId`, and says whether there is one. An integer, as a number or in a string; 0, which is
    /// no session ID, for everything else.
    pub(super) fn read_id<'de, A: MapAccess<'de>>(&mut self, members: &mut A) -> Result<bool, A::Error> {
        let id = members.next_value_seed(By(TextUnlessNull))?;
        let is_given = id.is_some();
        self.session_id = id.and_then(|id| id.trim().parse().ok()).unwrap_or_default();
        Ok(is_given)
    }

    /// Reads the value of `member`. Of one that is there twice the last counts.
    pub(super) fn read<'de, A: MapAccess<'de>>(&mut self, member: Member, members: &mut A) -> Result<(), A::Error> {
        let text = match member {
            Member::SessionId => return self.read_id(members).map(drop),
            Member::ServerIp => &mut self.server_ip,
            Member::ClientIp => &mut self.client_ip,
            Member::TenantId => &mut self.tenant_id,
            Member::User => &mut self.user,
            Member::Database => &mut self.database,
            Member::Command => &mut self.command,
            Member::Status => &mut self.status,
            Member::SqlText => &mut self.sql_text,
            Member::SqlId => &mut self.sql_id,
            Member::ExecuteTime => &mut self.execute_time,
            Member::ProxySessId => &mut self.proxy_sess_id,
            Member::ErrorMessage | Member::ProcessSqlLists | Member::ProcessSqlList | Member::Other => {
                return members.next_value::<Skipped>().map(drop);
            }
        };
        *text = members.next_value_seed(By(Text))?;
        Ok(())
    }

    /// All its texts, each with the most bytes of it that are kept.
    pub(super) fn texts(&mut self) -> impl Iterator<Item = (&mut String, usize)> {
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
        let what = [command, status, sql_id, execute_time, proxy_sess_id];
        let words = who.into_iter().chain(what).map(|word| (word, MAX_WORD));
        words.chain([(sql_text, MAX_STATEMENT)])
    }
}
