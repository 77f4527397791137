//! The namespaces whose requests may use a `ClusterOceanBaseConnection`.

use std::collections::BTreeMap;

use kube_derive::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// Whether each entry is the name of a namespace: any other entry would allow nothing.
const ARE_NAMESPACES: &str = "self.all(name, name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))";

/// In Kubernetes an empty selector selects everything, and a template may render nothing for its labels.
const SELECTS_BY_SOMETHING: &str = "(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)";

/// The error for an empty selector.
const SELECTS_ALL: &str = "selector must have a label or an expression: an empty one would select every namespace; if that is meant, write \
     matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]";

/// A patch with a null removes a label, and a template that renders nothing for it writes a null. No namespace must be
/// allowed because of that.
const LABELS_ARE_NOT_REMOVED: &str = "!has(oldSelf.matchLabels) || (has(self.matchLabels) && oldSelf.matchLabels.all(label, label in self.matchLabels)) || \
     size(oldSelf.matchLabels) == 0";

/// The namespaces whose requests may use the connection: those with a name in names, and those that selector selects. Unset
/// means none.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedNamespaces {
    /// The names of namespaces, at most 256. Unset or empty means none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    // Atomic: an apply says which namespaces are allowed, and nothing is left of earlier ones.
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = (ARE_NAMESPACES, "names must be names of namespaces: lower-case letters, digits and -")
    )]
    pub names: Vec<String>,

    /// Selects namespaces by their labels. They are read from the API server for each call. Whoever may label a namespace
    /// decides. Unset means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

impl AllowedNamespaces {
    /// Whether no namespace is allowed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.names.is_empty() && self.selector.is_none()
    }
}

/// A selector of namespaces. All of its labels and expressions must hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new(SELECTS_BY_SOMETHING).message(SELECTS_ALL),
    validation = Rule::new(LABELS_ARE_NOT_REMOVED)
        .message("no label must be removed from matchLabels, as that allows more namespaces: remove selector first, then write the new one")
        .field_path(".matchLabels"),
    validation = Rule::new("!has(oldSelf.matchExpressions) || size(oldSelf.matchExpressions) == 0 || has(self.matchExpressions)")
        .message("matchExpressions must not be removed: set it to [] to select by labels alone")
        .field_path(".matchExpressions")
)]
pub struct NamespaceSelector {
    /// Labels that a namespace must have, with exactly these values, at most 16.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub match_labels: BTreeMap<String, String>,

    /// What else must hold of its labels, at most 16 expressions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub match_expressions: Vec<LabelRequirement>,
}

/// What must hold of one label.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)")
        .message("values must be given for the operators In and NotIn, and left out for Exists and DoesNotExist")
        .field_path(".values")
)]
pub struct LabelRequirement {
    /// The key of the label.
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = (IS_LABEL, "key must be the key of a label, such as team or example.com/team"))]
    pub key: String,

    /// In: the label has one of the values. NotIn: it has another value, or there is no such label. Exists: there is such a
    /// label. DoesNotExist: there is none.
    pub operator: LabelOperator,

    /// The values for In and NotIn, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = (ARE_LABEL_VALUES, "values must be values of a label: letters, digits, -, _ and .")
    )]
    pub values: Vec<String>,
}

/// Whether a string is the key of a label.
const IS_LABEL: &str =
    "self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')";

/// Whether each entry can be the value of a label: with NotIn, any other entry would exclude nothing.
const ARE_LABEL_VALUES: &str = "self.all(value, value.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))";

/// How a label is compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// It has another value, or there is no such label.
    NotIn,
    /// There is such a label.
    Exists,
    /// There is none.
    DoesNotExist,
}

fn labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}
