//! `OceanBaseConnection`: the backend to call, and its credentials.

#![allow(clippy::duplicated_attributes, reason = "the lint reads the arguments of several printer columns as one list")]

use std::borrow::Cow;

use kube_derive::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::alibaba_cloud::AlibabaCloud;
use super::connection_status::OceanBaseConnectionStatus;
use super::operation::BackendName;
use super::session_kill::ARE_IDS;
use super::sql::{SYS_TENANT, Sql};

/// The error for a spec without a backend. Specs of an earlier form have these fields directly in `spec`.
const NO_BACKEND: &str = "spec.alibabaCloud or spec.sql is required: move regionID, network, endpoint, killOperation, \
                          signatureMethod, instanceIDs and credentials below alibabaCloud";

/// The error for a spec with several backends.
const ONE_BACKEND: &str = "spec.alibabaCloud and spec.sql exclude each other: create a connection for each";

/// Allows a spec without a backend if the stored one has none either, so that the operator can write a status that says
/// so. The API server refuses every status beside a spec that breaks a rule and has unknown fields.
const HAS_BACKEND: &str = "has(self.alibabaCloud) || has(self.sql) || (oldSelf.hasValue() && !has(oldSelf.value().alibabaCloud) && !has(oldSelf.value().sql))";

/// What follows a call reads the process list through the connection of that name: another backend's list does not have
/// the call's sessions, so that they would seem to have ended.
const SAME_BACKEND: &str =
    "(!has(oldSelf.alibabaCloud) || !has(self.sql)) && (!has(oldSelf.sql) || !has(self.alibabaCloud))";

/// The backend to call, and what requests may name. A spec without a backend cannot be deserialized, so the rest of the
/// code never meets one.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    crates(kube = "::kube_derive", kube_core = "::kube_core"),
    group = "sessionkill.dev",
    version = "v1alpha1",
    kind = "OceanBaseConnection",
    plural = "oceanbaseconnections",
    namespaced,
    status = "OceanBaseConnectionStatus",
    derive = "PartialEq",
    shortname = "obc",
    category = "sessionkill-dev",
    doc = "OceanBaseConnection says what ends the sessions, with which credentials, and for which instances and tenants: the API of ApsaraDB for OceanBase, or the SQL of any OceanBase.",
    printcolumn(name = "Backend", type_ = "string", json_path = ".status.backend"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.alibabaCloud.regionID"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Operation", type_ = "string", json_path = ".status.operation"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Last Probe", type_ = "date", json_path = ".status.lastProbeTime", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.alibabaCloud.endpoint", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(try_from = "Value", into = "Fields")]
pub struct OceanBaseConnectionSpec {
    /// What ends the sessions, and how it is called.
    pub backend: BackendSpec,
    /// The tenants that requests may name. Empty means any.
    pub tenant_ids: Vec<String>,
    /// How a session's statement is stored in a status.
    pub sql_text: SqlTextPolicy,
    /// How many seconds one call may take in all.
    pub request_timeout_seconds: i32,
}

/// What ends the sessions. A spec has exactly one.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendSpec {
    /// The API of ApsaraDB for OceanBase.
    AlibabaCloud(AlibabaCloud),
    /// The SQL of any OceanBase.
    Sql(Sql),
    /// A server that a test answers for.
    #[cfg(feature = "scripted")]
    Scripted(Scripted),
}

/// The connection to a server that a test answers for. No schema has it, and no image.
#[cfg(feature = "scripted")]
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scripted {
    /// Its address and port.
    pub address: String,
}

/// The members of the union: what a spec must have one of.
const MEMBERS: &[&str] = &[
    "alibabaCloud",
    "sql",
    #[cfg(feature = "scripted")]
    "scripted",
];

impl BackendSpec {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> BackendName {
        match self {
            Self::AlibabaCloud(_) => BackendName::AlibabaCloud,
            Self::Sql(_) => BackendName::Sql,
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => BackendName::Scripted,
        }
    }

    /// The instances that requests may name, any if there is none, and the field of the spec that lists them.
    #[must_use]
    pub const fn instance_ids(&self) -> (&'static str, &[String]) {
        match self {
            Self::AlibabaCloud(alibaba_cloud) => ("alibabaCloud.instanceIDs", alibaba_cloud.instance_ids.as_slice()),
            Self::Sql(sql) => ("sql.cluster", std::slice::from_ref(&sql.cluster)),
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => ("scripted", &[]),
        }
    }

    /// The one tenant that requests may name, and the field of the spec that names it; `None` if any.
    #[must_use]
    pub fn tenant_id(&self) -> Option<(&'static str, &String)> {
        match self {
            Self::Sql(sql) if sql.tenant != SYS_TENANT => Some(("sql.tenant", &sql.tenant)),
            _ => None,
        }
    }

    /// The names of the Secrets with the credentials, each once; none if they do not come from Secrets.
    #[must_use]
    pub fn secret_names(&self) -> Vec<&str> {
        match self {
            Self::AlibabaCloud(alibaba_cloud) => alibaba_cloud.credentials.secret_names(),
            Self::Sql(sql) => vec![&sql.credentials.secret_ref.name],
            #[cfg(feature = "scripted")]
            Self::Scripted(_) => vec![],
        }
    }
}

/// The backend to call, and what requests may name. An endpoint can be set only here, never in a request: who chooses
/// the endpoint can collect signed requests.
#[derive(KubeSchema, Serialize, Deserialize)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(HAS_BACKEND).message(NO_BACKEND).field_path(".alibabaCloud").optional_old_self(true),
    validation = Rule::new("!has(self.alibabaCloud) || !has(self.sql)").message(ONE_BACKEND).field_path(".sql"),
    validation = Rule::new(SAME_BACKEND)
        .message("the backend of a connection cannot be changed: create another connection")
        .field_path(".sql"),
    validation = Rule::new("!has(oldSelf.tenantIDs) || size(oldSelf.tenantIDs) == 0 || has(self.tenantIDs)")
        .message("tenantIDs must not be removed: set it to [] to let requests name any tenant")
        .field_path(".tenantIDs")
)]
struct Fields {
    /// Ends sessions by the API of ApsaraDB for OceanBase. Set this or sql.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alibaba_cloud: Option<AlibabaCloud>,

    /// Ends sessions by SQL, on any OceanBase. Set this or alibabaCloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sql: Option<Sql>,

    #[cfg(feature = "scripted")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    scripted: Option<Scripted>,

    /// The tenants that requests may name, at most 256. Unset or empty means any that the credentials can reach. You can
    /// empty the list, but not remove it.
    #[serde(rename = "tenantIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)))]
    // Atomic: a list that is merged item by item is removed together with its last item, and leaves no [].
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = (ARE_IDS, "tenantIDs must be lower-case letters, digits, - and _ only, as in requests: copy them from the ApsaraDB for OceanBase console")
    )]
    tenant_ids: Vec<String>,

    /// How a session's statement is stored in a status, which more people can read than the database. Digest: its
    /// SHA-256 as sha256:HEX, so that you can find equal statements. Truncated: its first 256 characters, with any
    /// passwords in them. None: not at all.
    #[serde(default)]
    sql_text: SqlTextPolicy,

    /// How many seconds one call may take in all, from connecting to the last byte of the answer: 1 to 60.
    #[serde(default = "default_request_timeout_seconds")]
    #[schemars(range(min = 1, max = 60))]
    request_timeout_seconds: i32,
}

impl TryFrom<Value> for OceanBaseConnectionSpec {
    type Error = serde_json::Error;

    fn try_from(stored: Value) -> Result<Self, Self::Error> {
        let no_backend = || serde_json::Error::custom(NO_BACKEND);
        // Look for the backend first: a spec of the earlier form would otherwise get an error about an unknown field.
        MEMBERS.iter().find_map(|member| stored.get(member)).ok_or_else(no_backend)?;
        let mut fields: Fields = serde_json::from_value(stored)?;
        let backend = fields.take_backend().ok_or_else(no_backend)?;
        if fields.take_backend().is_some() {
            return Err(serde_json::Error::custom(ONE_BACKEND));
        }
        let Fields { tenant_ids, sql_text, request_timeout_seconds, .. } = fields;
        Ok(Self { backend, tenant_ids, sql_text, request_timeout_seconds })
    }
}

impl Fields {
    /// The member of the union that is set.
    fn take_backend(&mut self) -> Option<BackendSpec> {
        let backend = self.alibaba_cloud.take().map(BackendSpec::AlibabaCloud);
        let backend = backend.or_else(|| self.sql.take().map(BackendSpec::Sql));
        #[cfg(feature = "scripted")]
        let backend = backend.or_else(|| self.scripted.take().map(BackendSpec::Scripted));
        backend
    }
}

impl From<OceanBaseConnectionSpec> for Fields {
    fn from(spec: OceanBaseConnectionSpec) -> Self {
        let OceanBaseConnectionSpec { backend, tenant_ids, sql_text, request_timeout_seconds } = spec;
        let mut fields = Self {
            alibaba_cloud: None,
            sql: None,
            #[cfg(feature = "scripted")]
            scripted: None,
            tenant_ids,
            sql_text,
            request_timeout_seconds,
        };
        match backend {
            BackendSpec::AlibabaCloud(alibaba_cloud) => fields.alibaba_cloud = Some(alibaba_cloud),
            BackendSpec::Sql(sql) => fields.sql = Some(sql),
            #[cfg(feature = "scripted")]
            BackendSpec::Scripted(scripted) => fields.scripted = Some(scripted),
        }
        fields
    }
}

impl JsonSchema for OceanBaseConnectionSpec {
    fn inline_schema() -> bool {
        Fields::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        "OceanBaseConnectionSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Fields::json_schema(generator)
    }
}

/// In seconds. It is the read time-out of the official SDKs.
const fn default_request_timeout_seconds() -> i32 {
    10
}

/// How a session's statement is stored.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqlTextPolicy {
    /// Its SHA-256 as sha256:HEX. It shows which statements are equal, but not what they say.
    #[default]
    Digest,
    /// Its first 256 characters, with invisible characters escaped.
    Truncated,
    /// Not at all.
    None,
}
