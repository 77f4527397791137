//! Who makes a call.

use serde::Serialize;

use super::policy::Policy;

/// Who made a call, as the ledger shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Identity {
    /// One of the gateway's own access keys.
    AccessKey {
        /// Its ID.
        id: String,
    },
    /// A role that was assumed.
    AssumedRole {
        /// The role.
        role_arn: String,
        /// The name that the caller gave to the session.
        session_name: String,
    },
    /// The role of the instance, whose keys the metadata service hands out.
    InstanceRole {
        /// The role.
        role_arn: String,
    },
    /// The owner of an OIDC token. It can call `AssumeRoleWithOIDC` only.
    OidcSubject {
        /// The token's `sub`, as `system:serviceaccount:NAMESPACE:NAME`.
        subject: String,
    },
}

/// The owner of the key that a call is signed with. No `Debug`: a policy is the caller's own text.
#[derive(Clone)]
pub struct Signer {
    /// Who it is.
    pub identity: Identity,
    /// What limits the session, if anything.
    pub policy: Option<Policy>,
}

impl Signer {
    /// The owner of an access key, who may do everything.
    #[must_use]
    pub fn access_key(id: &str) -> Self {
        Self { identity: Identity::AccessKey { id: id.to_owned() }, policy: None }
    }

    /// Whether the session's policy allows this action, such as `oceanbase:KillProcessList`. Without a policy everything
    /// is allowed.
    #[must_use]
    pub fn may(&self, action: &str) -> bool {
        self.policy.as_ref().is_none_or(|policy| policy.allows(action))
    }
}
