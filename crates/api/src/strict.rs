//! What the API server would drop without a word: nulls, and fields that a schema does not name.
//!
//! A template that renders nothing for a field writes a null. The API server takes a null for an absent field, or puts the
//! field's default there: a dry run would become a kill. A field by another name is pruned, and with it a precondition.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, ValidationRule,
};

/// The most fields of an object, unknown ones among them: whoever looks for those looks at all.
const MAX_FIELDS: i64 = 64;

/// Lets nulls and unknown fields of all objects in `schema` reach those who refuse them. Nulls are refused by the schema, unknown
/// fields by the admission policies in `deploy/`; the operator acts on no object that has an unknown field.
pub(super) fn drop_nothing(schema: &mut JSONSchemaProps) {
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        drop_nothing(items);
    }
    let Some(properties) = &mut schema.properties else { return };
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, property) in properties {
        drop_nothing(property);
        // The API server drops a null for a required field, and then refuses that it is absent.
        if !required.contains(name) {
            property.nullable = Some(true);
            // Null is none of the values of an enum.
            if property.enum_.is_none() {
                schema.x_kubernetes_validations.get_or_insert_default().push(is_not_null(name));
            }
        }
    }
    schema.max_properties = Some(MAX_FIELDS);
    keep_unknown_fields(schema);
}

/// Lets unknown fields of the object itself reach those who refuse them.
pub(super) fn keep_unknown_fields(schema: &mut JSONSchemaProps) {
    schema.x_kubernetes_preserve_unknown_fields = Some(true);
}

/// For CEL as well there is no field that is null, but it is among the keys.
fn is_not_null(field: &str) -> ValidationRule {
    ValidationRule {
        rule: format!("has(self.{field}) || dyn(self).all(field, field != '{field}')"),
        message: Some(format!("{field} must not be null: give it a value, or leave it out")),
        field_path: Some(format!(".{field}")),
        ..ValidationRule::default()
    }
}
