//! Explains to people what a server refused, provably without ending a session. Pure.

use sessionkill_api::WaitReason;
use sessionkill_core::backend::{CallError, ErrorKind};

use super::database::{Database, LIST_ACTION};

/// Why requests wait after `error`, and what to do about it; `None` if it says nothing about the connection.
pub(super) fn refusal(database: &Database, action: &str, error: &CallError) -> Option<(WaitReason, String)> {
    let Database { server, account, tenant, .. } = database;
    let (user, source) = (&account.user, &account.source);
    let (reason, advice) = match error.kind {
        ErrorKind::Rejected | ErrorKind::DeadlinePassed | ErrorKind::Ambiguous | ErrorKind::NotAllowed => return None,
        ErrorKind::Throttled { .. } => {
            let advice = "trying again later; keep a connection free for the operator, see docs/sql.md".to_owned();
            (WaitReason::Throttled, advice)
        }
        ErrorKind::Unreachable if error.code == "CertificateRefused" => {
            let advice =
                format!("give {server} a certificate for its name by the CA of the connection, or see spec.sql.tls");
            (WaitReason::EndpointUnreachable, advice)
        }
        ErrorKind::Unreachable => {
            let advice = format!("check the server {server}, its port, DNS and network policies");
            (WaitReason::EndpointUnreachable, advice)
        }
        ErrorKind::CredentialsRejected => {
            let advice = format!(
                "correct the user {user}, its password in {source} or the tenant {tenant} (an unknown tenant is told like a wrong \
                 password), or unlock the user"
            );
            (WaitReason::CredentialsRejected, advice)
        }
        ErrorKind::PermissionDenied => {
            // Refused for a table, not for a kill.
            let is_of_list = matches!(error.code.as_str(), "1142" | "1143" | "1044") || action == LIST_ACTION;
            let rights = if is_of_list { "SELECT ON oceanbase.*" } else { "SUPER ON *.*" };
            (WaitReason::PermissionDenied, format!("GRANT {rights} TO {user} in tenant {tenant}"))
        }
        ErrorKind::ProxyNotSupported => {
            (WaitReason::ProxyNotSupported, format!("correct spec.sql.service or spec.sql.host, which names {server}"))
        }
        ErrorKind::ClockRefused { .. } | ErrorKind::OperationUnavailable | ErrorKind::OperationNotFound => {
            (WaitReason::OperationUnavailable, format!("check that {server} is a supported OceanBase, see docs/sql.md"))
        }
    };
    Some((reason, format!("not executed, {error}: {advice}")))
}
