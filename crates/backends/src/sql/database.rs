//! The database of one connection, as the backend of its kills. Does I/O.

use jiff::Timestamp;
use sessionkill_api::{Operation, WaitReason};
use sessionkill_core::backend::{Asked, CallError, Called, ErrorKind, KillAnswer, KillPermit, KillTarget, Tenant};
use sessionkill_core::selection::Wanted;
use sessionkill_core::session::Verdict;
use tokio::time::Instant;

use super::access::Access;
use super::advice::refusal;
use super::compare_and_kill::Calling;
use super::known::Turn;
use super::process_list::{self, Of};
use super::session::Session;
use super::statements;
use crate::listed::Listed;

/// What lists sessions.
pub const LIST_ACTION: &str = "ListSessions";

/// The database of one connection.
#[derive(Debug)]
pub struct Database {
    /// How it is reached.
    pub access: Access,
}

impl Database {
    /// See [`crate::Backend::is_open`].
    pub(crate) fn is_open(&self, tenant: &Tenant) -> bool {
        self.access.known.is_open(&tenant.tenant_id, self.access.digest())
    }

    /// See [`crate::Backend::open`].
    pub(crate) async fn open(&self, tenant: &Tenant) -> Result<(), CallError> {
        let mut turn = self.access.known.turn(&tenant.tenant_id).await;
        let session = match turn.take(self.access.digest()) {
            Some(session) => session,
            None => self.access.connect().await?,
        };
        self.keep(turn, session);
        Ok(())
    }

    /// See [`crate::Backend::kill`].
    pub(crate) async fn kill<P: KillPermit>(&self, permit: P, target: &KillTarget) -> Asked<P> {
        let operation = Operation::Kill;
        let mut turn = self.access.known.turn(&target.tenant.tenant_id).await;
        let session = turn.take(self.access.digest());
        let mut calling =
            Calling { access: &self.access, permit: &permit, tenant: &target.tenant.tenant_id, session, lost: 0 };
        let (rows, ended) = calling.kill_all(&target.sessions).await;
        let request_id = calling.session.as_ref().map(|session| session.own_id.to_string()).unwrap_or_default();
        if let Some(session) = calling.session.take() {
            self.keep(turn, session);
        }
        let is_sent = rows.iter().any(|row| matches!(row.verdict, Verdict::Answered | Verdict::Ambiguous(_)));
        let answer = KillAnswer { request_id, rows };
        let called = match ended {
            None => Called::Answered(answer),
            Some(error) if is_sent => Called::InPart(permit, answer, error),
            Some(error) => Called::NotExecuted(permit, error),
        };
        Asked { operation, called, retry_as: None, learned: None }
    }

    /// See [`crate::Backend::list`].
    pub(crate) async fn list(&self, tenant: &Tenant, wanted: &Wanted) -> Result<Listed, CallError> {
        let mut turn = self.access.known.turn(&tenant.tenant_id).await;
        let of = Of { tenant: &tenant.tenant_id, login: &self.access.tenant };
        // One that was kept may be closed by now, which is found only by using it.
        if let Some(session) = turn.take(self.access.digest()) {
            let (session, listed) = self.list_by(session, of, wanted).await;
            if session.connection.is_usable() {
                self.keep_if(is_as_meant(&listed), turn, session);
                return listed;
            }
        }
        let (session, listed) = self.list_by(self.access.connect().await?, of, wanted).await;
        self.keep_if(is_as_meant(&listed), turn, session);
        listed
    }

    async fn list_by(&self, mut session: Session, of: Of<'_>, wanted: &Wanted) -> (Session, Result<Listed, CallError>) {
        let (began, time) = (std::time::Instant::now(), Timestamp::now());
        let deadline = Instant::now() + self.access.request_timeout;
        let list = process_list::read(&mut session, of, wanted, deadline).await;
        (session, list.map(|list| Listed { list, began, time }))
    }

    /// See [`crate::Backend::probe`].
    pub(crate) async fn probe(&self) -> Result<(), CallError> {
        let mut turn = self.access.known.turn(&self.access.tenant).await;
        if let Some(mut session) = turn.take(self.access.digest()) {
            let deadline = Instant::now() + self.access.request_timeout;
            let answer =
                session.connection.query(&statements::settings(self.access.request_timeout), deadline, |_| {}).await;
            if answer.is_ok() {
                self.keep(turn, session);
                return Ok(());
            }
        }
        let session = self.access.connect().await?;
        self.keep(turn, session);
        Ok(())
    }

    /// See [`crate::Backend::refusal`].
    pub(crate) fn refusal(&self, error: &CallError) -> Option<(WaitReason, String)> {
        refusal(&self.access, error)
    }

    /// Keeps a session for the next call, unless the next login may see more: a right counts from the login on.
    fn keep(&self, turn: Turn, session: Session) {
        if session.sees_all {
            turn.keep(session, self.access.digest());
        }
    }

    fn keep_if(&self, is_kept: bool, turn: Turn, session: Session) {
        if is_kept {
            self.keep(turn, session);
        }
    }
}

/// Whether the server is the one that the connection describes. If not, its name may lead to another one next time.
fn is_as_meant(listed: &Result<Listed, CallError>) -> bool {
    !listed.as_ref().is_err_and(|error| matches!(error.kind, ErrorKind::ProxyNotSupported | ErrorKind::NotAllowed))
}
