//! Explains to people what a server refused, provably without ending a session. Pure.

use sessionkill_api::WaitReason;
use sessionkill_core::backend::{CallError, ErrorKind};

use super::access::Access;
use super::login::ADDRESS_NOT_ALLOWED;

/// Why requests wait after `error`, and what to do about it; `None` if it says nothing about the connection.
pub(super) fn refusal(access: &Access, error: &CallError) -> Option<(WaitReason, String)> {
    let Access { server, account, tenant, .. } = access;
    let (user, source) = (&account.user, &account.source);
    let (reason, advice) = match error.kind {
        ErrorKind::Rejected | ErrorKind::DeadlinePassed | ErrorKind::Ambiguous => return None,
        ErrorKind::NotAllowed => {
            let advice = "correct spec.sql, or let its server be the one that it describes".to_owned();
            (WaitReason::EndpointNotAllowed, advice)
        }
        ErrorKind::Unreachable if error.code == ADDRESS_NOT_ALLOWED => {
            (WaitReason::EndpointNotAllowed, format!("correct {server}, or what its name leads to"))
        }
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
            // 1227 names a right to all. Other refusals are of the view: KILL has an answer of its own.
            let rights = if error.code == "1227" { "PROCESS, SUPER ON *.*" } else { "SELECT ON oceanbase.*" };
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::server::{Encryption, Server};
    use super::super::{Account, AllowedHost};
    use super::*;

    fn access() -> Access {
        let allowed: AllowedHost = "db.example:2881".parse().unwrap();
        let server = Server::of_host("db.example:2881".parse().unwrap(), &[allowed], Encryption::Disabled).unwrap();
        Access {
            server,
            account: Account { user: "killer".to_owned(), password: "hidden".into(), source: "Secret db".to_owned() },
            cluster: "ob".to_owned(),
            tenant: "shop".to_owned(),
            request_timeout: Duration::from_secs(10),
            known: std::sync::Arc::default(),
        }
    }

    #[test]
    fn who_must_do_what_is_told_from_what_passes_by_itself() {
        let said = |kind, code: &'static str| refusal(&access(), &CallError::local(kind, code, "why"));
        for (kind, code, reason, words) in [
            (
                ErrorKind::Unreachable,
                "Unreachable",
                WaitReason::EndpointUnreachable,
                "check the server db.example:2881",
            ),
            (ErrorKind::Unreachable, "CertificateRefused", WaitReason::EndpointUnreachable, "see spec.sql.tls"),
            (ErrorKind::Unreachable, ADDRESS_NOT_ALLOWED, WaitReason::EndpointNotAllowed, "what its name leads to"),
            (ErrorKind::NotAllowed, "OtherCluster", WaitReason::EndpointNotAllowed, "correct spec.sql"),
            (ErrorKind::CredentialsRejected, "1045", WaitReason::CredentialsRejected, "an unknown tenant"),
            (
                ErrorKind::PermissionDenied,
                "1142",
                WaitReason::PermissionDenied,
                "GRANT SELECT ON oceanbase.* TO killer",
            ),
            (
                ErrorKind::PermissionDenied,
                "1227",
                WaitReason::PermissionDenied,
                "GRANT PROCESS, SUPER ON *.* TO killer",
            ),
            (ErrorKind::ProxyNotSupported, "BehindProxy", WaitReason::ProxyNotSupported, "correct spec.sql.service"),
        ] {
            let (told, text) = said(kind, code).unwrap();
            assert!(told == reason && text.contains(words) && !text.contains("hidden"), "{code}: {text}");
        }
        for kind in [ErrorKind::Rejected, ErrorKind::DeadlinePassed, ErrorKind::Ambiguous] {
            assert_eq!(said(kind, "1"), None, "it says nothing about the connection");
        }
    }
}
