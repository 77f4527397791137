//! `OceanBaseConnection`: where to call, and as whom.

#![allow(clippy::duplicated_attributes, reason = "the lint reads the arguments of several printer columns as one list")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_derive::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::conditions::{Conditions, conditions_schema};
use super::session_kill::{IS_OBJECT_NAME, is_id};
use super::status::Operation;

/// Where to call, and as whom. Only here may an endpoint be set: whoever chooses it can collect signed requests.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
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
    doc = "OceanBaseConnection says where the ApsaraDB for OceanBase API is called, with whose credentials, and which instances and tenants requests may name.",
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.regionID"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Operation", type_ = "string", json_path = ".status.operation"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Last Probe", type_ = "date", json_path = ".status.lastProbeTime", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpoint", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(oldSelf.instanceIDs) || size(oldSelf.instanceIDs) == 0 || has(self.instanceIDs)")
        .message("instanceIDs must not be removed: set it to [] to let requests name any instance")
        .field_path(".instanceIDs"),
    validation = Rule::new("!has(oldSelf.tenantIDs) || size(oldSelf.tenantIDs) == 0 || has(self.tenantIDs)")
        .message("tenantIDs must not be removed: set it to [] to let requests name any tenant")
        .field_path(".tenantIDs"),
    validation = Rule::new("self.signatureMethod != 'HMAC-SHA1' || has(self.endpoint)")
        .message("signatureMethod HMAC-SHA1 is for private-cloud gateways: name the gateway by endpoint, or use ACS3-HMAC-SHA256")
        .field_path(".signatureMethod")
)]
pub struct OceanBaseConnectionSpec {
    /// The region, such as cn-hangzhou. The endpoint follows from it.
    #[serde(rename = "regionID")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = (IS_REGION, "regionID must be the ID of a region, such as cn-hangzhou, ap-southeast-1 or cn-north-2-gov-1"))]
    pub region_id: String,

    /// Public calls oceanbasepro.{region}.aliyuncs.com, VPC calls oceanbasepro-vpc.{region}.aliyuncs.com.
    #[serde(default)]
    pub network: Network,

    /// Overrides the endpoint: a host name, with a port if need be. It must be oceanbasepro.{region}.aliyuncs.com or
    /// oceanbasepro-vpc.{region}.aliyuncs.com unless the operator runs with --allow-endpoint for exactly this value; only
    /// such an allowed value may start with http:// or have another port than 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = (IS_ENDPOINT, "endpoint must be a lower-case host name with an optional port and no path, such as oceanbasepro.cn-hangzhou.aliyuncs.com"))]
    pub endpoint: Option<String>,

    /// The instances that requests may name. Unset or empty means any that the access key can reach; a list is emptied, not
    /// removed.
    #[serde(rename = "instanceIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)))]
    // Of a list that is merged item by item not even [] is left when its last item goes.
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = (ARE_IDS, "instanceIDs must be lower-case letters, digits, - and _ only, as in requests: copy them from the ApsaraDB for OceanBase console")
    )]
    pub instance_ids: Vec<String>,

    /// The tenants that requests may name. Unset or empty means any that the access key can reach; a list is emptied, not
    /// removed.
    #[serde(rename = "tenantIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)))]
    // Of a list that is merged item by item not even [] is left when its last item goes.
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = (ARE_IDS, "tenantIDs must be lower-case letters, digits, - and _ only, as in requests: copy them from the ApsaraDB for OceanBase console")
    )]
    pub tenant_ids: Vec<String>,

    /// The operation that ends sessions. Auto: KillProcessList, and BatchKillProcessList once the gateway has said that it
    /// no longer offers the former. A name: that operation only.
    #[serde(default)]
    pub kill_operation: KillOperation,

    /// What of a session's statement is stored in a status, which more people can read than the database. Digest: its
    /// SHA-256, as sha256:HEX, by which equal statements can be told. Truncated: its first 256 characters, passwords in
    /// them included. None: nothing.
    #[serde(default)]
    pub sql_text: SqlTextPolicy,

    /// How requests are signed. HMAC-SHA1 is the older method, for private-cloud gateways: it does not cover the host, so
    /// it is used only at an endpoint that --allow-endpoint names.
    #[serde(default)]
    pub signature_method: SignatureMethod,

    /// Seconds a call may take in all, from connecting to the last byte of the answer.
    #[serde(default = "default_request_timeout_seconds")]
    #[schemars(range(min = 1, max = 60))]
    pub request_timeout_seconds: i32,

    /// The access key.
    pub credentials: Credentials,
}

/// An area, a place, and what Alibaba Cloud adds to them: a number, and what the region is for. Not any label: customers name
/// hosts below others, such as oss-cn-hangzhou. The operator holds the endpoint to the same form.
const IS_REGION: &str =
    "self.matches('^(af|ap|cn|eu|me|na|sa|us)-[a-z]+(-[0-9]{1,2})?(-(acdr|finance|gov|jva|lr)(-[0-9]{1,2})?)?$')";

/// Each as a request may name it: another entry would allow nothing.
const ARE_IDS: &str = concat!("self.all(id, ", is_id!("id"), ")");

/// A host name, an IPv4 address or an IPv6 address in brackets, with an optional scheme and port.
const IS_ENDPOINT: &str =
    r"self.matches(r'^(https?://)?([a-z0-9]([a-z0-9.-]*[a-z0-9])?|[\[][0-9a-f:]+[\]])(:[0-9]{1,5})?$')";

/// Seconds; what the official SDKs use as their read time-out.
const fn default_request_timeout_seconds() -> i32 {
    10
}

/// The network from which the gateway is reached.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The public endpoint.
    #[default]
    Public,
    /// The endpoint inside Alibaba Cloud's virtual private clouds.
    #[serde(rename = "VPC")]
    Vpc,
}

/// The operation that ends sessions.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillOperation {
    /// KillProcessList, or BatchKillProcessList where the gateway does not offer it.
    #[default]
    Auto,
    /// KillProcessList only.
    KillProcessList,
    /// BatchKillProcessList only, always by session ID.
    BatchKillProcessList,
}

/// What of a session's statement is stored.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqlTextPolicy {
    /// Its SHA-256, as sha256:HEX: equal statements can be told, their content cannot.
    #[default]
    Digest,
    /// Its first 256 characters, with what cannot be seen escaped.
    Truncated,
    /// Nothing.
    None,
}

/// How requests are signed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureMethod {
    /// Signature V3, the default of all current SDKs.
    #[default]
    #[serde(rename = "ACS3-HMAC-SHA256")]
    Acs3HmacSha256,
    /// Signature V1 of the RPC style.
    #[serde(rename = "HMAC-SHA1")]
    HmacSha1,
}

/// Where the access key is kept.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// A Secret in the same namespace, labelled sessionkill.dev/credentials: "true". Which of its keys hold the access key the
    /// Secret itself says.
    pub secret_ref: SecretRef,
}

/// Names a Secret of the same namespace. There is no namespace field on purpose; nor are there names of keys: whoever may
/// write connections but not read Secrets could have the secret sent as the ID.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = (IS_OBJECT_NAME, "secretRef.name must be the name of a Secret: lower-case letters, digits, - and ."))]
    pub name: String,
}

/// How calls through the connection fare. Written by the operator only, on changes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase")]
pub struct OceanBaseConnectionStatus {
    /// The metadata.generation this status speaks of; -1 until the operator has asked the gateway.
    #[serde(default)]
    pub observed_generation: i64,
    /// The operation in use: with Auto, the one that the gateway offers.
    // As an option it would be described by the words of its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Operation")]
    pub operation: Option<Operation>,
    /// When the gateway was last asked whether it offers the operation and takes the access key. Such a probe ends no
    /// session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    /// Ready: the last call or probe was answered. CredentialsValid: the gateway took the access key. ServerSideFence:
    /// calls carry a time stamp that the gateway itself refuses after the dispatch deadline. Stalled: it works again only if
    /// somebody changes something, such as the access key; absent otherwise. ClockSkew: the gateway's clock and the operator's
    /// differ by more than they may; absent otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Conditions,
}
