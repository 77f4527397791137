//! The call. Does I/O; takes the claim by value and gives it back only if nothing was executed.

use std::time::Duration;

use jiff::Timestamp;

use super::claim::Claim;
use super::context::Context;
use crate::api::{Network, OceanBaseConnection, OceanBaseConnectionSpec, SessionKill, SignatureMethod};
use crate::domain::outcome::Row;
use crate::oceanbase::endpoint::EndpointError;
use crate::oceanbase::{
    Access, AccessKey, CallError, Called, Endpoint, ErrorKind, KillCall, KillOperation, KillPermit as _, KillTarget,
    Tenant, TimeSource, answer::KilledSession,
};

/// The least time that must be left for another request within the attempt.
const ROOM_TO_FALL_BACK: Duration = Duration::from_secs(5);

/// Where a call goes and as whom.
pub struct Call<'a> {
    /// The connection.
    pub connection: &'a OceanBaseConnection,
    /// Its endpoint, which may be called.
    pub endpoint: Endpoint,
    /// Its access key.
    pub access_key: AccessKey,
}

/// The endpoint of a connection, if it may be called.
pub fn endpoint(context: &Context, connection: &OceanBaseConnectionSpec) -> Result<Endpoint, EndpointError> {
    match &connection.endpoint {
        Some(custom) => Endpoint::custom(custom, &context.config.allow_endpoints),
        None => Ok(Endpoint::regional(&connection.region_id, connection.network == Network::Vpc)),
    }
}

/// Makes the call that `claim` permits.
///
/// If the gateway refuses the fenced time stamp of a request inside its deadline, its clock or its rules differ from what
/// is documented: the connection falls back to the current time by the gateway's clock, and the call is made again, as it
/// was provably not executed.
pub async fn dispatch(context: &Context, object: &SessionKill, claim: Claim, call: &Call<'_>) -> Called<Claim> {
    let seconds = u64::try_from(call.connection.spec.request_timeout_seconds).unwrap_or(1);
    let client = match context.api_client(Duration::from_secs(seconds)) {
        Ok(client) => client,
        Err(message) => {
            return Called::NotExecuted(claim, CallError::local(ErrorKind::Unreachable, "NoClient", message));
        }
    };
    let access = Access {
        endpoint: call.endpoint.clone(),
        access_key: call.access_key.clone(),
        signature_v1: call.connection.spec.signature_method == SignatureMethod::HmacSha1,
    };
    let mut kill = KillCall {
        operation: KillOperation::KillProcessList,
        target: target(object),
        time_source: context.connection_states.time_source(call.connection),
        request: 0,
    };
    match client.kill(claim, &kill, &access).await {
        Called::NotExecuted(claim, error) => {
            let ErrorKind::TimeStampRefused { gateway_time } = error.kind else {
                return Called::NotExecuted(claim, error);
            };
            // In the last moments a small difference of the clocks is enough: it says nothing of the gateway.
            if claim.time_left().is_none_or(|left| left < ROOM_TO_FALL_BACK) {
                return Called::NotExecuted(claim, error);
            }
            let gateway_lead = gateway_time.map_or_else(Default::default, |time| time.duration_since(Timestamp::now()));
            let current_time = TimeSource::CurrentTime { gateway_lead };
            let fell_back = kill.time_source == TimeSource::DispatchDeadline;
            context.connection_states.use_time_source(context, call.connection, current_time);
            if !fell_back {
                return Called::NotExecuted(claim, error);
            }
            kill.time_source = current_time;
            kill.request = 1;
            client.kill(claim, &kill, &access).await
        }
        called => called,
    }
}

fn target(object: &SessionKill) -> KillTarget {
    KillTarget {
        tenant: Tenant { instance_id: object.spec.instance_id.clone(), tenant_id: object.spec.tenant_id.clone() },
        sessions: object.spec.sessions.iter().map(|s| (s.server_ip.clone(), s.session_id)).collect(),
    }
}

/// A row of the answer, in the words of the domain.
pub fn row(session: KilledSession) -> Row {
    let KilledSession {
        session_id,
        server_ip,
        status,
        error_message,
        client_ip,
        tenant_id,
        user,
        database,
        sql_text,
        command,
        execute_time,
    } = session;
    Row {
        server_ip,
        session_id,
        status,
        error_message,
        client_ip,
        tenant_id,
        user,
        database,
        sql_text,
        command,
        execute_time,
    }
}
