//! Explains to people a call that the gateway refused, provably without executing it. No I/O.

use crate::api::{KillOperation, Operation, WaitReason};
use crate::connections::route::Route;
use crate::domain::backend::{CallError, ErrorKind};

/// Why a request waits after `error`, and what to do about it; `None` if the error says nothing about the connection.
/// `action` is the operation called, and `target` what it was called on.
pub fn refusal(route: &Route, action: &str, target: &str, error: &CallError) -> Option<(WaitReason, String)> {
    let alibaba_cloud = route.connection.spec.alibaba_cloud();
    let secret = &alibaba_cloud.credentials.secret_ref.name;
    let endpoint = &route.access.endpoint;
    let (reason, advice) = match error.kind {
        ErrorKind::Rejected | ErrorKind::DeadlinePassed | ErrorKind::Ambiguous => return None,
        ErrorKind::Throttled { .. } => (WaitReason::Throttled, "trying again later".to_owned()),
        ErrorKind::Unreachable => {
            let advice = format!("check the endpoint {endpoint}, DNS, network policies and certificates");
            (WaitReason::EndpointUnreachable, advice)
        }
        ErrorKind::CredentialsRejected => {
            (WaitReason::CredentialsRejected, format!("correct the access key in Secret {secret}"))
        }
        ErrorKind::PermissionDenied => {
            let advice = format!("allow the access key of Secret {secret} to call {action} on {target}");
            (WaitReason::PermissionDenied, advice)
        }
        ErrorKind::TimeStampRefused { .. } => {
            (WaitReason::TimeStampRefused, "check the clock of the operator's node".to_owned())
        }
        // `Auto` asks for this operation only if the gateway does not know the other one.
        ErrorKind::OperationNotFound
            if alibaba_cloud.kill_operation == KillOperation::Auto
                && action == Operation::BatchKillProcessList.as_str() =>
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
