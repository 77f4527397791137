//! Sends a kill as one HTTP request. Does I/O.
//!
//! It needs a permit, has the dispatch deadline as its fence, and is never retried here.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use sessionkill_api::Operation;
use sessionkill_core::backend::{CallError, Called, ErrorKind, KillPermit, KillTarget};

use super::access::Access;
use super::client::Client;
use super::signed_request::SignedRequest;
use super::stamp::TimeSource;
use super::transport::CONNECT_TIMEOUT;

/// One request that ends sessions.
#[derive(Clone, Debug)]
pub struct KillCall {
    /// The operation to call.
    pub operation: Operation,
    /// The sessions to end.
    pub target: KillTarget,
    /// The source of the signed time stamp.
    pub time_source: TimeSource,
    /// The number of this request within its attempt, from 0.
    pub request: u32,
}

impl Client {
    /// Ends sessions with one request, unless the permit's deadline has passed.
    pub async fn kill<P: KillPermit>(&self, permit: P, call: &KillCall, access: &Access) -> Called<P> {
        let now = Timestamp::now();
        let stamp = call.time_source.stamp(permit.nonce_seed(), call.request, permit.dispatch_deadline(), now);
        let form = kill_parameters(call.operation, &call.target);
        let request = SignedRequest::new(call.operation.as_str(), &form, &stamp, access);
        let request = match request.and_then(|request| self.transport.prepare(request)) {
            Ok(request) => request,
            Err(error) => return Called::NotExecuted(permit, error),
        };
        if permit.time_left().is_none_or(|left| left <= connect_margin(call.time_source)) {
            let message = "the dispatch deadline passed before the call could be sent";
            return Called::NotExecuted(permit, CallError::local(ErrorKind::DeadlinePassed, "DeadlinePassed", message));
        }
        let named: HashSet<i64> = call.target.sessions.iter().map(|session| session.session_id).collect();
        let wanted = move |id| named.contains(&id);
        match self.answer_to_kill(request, self.request_timeout, call.operation, access, wanted).await {
            Ok(answer) => Called::Answered(answer),
            Err(error) if error.kind.is_not_executed() => Called::NotExecuted(permit, error),
            Err(error) => Called::Ambiguous(error),
        }
    }
}

/// How much time must be left before the deadline: without the gateway's fence, enough to connect.
fn connect_margin(source: TimeSource) -> Duration {
    match source {
        TimeSource::DispatchDeadline => Duration::ZERO,
        TimeSource::CurrentTime { .. } => CONNECT_TIMEOUT,
    }
}

/// The business parameters of a kill. Session IDs have the type used in the API's examples: strings for one operation,
/// numbers for the other.
fn kill_parameters(operation: Operation, target: &KillTarget) -> Vec<(&'static str, String)> {
    let mut named = HashSet::new();
    let sessions = target.sessions.iter().map(|session| (&session.server_ip, session.session_id));
    let sessions: Vec<_> = sessions
        .filter(|session| named.insert(*session))
        .map(|(ip, id)| match operation {
            Operation::BatchKillProcessList => json!({"ServerIp": ip, "SessionId": id}),
            Operation::KillProcessList | Operation::Kill => json!({"ServerIp": ip, "SessionId": id.to_string()}),
        })
        .collect();
    let mut form = vec![
        ("InstanceId", target.tenant.instance_id.clone()),
        ("SessionList", serde_json::Value::from(sessions).to_string()),
        ("TenantId", target.tenant.tenant_id.clone()),
    ];
    if operation == Operation::BatchKillProcessList {
        // Otherwise every session behind the same proxy session would end.
        form.push(("ByObSessionId", "true".to_owned()));
    }
    form
}
