//! Explains to people why STS gave no access key, and what to do. Pure.

use sessionkill_api::WaitReason;
use sessionkill_core::backend::CallError;

use super::errors::{Retry, StsAction, Unavailable, class_of};
use super::source::{Base, Identity};

/// Why `identity` got no key for the role `role_arn`: `action` was refused or not answered. Texts of STS come here redacted.
pub(super) fn refused(identity: &Identity, action: StsAction, role_arn: &str, error: &CallError) -> Unavailable {
    let (reason, retry) = class_of(action, error);
    let base = &identity.base;
    let message = match reason {
        WaitReason::RoleNotAssumable => {
            format!("role {role_arn} cannot be assumed with {base} ({error}): {}", to_trust(identity, action))
        }
        WaitReason::OidcTokenRejected => format!(
            "STS refuses the token of {base} ({error}): check the issuer, the client ID sts.aliyuncs.com and the keys of the \
             OIDC provider at RAM, and that the issuer can be read from the Internet"
        ),
        WaitReason::CredentialsRejected => {
            let correct = match base {
                Base::Secret(secret) => format!("correct the access key in Secret {}", secret.name()),
                Base::ServiceAccount(_) | Base::Operator(_) | Base::Instance => "trying again later".to_owned(),
            };
            format!("STS refuses the access key of {base} ({error}): {correct}")
        }
        WaitReason::TimeStampRefused => {
            format!("STS refuses the time stamp of a call ({error}): check the clock of the operator's node")
        }
        _ => format!(
            "{} gives no access key for role {role_arn} ({error}): check DNS, network policies and the proxy; trying again",
            identity.sts.endpoint
        ),
    };
    // Another first key comes with the next try.
    let is_from_elsewhere = reason == WaitReason::CredentialsRejected && !matches!(base, Base::Secret(_));
    let retry = if is_from_elsewhere { Retry::Soon } else { retry };
    Unavailable { reason, message, retry }
}

/// What lets `identity` assume its role.
fn to_trust(identity: &Identity, action: StsAction) -> String {
    match (action, &identity.base) {
        (StsAction::AssumeRoleWithOidc, Base::ServiceAccount(account)) => format!(
            "let its trust policy name the provider {}, the audience sts.aliyuncs.com and the subject \
             system:serviceaccount:{}:{}",
            account.oidc_provider_arn, identity.namespace, account.name
        ),
        (StsAction::AssumeRoleWithOidc, _) => {
            "let its trust policy name the provider, the audience sts.aliyuncs.com and the subject of the operator's own \
             ServiceAccount"
                .to_owned()
        }
        (StsAction::AssumeRole, _) => {
            let external = identity.role.as_ref().and_then(|role| role.external_id.as_ref());
            let external = external.map_or(String::new(), |id| format!(" with the external ID {id}"));
            format!(
                "let its trust policy name the identity that assumes it{external}, give that the right sts:AssumeRole, and \
                 check roleARN and durationSeconds"
            )
        }
    }
}
