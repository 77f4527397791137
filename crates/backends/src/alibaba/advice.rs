//! Explains to people a call that the gateway refused, provably without executing it. Pure.

use sessionkill_api::{KillOperation, Operation, WaitReason};
use sessionkill_core::backend::{CallError, ErrorKind};

use super::endpoint::Endpoint;

/// A call that was refused.
pub(super) struct RefusedCall<'a> {
    pub(super) action: &'a str,
    /// The instance that it was for.
    pub(super) on: &'a str,
    pub(super) endpoint: &'a Endpoint,
    /// Where the access key comes from.
    pub(super) key_source: &'a str,
    /// The operation that the connection asks for.
    pub(super) kill_operation: KillOperation,
}

/// Why requests wait after `error`, and what to do about it; `None` if it says nothing about the connection.
pub(super) fn refusal(call: &RefusedCall<'_>, error: &CallError) -> Option<(WaitReason, String)> {
    let RefusedCall { action, on, endpoint, key_source, kill_operation } = *call;
    let (reason, advice) = match error.kind {
        ErrorKind::Rejected
        | ErrorKind::DeadlinePassed
        | ErrorKind::ProxyNotSupported
        | ErrorKind::NotAllowed
        | ErrorKind::Ambiguous => return None,
        ErrorKind::Throttled { .. } => (WaitReason::Throttled, "trying again later".to_owned()),
        ErrorKind::Unreachable => {
            let advice = format!("check the endpoint {endpoint}, DNS, network policies and certificates");
            (WaitReason::EndpointUnreachable, advice)
        }
        ErrorKind::CredentialsRejected => {
            (WaitReason::CredentialsRejected, format!("correct the access key in {key_source}"))
        }
        ErrorKind::PermissionDenied => {
            (WaitReason::PermissionDenied, format!("allow the access key of {key_source} to call {action} on {on}"))
        }
        ErrorKind::ClockRefused { .. } => {
            (WaitReason::TimeStampRefused, "check the clock of the operator's node".to_owned())
        }
        // `Auto` asks for this operation only if the gateway does not know the other one.
        ErrorKind::OperationNotFound
            if kill_operation == KillOperation::Auto && action == Operation::BatchKillProcessList.as_str() =>
        {
            let advice = format!(
                "{endpoint} offers neither KillProcessList nor BatchKillProcessList: check the region and the endpoint \
                 of the connection"
            );
            (WaitReason::OperationUnavailable, advice)
        }
        ErrorKind::OperationUnavailable | ErrorKind::OperationNotFound => {
            let advice =
                format!("{endpoint} does not offer {action}: see spec.alibabaCloud.killOperation of the connection");
            (WaitReason::OperationUnavailable, advice)
        }
    };
    Some((reason, format!("not executed, {error}: {advice}")))
}
