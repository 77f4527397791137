//! The backend for ApsaraDB for OceanBase: Alibaba Cloud's API.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credentials::Credentials;
use super::session_kill::ARE_IDS;

/// Whether an identity that the operator lends is used, to end or to list sessions.
macro_rules! is_lent {
    () => {
        "has(self.credentials.operatorIdentity) || has(self.credentials.instanceRole) || (has(self.credentials.observe) && (has(self.credentials.observe.operatorIdentity) || has(self.credentials.observe.instanceRole)))"
    };
}

/// Whether an access key is limited to the instances that requests may name.
macro_rules! limits_instances {
    () => {
        "(has(self.credentials.sessionPolicy) && self.credentials.sessionPolicy == 'Instances') || (has(self.credentials.observe) && has(self.credentials.observe.sessionPolicy) && self.credentials.observe.sessionPolicy == 'Instances')"
    };
}

/// How to call the API of ApsaraDB for OceanBase: at which endpoint, with which access key, and for which instances.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(oldSelf.instanceIDs) || size(oldSelf.instanceIDs) == 0 || has(self.instanceIDs)")
        .message("instanceIDs must not be removed: set it to [] to let requests name any instance")
        .field_path(".instanceIDs"),
    validation = Rule::new("self.signatureMethod != 'HMAC-SHA1' || has(self.endpoint)")
        .message("signatureMethod HMAC-SHA1 is for private-cloud gateways: name the gateway by endpoint, or use ACS3-HMAC-SHA256")
        .field_path(".signatureMethod"),
    validation = Rule::new(concat!("!has(self.endpoint) || !(", is_lent!(), ")"))
        .message("operatorIdentity and instanceRole call the region's own endpoint only: remove endpoint")
        .field_path(".endpoint"),
    validation = Rule::new(concat!("self.signatureMethod != 'HMAC-SHA1' || !(", is_lent!(), ")"))
        .message("operatorIdentity and instanceRole need ACS3-HMAC-SHA256: HMAC-SHA1 does not cover the host that is called")
        .field_path(".signatureMethod"),
    validation = Rule::new(concat!("!(", limits_instances!(), ") || (has(self.instanceIDs) && size(self.instanceIDs) > 0)"))
        .message("sessionPolicy Instances limits access keys to instanceIDs: list at least one, or set sessionPolicy to Actions")
        .field_path(".instanceIDs")
)]
pub struct AlibabaCloud {
    /// The ID of the region, such as cn-hangzhou. The endpoint is derived from it.
    #[serde(rename = "regionID")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = (IS_REGION, "regionID must be the ID of a region, such as cn-hangzhou, ap-southeast-1 or cn-north-2-gov-1"))]
    pub region_id: String,

    /// Which endpoint of the region is called. Public: oceanbasepro.{region}.aliyuncs.com. VPC:
    /// oceanbasepro-vpc.{region}.aliyuncs.com.
    #[serde(default)]
    pub network: Network,

    /// Overrides the endpoint: a host name with an optional port. It must be oceanbasepro.{region}.aliyuncs.com or
    /// oceanbasepro-vpc.{region}.aliyuncs.com. For any other value, run the operator with --allow-endpoint for exactly
    /// this value. Only such an allowed value may start with http:// or have another port than 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = (IS_ENDPOINT, "endpoint must be a lower-case host name with an optional port and no path, such as oceanbasepro.cn-hangzhou.aliyuncs.com"))]
    pub endpoint: Option<String>,

    /// The instances that requests may name, at most 256. Unset or empty means any that the access key can reach. You
    /// can empty the list, but not remove it.
    #[serde(rename = "instanceIDs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)))]
    // Atomic: a list that is merged item by item is removed together with its last item, and leaves no [].
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = (ARE_IDS, "instanceIDs must be lower-case letters, digits, - and _ only, as in requests: copy them from the ApsaraDB for OceanBase console")
    )]
    pub instance_ids: Vec<String>,

    /// The operation that ends sessions. Auto: KillProcessList, and BatchKillProcessList once the gateway has answered
    /// that it does not offer KillProcessList. A name: only that operation.
    #[serde(default)]
    pub kill_operation: KillOperation,

    /// How calls are signed. HMAC-SHA1 is the older method, for private-cloud gateways. It does not cover the host, so
    /// it is used only at an endpoint that --allow-endpoint names.
    #[serde(default)]
    pub signature_method: SignatureMethod,

    /// Whose access key signs the calls. Exactly one of secretRef, serviceAccountRef, operatorIdentity and instanceRole.
    /// A change acts at the next call.
    pub credentials: Credentials,
}

/// Whether a string has the form of a region's ID: an area, a place, and what Alibaba Cloud adds to them (a number, and
/// the purpose of the region). Not any DNS label: customers can have hosts below others, such as oss-cn-hangzhou. The
/// operator checks endpoints against the same form.
const IS_REGION: &str =
    "self.matches('^(af|ap|cn|eu|me|na|sa|us)-[a-z]+(-[0-9]{1,2})?(-(acdr|finance|gov|jva|lr)(-[0-9]{1,2})?)?$')";

/// A host name, an IPv4 address or an IPv6 address in brackets, with an optional scheme and port.
const IS_ENDPOINT: &str =
    r"self.matches(r'^(https?://)?([a-z0-9]([a-z0-9.-]*[a-z0-9])?|[\[][0-9a-f:]+[\]])(:[0-9]{1,5})?$')";

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

/// How calls are signed.
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
