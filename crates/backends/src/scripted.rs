//! A second backend, which a test answers for over HTTP: it has no fence, and each answer names each session. Does I/O.
//!
//! It exists for tests only: it shows that the operator asks for what a backend guarantees, and not which one it is.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sessionkill_api::{ConnectionReason, Operation, WaitReason};
use sessionkill_core::backend::{
    ANSWER_LOST, Asked, CallError, Called, Costs, ErrorKind, Fence, Guarantees, KillAnswer, KillPermit, KillTarget,
    ProcessList, Tenant,
};
use sessionkill_core::selection::{Selecting, Wanted};
use sessionkill_core::session::{Row, Seen};
use sessionkill_core::snapshot::Limits;

use super::alibaba;
use super::listed::Listed;

/// The operation under which a kill is recorded: the one whose answer names each session, too.
pub const OPERATION: Operation = Operation::KillProcessList;
/// The action that lists sessions.
pub const LIST_ACTION: &str = "list";
/// The longest that connecting may take.
const CONNECTING: Duration = Duration::from_secs(2);
/// No fence, and an answer for each session.
pub const GUARANTEES: Guarantees = Guarantees {
    server_side_fence: Fence {
        holds: false,
        reason: ConnectionReason::NotYetKnown,
        message: "the script has no fence: only the operator keeps calls from being late",
    },
    answers_each_session: true,
};

/// As those of a cloud's API.
pub const COSTS: Costs = alibaba::COSTS;

/// The server of a test.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its address and port.
    pub address: String,
    /// The longest that a call may take.
    pub request_timeout: Duration,
}

/// What is asked: the tenant and, of a kill, its sessions by server address and ID.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// The instance.
    pub instance: String,
    /// The tenant.
    pub tenant: String,
    /// The sessions to end.
    pub sessions: Vec<(String, i64)>,
}

/// What the server says of one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Said {
    /// The address of its server.
    pub server: String,
    /// Its ID.
    pub session: i64,
    /// Its user.
    pub user: String,
    /// Why it was not ended; empty if it was.
    #[serde(default)]
    pub error: String,
}

impl Script {
    /// See [`crate::Backend::kill`].
    pub async fn kill<P: KillPermit>(&self, permit: P, target: &KillTarget) -> Asked<P> {
        // Without a fence, enough must be left for connecting.
        let called = match permit.time_left().filter(|left| *left > CONNECTING) {
            None => {
                Called::NotExecuted(permit, CallError::local(ErrorKind::DeadlinePassed, "DeadlinePassed", "too late"))
            }
            Some(_) => match self.ask("kill", &target.tenant, &pairs(target)).await {
                Ok(said) => Called::Answered(answer(said)),
                Err(error) if error.kind.is_not_executed() => Called::NotExecuted(permit, error),
                Err(error) => Called::Ambiguous(error),
            },
        };
        Asked { operation: OPERATION, called, retry_as: None, learned: None }
    }

    /// See [`crate::Backend::list`].
    pub async fn list(&self, tenant: &Tenant, wanted: &Wanted) -> Result<Listed, CallError> {
        let (began, time) = (Instant::now(), Timestamp::now());
        let said: Vec<Said> = self.ask(LIST_ACTION, tenant, &[]).await?;
        let mut selecting = Selecting::of(&wanted.filters);
        let mut sessions = vec![];
        for (number, seen) in (0..).zip(said.into_iter().map(seen)) {
            selecting.offer(number, &seen, Clone::clone);
            sessions.extend(Some(seen).filter(|seen| wanted.ids.contains(&seen.session_id)));
        }
        let selected = selecting.finish();
        Ok(Listed { list: ProcessList { sessions, selected, complete: true, limits: Limits::default() }, began, time })
    }

    /// See [`crate::Backend::probe`].
    pub async fn probe(&self) -> Result<(), CallError> {
        let nobody = Tenant { instance_id: String::new(), tenant_id: String::new() };
        self.ask("probe", &nobody, &[]).await
    }

    /// See [`crate::Backend::refusal`].
    #[must_use]
    pub fn refusal(&self, error: &CallError) -> Option<(WaitReason, String)> {
        let reason = match error.kind {
            ErrorKind::Throttled { .. } => WaitReason::Throttled,
            ErrorKind::Unreachable => WaitReason::EndpointUnreachable,
            _ => return None,
        };
        Some((reason, format!("not executed, {error}: see the script at {}", self.address)))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        action: &str,
        tenant: &Tenant,
        sessions: &[(String, i64)],
    ) -> Result<T, CallError> {
        let Tenant { instance_id: instance, tenant_id: tenant } = tenant.clone();
        let question = Question { instance, tenant, sessions: sessions.to_vec() };
        let lost = |error: &dyn std::error::Error| {
            CallError::local(ErrorKind::Ambiguous, ANSWER_LOST, format!("no usable answer: {error}"))
        };
        let body = serde_json::to_vec(&question).map_err(|error| lost(&error))?;
        let client =
            reqwest::Client::builder().no_proxy().connect_timeout(CONNECTING).timeout(self.request_timeout).build();
        let client =
            client.map_err(|error| CallError::local(ErrorKind::Unreachable, "Unreachable", error.to_string()))?;
        let answer = client.post(format!("http://{}/{action}", self.address)).body(body).send().await;
        let answer = answer.map_err(|error| {
            let unreachable =
                |error: reqwest::Error| CallError::local(ErrorKind::Unreachable, "Unreachable", error.to_string());
            if error.is_connect() { unreachable(error) } else { lost(&error) }
        })?;
        if answer.status() == http::StatusCode::TOO_MANY_REQUESTS {
            let kind = ErrorKind::Throttled { retry_after: None };
            return Err(CallError::local(kind, "Busy", "the script is busy"));
        }
        let answer = answer.error_for_status().map_err(|error| lost(&error))?;
        let text = answer.bytes().await.map_err(|error| lost(&error))?;
        serde_json::from_slice(&text).map_err(|error| lost(&error))
    }
}

fn pairs(target: &KillTarget) -> Vec<(String, i64)> {
    target.sessions.iter().map(|session| (session.server_ip.clone(), session.session_id)).collect()
}

fn answer(said: Vec<Said>) -> KillAnswer {
    let row = |said: Said| Row { error_message: said.error.clone(), seen: seen(said), ..Row::default() };
    KillAnswer { request_id: "script-1".to_owned(), rows: said.into_iter().map(row).collect() }
}

fn seen(said: Said) -> Seen {
    Seen { server_ip: said.server, session_id: said.session, user: said.user, ..Seen::default() }
}
