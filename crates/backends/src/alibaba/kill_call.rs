//! The call that ends sessions: one HTTP request. Does I/O.
//!
//! It is made with a permit, fenced by its dispatch deadline and never repeated here.

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

/// One request to end sessions.
#[derive(Clone, Debug)]
pub struct KillCall {
    /// How they are ended.
    pub operation: Operation,
    /// Which.
    pub target: KillTarget,
    /// Where the signed time stamp comes from.
    pub time_source: TimeSource,
    /// The number of this request within its attempt, from 0.
    pub request: u32,
}

impl Client {
    /// Ends sessions by one request, if the permit's deadline has not passed.
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
        let named: HashSet<i64> = call.target.sessions.iter().map(|(_, id)| *id).collect();
        let wanted = move |id| named.contains(&id);
        match self.answer_to_kill(request, self.request_timeout, call.operation, access, wanted).await {
            Ok(answer) => Called::Answered(answer),
            Err(error) if error.kind.is_not_executed() => Called::NotExecuted(permit, error),
            Err(error) => Called::Ambiguous(error),
        }
    }
}

/// Without the gateway's own fence, the last look at the clock must leave room for connecting.
fn connect_margin(source: TimeSource) -> Duration {
    match source {
        TimeSource::DispatchDeadline => Duration::ZERO,
        TimeSource::CurrentTime { .. } => CONNECT_TIMEOUT,
    }
}

/// The business parameters of a kill, session IDs in the type of the API's own examples: strings in one, numbers in the
/// other.
fn kill_parameters(operation: Operation, target: &KillTarget) -> Vec<(&'static str, String)> {
    let sessions: Vec<_> = match operation {
        Operation::KillProcessList => {
            target.sessions.iter().map(|(ip, id)| json!({"ServerIp": ip, "SessionId": id.to_string()})).collect()
        }
        Operation::BatchKillProcessList => {
            target.sessions.iter().map(|(ip, id)| json!({"ServerIp": ip, "SessionId": id})).collect()
        }
    };
    let mut form = vec![
        ("InstanceId", target.tenant.instance_id.clone()),
        ("SessionList", serde_json::Value::from(sessions).to_string()),
        ("TenantId", target.tenant.tenant_id.clone()),
    ];
    if operation == Operation::BatchKillProcessList {
        // Without it every session behind the same proxy session would end.
        form.push(("ByObSessionId", "true".to_owned()));
    }
    form
}
