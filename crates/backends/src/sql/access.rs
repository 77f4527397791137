//! How the database of one connection is reached: which server, as which user. Does I/O: connects.

use std::sync::Arc;
use std::time::Duration;

use sessionkill_core::backend::CallError;

use super::known::Known;
use super::login::{Account, Wanted, open};
use super::server::Server;
use super::session::Session;

/// How the database of one connection is reached.
#[derive(Debug)]
pub struct Access {
    /// Where it is called.
    pub server: Server,
    /// As which user.
    pub account: Account,
    /// The name of the cluster.
    pub cluster: String,
    /// The tenant to log in to.
    pub tenant: String,
    /// The longest that one statement may take.
    pub request_timeout: Duration,
    /// What is kept between its calls.
    pub known: Arc<Known>,
}

impl Access {
    /// A new connection, checked.
    pub(super) async fn connect(&self) -> Result<Session, CallError> {
        let Self { server, account, cluster, tenant, request_timeout, known } = self;
        let session = open(&Wanted { server, account, cluster, tenant, timeout: *request_timeout }).await?;
        known.has_fence(session.has_fence);
        Ok(session)
    }

    /// What a connection was opened with: with another one it must be opened again.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.account.digest(&self.server, &self.cluster, &self.tenant)
    }
}
