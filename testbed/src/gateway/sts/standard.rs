//! The roles that a gateway has if nobody chooses others.

use std::{path::Path, time::Duration};

use super::{
    StsOptions,
    answers::ACCOUNT,
    instance::InstanceRole,
    roles::{OidcProvider, Role, RoleArn},
};

/// The external ID without which the role `kill-external` cannot be assumed.
pub const EXTERNAL_ID: &str = "cluster-1/default";
/// The `ServiceAccount` of [`SUBJECT`], in the namespace `default`.
pub const SERVICE_ACCOUNT: &str = "ob-kill";
/// The subject that the role `kill-oidc` trusts.
pub const SUBJECT: &str = "system:serviceaccount:default:ob-kill";
/// The audience of tokens for STS, whichever of its hosts is called.
pub const AUDIENCE: &str = "sts.aliyuncs.com";

/// Trusts the access keys, the role of [`oidc_role`] and the role of the instance.
#[must_use]
pub fn role() -> RoleArn {
    RoleArn::new(ACCOUNT, "kill")
}

/// Trusts the access keys with [`EXTERNAL_ID`].
#[must_use]
pub fn external_role() -> RoleArn {
    RoleArn::new(ACCOUNT, "kill-external")
}

/// Trusts nobody.
#[must_use]
pub fn forbidden_role() -> RoleArn {
    RoleArn::new(ACCOUNT, "kill-forbidden")
}

/// Trusts [`SUBJECT`] of [`provider`].
#[must_use]
pub fn oidc_role() -> RoleArn {
    RoleArn::new(ACCOUNT, "kill-oidc")
}

/// The role of the instance: all Pods of a node could use it.
#[must_use]
pub fn instance_role() -> RoleArn {
    RoleArn::new(ACCOUNT, "KubernetesWorkerRole-testbed")
}

/// The name of the OIDC provider.
#[must_use]
pub fn provider() -> String {
    format!("acs:ram::{ACCOUNT}:oidc-provider/ack-rrsa-testbed")
}

impl StsOptions {
    /// The roles above, which trust these access keys, and the metadata service on a free port. There is no provider yet.
    #[must_use]
    pub fn standard(key_ids: &[&str]) -> Self {
        let trusted = [oidc_role().to_string(), instance_role().to_string()];
        let direct = key_ids.iter().fold(Role::new(role()), |role, id| role.trusting(id));
        let external = Role::new(external_role());
        Self {
            roles: vec![
                trusted.iter().fold(direct, |role, arn| role.trusting(arn)),
                key_ids.iter().fold(external, |role, id| role.trusting_with(id, EXTERNAL_ID)),
                Role::new(forbidden_role()),
                Role::new(oidc_role()).trusting_subject(&provider(), SUBJECT),
            ],
            providers: vec![],
            lifetime: None,
            instance: Some(InstanceRole::new(instance_role())),
        }
    }

    /// Adds the provider above: it takes tokens of the API server in the kubeconfig, whose `--service-account-issuer` is
    /// this.
    #[must_use]
    pub fn with_tokens_of(mut self, issuer: &str, kubeconfig: &Path) -> Self {
        self.providers.push(OidcProvider {
            arn: provider(),
            issuer: issuer.to_owned(),
            client_ids: vec![AUDIENCE.to_owned()],
            kubeconfig: kubeconfig.to_owned(),
        });
        self
    }

    /// Lets all temporary keys live this long, whatever is asked for.
    #[must_use]
    pub fn living(self, lifetime: Duration) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }
}
