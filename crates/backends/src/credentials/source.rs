//! Whose access key is wanted: an identity at Alibaba Cloud. Pure.

use std::fmt;
use std::time::Duration;

use sessionkill_api::{
    AlibabaCloud, CredentialSource, IdentitySpec, Network, OperatorIdentity, ServiceAccountRef, SessionPolicy,
    SignatureMethod, WaitReason,
};
use sha2::{Digest as _, Sha256};

use super::errors::Unavailable;
use super::secret_ref::SecretKey;
pub use super::session_policy::Calls;
use super::session_policy::session_policy;
use crate::access_key::AccessKey;
use crate::alibaba::Endpoint;

/// Whose access key is wanted. Equal identities share a key, and whatever makes a key another one is a part of it: a change
/// of the spec, or of a Secret, is another identity, which acts at the next call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The namespace of the connection: keys are never shared between namespaces.
    pub namespace: String,
    /// Where the first access key comes from.
    pub base: Base,
    /// The role that is assumed with it.
    pub role: Option<Role>,
    /// What the last key is limited to.
    pub policy: Option<String>,
    /// The token service that is called.
    pub sts: TokenService,
    /// The name of the sessions, by which they are found in `ActionTrail`.
    pub session_name: String,
}

/// Where the first access key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// A Secret holds it.
    Secret(SecretKey),
    /// STS gives it for a token of this `ServiceAccount`.
    ServiceAccount(ServiceAccountRef),
    /// STS gives it for a token of the operator's own `ServiceAccount`.
    Operator(OperatorIdentity),
    /// The metadata service of the operator's node gives it.
    Instance,
}

/// A role that is assumed with another access key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The external ID that its trust policy asks for.
    pub external_id: Option<String>,
    /// For how long a key is asked for.
    pub duration: Duration,
}

/// The token service that is called, and how calls of it are signed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenService {
    /// Its endpoint.
    pub endpoint: Endpoint,
    /// Signs with `HMAC-SHA1` (V1) instead of `ACS3-HMAC-SHA256` (V3).
    pub signature_v1: bool,
}

/// For how long a key of a role that an OIDC token opens is asked for. It is the least that a role's `MaxSessionDuration`
/// can be.
pub const OIDC_DURATION: Duration = Duration::from_hours(1);

/// What whoever knows Kubernetes knows of a connection, and of how the operator runs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The namespace of the connection.
    pub namespace: &'a str,
    /// The name of the connection.
    pub connection: &'a str,
    /// The operator's name of its cluster, which tells its external IDs from those of other clusters; `None` if it has none.
    pub cluster: Option<&'a str>,
    /// The endpoint of the token service that an operator flag names.
    pub sts_endpoint: Option<&'a Endpoint>,
}

impl Identity {
    /// The identity that `spec` describes, for `calls` through the connection `alibaba_cloud`. `secret_key` is the access key
    /// of the Secret that it names, if it names one. The operator must have decided before whether it lends the identity.
    pub fn of(
        spec: &IdentitySpec,
        calls: Calls,
        alibaba_cloud: &AlibabaCloud,
        place: &Place<'_>,
        secret_key: Option<AccessKey>,
    ) -> Result<Self, Unavailable> {
        let refused = |message: String| Unavailable::until_changed(WaitReason::RoleNotAssumable, message);
        let base = match (&spec.source, secret_key) {
            (CredentialSource::Secret(secret), Some(key)) => Base::Secret(SecretKey::new(&secret.name, key)),
            (CredentialSource::Secret(secret), None) => {
                let message = format!("the access key of secret {} was not read", secret.name);
                return Err(Unavailable::for_now(WaitReason::CredentialsUnavailable, message));
            }
            (CredentialSource::ServiceAccount(account), _) => Base::ServiceAccount(account.clone()),
            (CredentialSource::Operator(operator), _) => Base::Operator(operator.clone()),
            (CredentialSource::Instance, _) => Base::Instance,
        };
        let role = spec.assume_role.as_ref().map(|role| {
            let external_id = if spec.source.is_lent() { lent_external_id(place)? } else { role.external_id.clone() };
            let duration = Duration::from_secs(u64::try_from(role.duration_seconds).unwrap_or_default());
            Ok::<_, Unavailable>(Role { arn: role.role_arn.clone(), external_id, duration })
        });
        let role = role.transpose()?;
        let has_role = role.is_some() || matches!(base, Base::ServiceAccount(_) | Base::Operator(_));
        let policy = spec.session_policy.unwrap_or(if has_role { SessionPolicy::Actions } else { SessionPolicy::None });
        let policy = session_policy(policy, calls, alibaba_cloud.kill_operation, &alibaba_cloud.instance_ids);
        let is_vpc = alibaba_cloud.network == Network::Vpc;
        let endpoint = Endpoint::sts(&alibaba_cloud.region_id, is_vpc, place.sts_endpoint)
            .map_err(|error| Unavailable::until_changed(WaitReason::EndpointNotAllowed, error.to_string()))?;
        let signature_v1 = alibaba_cloud.signature_method == SignatureMethod::HmacSha1;
        Ok(Self {
            namespace: place.namespace.to_owned(),
            base,
            role,
            policy: policy.map_err(refused)?,
            sts: TokenService { endpoint, signature_v1 },
            session_name: session_name(place.namespace, place.connection),
        })
    }

    /// The access key that signs the calls, if it is the one of a Secret: then nothing is issued or kept.
    #[must_use]
    pub const fn own_key(&self) -> Option<&AccessKey> {
        match (&self.base, &self.role) {
            (Base::Secret(secret), None) => Some(secret.key()),
            _ => None,
        }
    }

    /// The source of its first access key.
    #[must_use]
    pub const fn source(&self) -> SourceName {
        match self.base {
            Base::Secret(_) => SourceName::SecretRef,
            Base::ServiceAccount(_) => SourceName::ServiceAccountRef,
            Base::Operator(_) => SourceName::OperatorIdentity,
            Base::Instance => SourceName::InstanceRole,
        }
    }
}

/// The external ID of a role that is assumed with rights that the operator lends: the operator's cluster and the namespace,
/// so that the role's owner can tell for whom it is assumed, and no namespace can pose as another.
fn lent_external_id(place: &Place<'_>) -> Result<Option<String>, Unavailable> {
    let cluster = place.cluster.ok_or_else(|| {
        let message = "assumeRole needs an external ID with operatorIdentity and instanceRole, and the operator has no name of \
                       its cluster to make one of: have it run with --cluster-name, or remove assumeRole";
        Unavailable::until_changed(WaitReason::IdentityNotAllowed, message)
    })?;
    Ok(Some(format!("{cluster}/{}", place.namespace)))
}

/// The most characters of a session's name that all versions of STS take.
const LONGEST_NAME: usize = 32;

/// The name of the sessions of a connection. A longer one ends with a digest of the whole.
#[must_use]
pub fn session_name(namespace: &str, connection: &str) -> String {
    let whole = format!("sk-{namespace}-{connection}");
    if whole.len() <= LONGEST_NAME {
        return whole;
    }
    let digest = hex::encode(&Sha256::digest(&whole)[..4]);
    let kept = whole.floor_char_boundary(LONGEST_NAME - digest.len() - 1);
    format!("{}-{digest}", &whole[..kept])
}

/// For people: where the access key comes from.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Some(role) => write!(f, "role {}, assumed with {}", role.arn, self.base),
            None => self.base.fmt(f),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(secret) => write!(f, "Secret {}", secret.name()),
            Self::ServiceAccount(account) => write!(f, "ServiceAccount {} (role {})", account.name, account.role_arn),
            Self::Operator(operator) => write!(f, "the operator's own identity (role {})", operator.role_arn),
            Self::Instance => f.write_str("the role of the operator's node"),
        }
    }
}

/// The sources of access keys, by the name that users write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceName {
    /// A Secret.
    SecretRef,
    /// A `ServiceAccount` of the namespace.
    ServiceAccountRef,
    /// The operator's own `ServiceAccount`.
    OperatorIdentity,
    /// The operator's node.
    InstanceRole,
}

impl SourceName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SecretRef, Self::ServiceAccountRef, Self::OperatorIdentity, Self::InstanceRole];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecretRef => "secretRef",
            Self::ServiceAccountRef => "serviceAccountRef",
            Self::OperatorIdentity => "operatorIdentity",
            Self::InstanceRole => "instanceRole",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ROLE: &str = "acs:ram::1:role/kill";

    fn place<'a>() -> Place<'a> {
        Place { namespace: "shop", connection: "prod-ob", cluster: Some("c1"), sts_endpoint: None }
    }

    fn identity(spec: Value, more: &Value, place: &Place<'_>) -> Result<Identity, Unavailable> {
        let mut cloud = json!({"regionID": "cn-hangzhou", "credentials": {"secretRef": {"name": "unused"}}});
        cloud.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let cloud = serde_json::from_value(cloud).unwrap();
        let key = AccessKey { id: "LTAI1".into(), secret: "s".into(), security_token: None };
        Identity::of(&serde_json::from_value(spec).unwrap(), Calls::All, &cloud, place, Some(key))
    }

    #[test]
    fn the_key_of_a_secret_signs_the_calls_itself_as_ever() {
        let plain = identity(json!({"secretRef": {"name": "ak"}}), &json!({}), &place()).unwrap();
        assert_eq!((plain.own_key().unwrap().id.as_str(), &plain.policy), ("LTAI1", &None));
        assert_eq!(plain.to_string(), "Secret ak");
        let role = json!({"secretRef": {"name": "ak"}, "assumeRole": {"roleARN": ROLE, "externalID": "ext-1"}});
        let assumed = identity(role, &json!({}), &place()).unwrap();
        assert!(assumed.own_key().is_none() && assumed.policy.unwrap().contains("oceanbase:KillProcessList"));
        let role = assumed.role.unwrap();
        assert_eq!((role.external_id.as_deref(), role.duration.as_secs()), (Some("ext-1"), 3600));
    }

    #[test]
    fn whatever_makes_a_key_another_one_makes_another_identity() {
        let account =
            |role: &str| json!({"name": "kill", "roleARN": role, "oidcProviderARN": "acs:ram::1:oidc-provider/p"});
        let spec = json!({"serviceAccountRef": account(ROLE)});
        let base = identity(spec.clone(), &json!({}), &place()).unwrap();
        assert_eq!(identity(spec.clone(), &json!({}), &place()).unwrap(), base);
        let second = |external: &str| json!({"roleARN": ROLE, "externalID": external});
        let flag = Endpoint::parse("http://127.0.0.1:1").unwrap();
        let mut all = vec![
            base,
            identity(json!({"serviceAccountRef": account("acs:ram::1:role/other")}), &json!({}), &place()).unwrap(),
            identity(json!({"serviceAccountRef": account(ROLE), "assumeRole": second("e-1")}), &json!({}), &place())
                .unwrap(),
            identity(json!({"serviceAccountRef": account(ROLE), "assumeRole": second("e-2")}), &json!({}), &place())
                .unwrap(),
            identity(json!({"serviceAccountRef": account(ROLE), "sessionPolicy": "None"}), &json!({}), &place())
                .unwrap(),
            identity(spec.clone(), &json!({"network": "VPC"}), &place()).unwrap(),
            identity(spec.clone(), &json!({}), &Place { namespace: "other", ..place() }).unwrap(),
            identity(spec.clone(), &json!({}), &Place { sts_endpoint: Some(&flag), ..place() }).unwrap(),
            identity(json!({"instanceRole": {}}), &json!({}), &place()).unwrap(),
            identity(json!({"operatorIdentity": {"roleARN": ROLE}}), &json!({}), &place()).unwrap(),
        ];
        let count = all.len();
        all.dedup();
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), count);
    }

    #[test]
    fn the_external_id_of_lent_rights_is_the_operators_and_never_the_namespaces() {
        for source in [json!({"instanceRole": {}}), json!({"operatorIdentity": {"roleARN": ROLE}})] {
            let mut spec = source.clone();
            spec["assumeRole"] = json!({"roleARN": ROLE});
            let lent = identity(spec.clone(), &json!({}), &place()).unwrap();
            assert_eq!(lent.role.unwrap().external_id.as_deref(), Some("c1/shop"));
            let nameless = identity(spec.clone(), &json!({}), &Place { cluster: None, ..place() }).unwrap_err();
            assert_eq!(nameless.reason, WaitReason::IdentityNotAllowed);
            spec["assumeRole"]["externalID"] = json!("c1/other");
            let error = serde_json::from_value::<IdentitySpec>(spec).unwrap_err().to_string();
            assert!(error.contains("externalID must not be set"), "{error}");
        }
    }

    #[test]
    fn a_policy_that_does_not_fit_is_refused_before_any_request() {
        let ids: Vec<_> = (0..200).map(|n| format!("ob317v4uif{n:04}")).collect();
        let spec = json!({"operatorIdentity": {"roleARN": ROLE}, "sessionPolicy": "Instances"});
        let error = identity(spec, &json!({"instanceIDs": ids}), &place()).unwrap_err();
        assert_eq!((error.reason, error.retry), (WaitReason::RoleNotAssumable, super::super::errors::Retry::Slowly));
        assert!(error.message.starts_with("the session policy has "), "{error}");
    }

    #[test]
    fn a_session_is_named_after_its_connection_within_what_sts_takes() {
        assert_eq!(session_name("shop", "prod-ob"), "sk-shop-prod-ob");
        let exact = "a".repeat(32 - "sk-shop-".len());
        assert_eq!(session_name("shop", &exact), format!("sk-shop-{exact}"));
        let long = session_name("shop", &format!("{exact}b"));
        assert_eq!((long.len(), &long[..20]), (32, "sk-shop-aaaaaaaaaaaa"));
        assert_ne!(long, session_name("shop", &format!("{exact}c")), "the digest tells them apart");
    }
}
