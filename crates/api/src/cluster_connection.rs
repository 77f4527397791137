//! `ClusterOceanBaseConnection`: a connection of no namespace, lent to those that it allows.

#![allow(clippy::duplicated_attributes, reason = "the lint reads the arguments of several printer columns as one list")]

use std::borrow::Cow;

use kube_derive::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::allowed_namespaces::AllowedNamespaces;
use super::connection::OceanBaseConnectionSpec;
use super::connection_status::OceanBaseConnectionStatus;

/// The field beside those of an `OceanBaseConnection`.
const ALLOWED_NAMESPACES: &str = "allowedNamespaces";

/// A connection, and the namespaces whose requests may use it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    crates(kube = "::kube_derive", kube_core = "::kube_core"),
    group = "sessionkill.dev",
    version = "v1alpha1",
    kind = "ClusterOceanBaseConnection",
    plural = "clusteroceanbaseconnections",
    status = "OceanBaseConnectionStatus",
    derive = "PartialEq",
    shortname = "cobc",
    category = "sessionkill-dev",
    doc = "ClusterOceanBaseConnection is an OceanBaseConnection of no namespace. Requests of the namespaces that it allows may use it. Its Secrets and Services are in the operator's own namespace, so that no other namespace needs to have the credentials.",
    printcolumn(name = "Backend", type_ = "string", json_path = ".status.backend"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.alibabaCloud.regionID"),
    printcolumn(
        name = "Allowed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"NamespacesAllowed\")].status"
    ),
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
#[serde(try_from = "Value", rename_all = "camelCase")]
pub struct ClusterOceanBaseConnectionSpec {
    /// All that an `OceanBaseConnection` says.
    #[serde(flatten)]
    pub connection: OceanBaseConnectionSpec,
    /// The namespaces whose requests may use it.
    #[serde(skip_serializing_if = "AllowedNamespaces::is_none")]
    pub allowed_namespaces: AllowedNamespaces,
}

impl TryFrom<Value> for ClusterOceanBaseConnectionSpec {
    type Error = serde_json::Error;

    fn try_from(mut stored: Value) -> Result<Self, Self::Error> {
        let allowed = stored.as_object_mut().and_then(|fields| fields.remove(ALLOWED_NAMESPACES));
        let allowed_namespaces = allowed.map(serde_json::from_value).transpose()?.unwrap_or_default();
        Ok(Self { connection: OceanBaseConnectionSpec::try_from(stored)?, allowed_namespaces })
    }
}

impl JsonSchema for ClusterOceanBaseConnectionSpec {
    fn inline_schema() -> bool {
        OceanBaseConnectionSpec::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        "ClusterOceanBaseConnectionSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = OceanBaseConnectionSpec::json_schema(generator);
        let allowed = AllowedNamespaces::json_schema(generator);
        if let Some(fields) = schema.ensure_object().get_mut("properties").and_then(Value::as_object_mut) {
            fields.insert(ALLOWED_NAMESPACES.to_owned(), allowed.to_value());
        }
        schema
    }
}
