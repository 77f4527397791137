//! Descriptions as `kubectl explain` shows them: it breaks lines by itself.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// What a kind without a namespace says of the namespace that the other kind has.
const OPERATORS_NAMESPACE: &str = "the operator's own namespace";
const OWN_NAMESPACE: [&str; 2] = ["the same namespace", "this namespace"];

/// Joins the lines of each paragraph in all descriptions of `schema`. The lines are as long as those of the source.
pub(super) fn join_lines(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        let paragraphs = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *description = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
    parts(schema).for_each(join_lines);
}

/// Says in all descriptions and messages of `schema`, whose kind has no namespace, where Secrets and Services are.
pub(super) fn name_the_operators_namespace(schema: &mut JSONSchemaProps) {
    let rename = |text: &mut String| {
        for own in OWN_NAMESPACE {
            *text = text.replace(own, OPERATORS_NAMESPACE);
        }
    };
    schema.description.iter_mut().for_each(rename);
    schema.x_kubernetes_validations.iter_mut().flatten().filter_map(|rule| rule.message.as_mut()).for_each(rename);
    parts(schema).for_each(name_the_operators_namespace);
}

/// The schemas of the fields, the items and the values of `schema`.
fn parts(schema: &mut JSONSchemaProps) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let fields = schema.properties.iter_mut().flat_map(|properties| properties.values_mut());
    let items = match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items.as_mut()),
        _ => None,
    };
    let values = match &mut schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values.as_mut()),
        _ => None,
    };
    fields.chain(items).chain(values)
}
