//! Whose access key signs the calls to Alibaba Cloud.

use std::borrow::Cow;

use kube_derive::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::credential_source::{
    AssumeRole, InstanceRole, OperatorIdentity, SecretRef, ServiceAccountRef, SessionPolicy,
};

/// The identities of a connection. A state that the API server refuses cannot be deserialized either, so the rest of the
/// code never meets one.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(try_from = "Value")]
pub struct Credentials {
    /// Whose access key ends sessions. It lists them, too, unless `observe` is set.
    #[serde(flatten)]
    pub identity: IdentitySpec,
    /// Whose access key lists sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observe: Option<IdentitySpec>,
}

/// A source of access keys, and the role that is assumed with its key.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct IdentitySpec {
    /// Where the first access key comes from.
    pub source: CredentialSource,
    /// The role that is assumed with it; `None` if it signs the calls itself.
    pub assume_role: Option<AssumeRole>,
    /// What the access key of the role is limited to; `None` if nothing is said.
    pub session_policy: Option<SessionPolicy>,
}

/// Where the first access key comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// A Secret of the same namespace has it.
    Secret(SecretRef),
    /// STS gives it for the token of a `ServiceAccount` of the same namespace.
    ServiceAccount(ServiceAccountRef),
    /// STS gives it for the token of the operator's own `ServiceAccount`.
    Operator(OperatorIdentity),
    /// The metadata service of the operator's node gives it.
    Instance,
}

impl CredentialSource {
    /// Whether it acts with rights that nobody in the namespace holds.
    #[must_use]
    pub const fn is_lent(&self) -> bool {
        matches!(self, Self::Operator(_) | Self::Instance)
    }
}

impl IdentitySpec {
    /// The name of the Secret with the first access key, if it comes from one.
    #[must_use]
    pub fn secret_name(&self) -> Option<&str> {
        match &self.source {
            CredentialSource::Secret(secret) => Some(&secret.name),
            CredentialSource::ServiceAccount(_) | CredentialSource::Operator(_) | CredentialSource::Instance => None,
        }
    }
}

impl Credentials {
    /// Each identity: the one that ends sessions first.
    pub fn identities(&self) -> impl Iterator<Item = &IdentitySpec> {
        [Some(&self.identity), self.observe.as_ref()].into_iter().flatten()
    }

    /// The names of the Secrets, each once.
    #[must_use]
    pub fn secret_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.identities().filter_map(IdentitySpec::secret_name).collect();
        names.dedup();
        names
    }
}

/// The error for an identity without a source, or with several.
const ONE_SOURCE: &str = "exactly one of secretRef, serviceAccountRef, operatorIdentity and instanceRole is required: name \
                          one, and remove the others";
/// The error for an external ID that a user chose for rights that are not theirs.
const NO_EXTERNAL_ID: &str = "externalID must not be set with operatorIdentity or instanceRole: the operator sets it to \
                              its cluster and the namespace, so remove it";
/// The error for a policy of a key that STS did not issue.
const POLICY_NEEDS_ROLE: &str = "sessionPolicy limits the access key of a role, and there is none: set assumeRole, or set \
                                 sessionPolicy to None";

/// An identity as it is written.
#[derive(KubeSchema, Serialize, Deserialize)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.secretRef), has(self.serviceAccountRef), has(self.operatorIdentity), has(self.instanceRole)].filter(it, it).size() == 1")
        .message(ONE_SOURCE),
    validation = Rule::new("!has(self.assumeRole) || !has(self.assumeRole.externalID) || (!has(self.operatorIdentity) && !has(self.instanceRole))")
        .message(NO_EXTERNAL_ID)
        .field_path(".assumeRole"),
    validation = Rule::new("!has(self.sessionPolicy) || self.sessionPolicy == 'None' || has(self.assumeRole) || has(self.serviceAccountRef) || has(self.operatorIdentity)")
        .message(POLICY_NEEDS_ROLE)
        .field_path(".sessionPolicy")
)]
struct Fields {
    /// A Secret in the same namespace, with the label sessionkill.dev/credentials: "true". It has the keys accessKeyID,
    /// accessKeySecret and, for temporary credentials, securityToken. If your keys have other names, say so in
    /// annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_ref: Option<SecretRef>,

    /// A ServiceAccount in the same namespace, with the label sessionkill.dev/credentials: "true", and a RAM role that
    /// trusts it (RRSA). The operator makes a token of 10 minutes for it, which only STS takes, and uses it once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_account_ref: Option<ServiceAccountRef>,

    /// A RAM role that trusts the operator's own ServiceAccount (RRSA). The operator must be run with --allow-identity for
    /// this namespace and exactly this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operator_identity: Option<OperatorIdentity>,

    /// The RAM role of the node that the operator runs on, which all Pods of the node share. Write {}. The operator must
    /// be run with --allow-identity for this namespace.
    // Not as an `Option` in the schema, which would take its bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "InstanceRole")]
    instance_role: Option<InstanceRole>,

    /// A RAM role that is assumed with the access key of the source, as a second step. Calls are then signed by the access
    /// key of this role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    assume_role: Option<AssumeRole>,

    /// What an access key of a role may do, beside what the role itself may. Actions: only the operations that are called,
    /// on any instance. Instances: these, and only on instanceIDs. None: all that the role may. Unset means Actions where a
    /// role is assumed, and None elsewhere.
    // Not as an `Option` in the schema, which would take the description of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SessionPolicy")]
    session_policy: Option<SessionPolicy>,
}

/// The description of `observe`, which has the fields of an identity.
const OBSERVE: &str = "Another identity for listing sessions (DescribeProcessStatsComposition). Then a DryRun never uses the \
                       identity that ends sessions. Unset means the identity above.";

impl TryFrom<Value> for Credentials {
    type Error = serde_json::Error;

    fn try_from(mut stored: Value) -> Result<Self, Self::Error> {
        let observe = stored.as_object_mut().and_then(|fields| fields.remove("observe"));
        let observe = observe.map(serde_json::from_value::<Option<IdentitySpec>>).transpose()?.flatten();
        Ok(Self { identity: serde_json::from_value(stored)?, observe })
    }
}

impl TryFrom<Fields> for IdentitySpec {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let Fields { secret_ref, service_account_ref, operator_identity, instance_role, assume_role, session_policy } =
            fields;
        let sources = [
            secret_ref.map(CredentialSource::Secret),
            service_account_ref.map(CredentialSource::ServiceAccount),
            operator_identity.map(CredentialSource::Operator),
            instance_role.map(|InstanceRole {}| CredentialSource::Instance),
        ];
        let mut sources = sources.into_iter().flatten();
        let (Some(source), None) = (sources.next(), sources.next()) else { return Err(ONE_SOURCE) };
        if source.is_lent() && assume_role.as_ref().is_some_and(|role| role.external_id.is_some()) {
            return Err(NO_EXTERNAL_ID);
        }
        let has_role =
            assume_role.is_some() || !matches!(source, CredentialSource::Secret(_) | CredentialSource::Instance);
        if !has_role && session_policy.is_some_and(|policy| policy != SessionPolicy::None) {
            return Err(POLICY_NEEDS_ROLE);
        }
        Ok(Self { source, assume_role, session_policy })
    }
}

impl From<IdentitySpec> for Fields {
    fn from(spec: IdentitySpec) -> Self {
        let IdentitySpec { source, assume_role, session_policy } = spec;
        let mut fields = Self {
            secret_ref: None,
            service_account_ref: None,
            operator_identity: None,
            instance_role: None,
            assume_role,
            session_policy,
        };
        match source {
            CredentialSource::Secret(secret) => fields.secret_ref = Some(secret),
            CredentialSource::ServiceAccount(account) => fields.service_account_ref = Some(account),
            CredentialSource::Operator(operator) => fields.operator_identity = Some(operator),
            CredentialSource::Instance => fields.instance_role = Some(InstanceRole {}),
        }
        fields
    }
}

impl JsonSchema for Credentials {
    fn inline_schema() -> bool {
        Fields::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        "Credentials".into()
    }

    /// The fields of an identity, and `observe` with the same fields. A schema of Kubernetes cannot refer to itself.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (mut schema, mut observe) = (Fields::json_schema(generator), Fields::json_schema(generator));
        observe.insert("description".to_owned(), OBSERVE.into());
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.insert("observe".to_owned(), observe.to_value());
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ROLE: &str = "acs:ram::1:role/kill";

    fn read(stored: Value) -> Result<Credentials, String> {
        serde_json::from_value(stored).map_err(|error| error.to_string())
    }

    #[test]
    fn what_the_api_server_refuses_cannot_be_read() {
        let secret = json!({"name": "ak"});
        let role = json!({"roleARN": ROLE, "externalID": "ext-1"});
        for (stored, error) in [
            (json!({}), ONE_SOURCE),
            (json!({"secretRef": null}), ONE_SOURCE),
            (json!({"secretRef": secret, "instanceRole": {}}), ONE_SOURCE),
            (json!({"instanceRole": {}, "assumeRole": role}), NO_EXTERNAL_ID),
            (json!({"operatorIdentity": {"roleARN": ROLE}, "assumeRole": role}), NO_EXTERNAL_ID),
            (json!({"secretRef": secret, "sessionPolicy": "Actions"}), POLICY_NEEDS_ROLE),
            (json!({"instanceRole": {}, "sessionPolicy": "Instances"}), POLICY_NEEDS_ROLE),
            (json!({"instanceRole": {"role": "r"}}), "unknown field `role`"),
            (json!({"secretRef": secret, "tokenFile": "/etc/passwd"}), "unknown field `tokenFile`"),
            (json!({"serviceAccountRef": {"name": "a", "roleARN": ROLE}}), "missing field `oidcProviderARN`"),
            (json!("ak"), "invalid type"),
        ] {
            let refused = read(stored.clone()).unwrap_err();
            assert!(refused.contains(error), "{stored}: {refused}");
            let observed = read(json!({"secretRef": secret, "observe": stored})).unwrap_err();
            assert!(observed.contains(error), "{stored}: {observed}");
        }
        let twice = json!({"secretRef": secret, "observe": {"secretRef": secret, "observe": {"secretRef": secret}}});
        assert!(read(twice).unwrap_err().contains("unknown field `observe`"));
    }

    #[test]
    fn what_is_read_is_written_as_it_was() {
        let account = json!({"name": "kill", "roleARN": ROLE, "oidcProviderARN": "acs:ram::1:oidc-provider/p"});
        let role = json!({"roleARN": ROLE, "externalID": "ext-1", "durationSeconds": 900});
        for stored in [
            json!({"secretRef": {"name": "ak"}}),
            json!({"secretRef": {"name": "ak"}, "assumeRole": role, "observe": {"instanceRole": {}}}),
            json!({"serviceAccountRef": account, "sessionPolicy": "None"}),
            json!({"operatorIdentity": {"roleARN": ROLE}, "observe": {"serviceAccountRef": account, "assumeRole": role}}),
        ] {
            assert_eq!(serde_json::to_value(read(stored.clone()).unwrap()).unwrap(), stored);
        }
        let shortest =
            read(json!({"secretRef": {"name": "ak"}, "assumeRole": {"roleARN": ROLE}, "observe": null})).unwrap();
        assert_eq!(shortest.identity.assume_role.unwrap().duration_seconds, 3600);
        assert_eq!((shortest.observe, shortest.identity.session_policy), (None, None));
    }

    #[test]
    fn each_secret_is_named_once() {
        let names =
            |stored| read(stored).unwrap().secret_names().iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let of = |name: &str| json!({"name": name});
        assert_eq!(names(json!({"secretRef": of("a"), "observe": {"secretRef": of("b")}})), ["a", "b"]);
        assert_eq!(names(json!({"secretRef": of("a"), "observe": {"secretRef": of("a")}})), ["a"]);
        assert_eq!(names(json!({"instanceRole": {}, "observe": {"secretRef": of("b")}})), ["b"]);
        assert_eq!(names(json!({"instanceRole": {}})), [""; 0]);
    }
}
