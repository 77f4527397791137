//! Keeps what the API server would drop silently: nulls, and fields that the schema does not name.
//!
//! A template that renders nothing for a field writes a null. The API server treats a null as an absent field, or
//! replaces it with the field's default: a dry run would become a kill. It prunes a field with a wrong name: a
//! precondition would be lost.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};

/// The most fields of an object, unknown ones included. Rules that look for unknown fields look at every field.
const MAX_FIELDS: i64 = 64;

/// Keeps nulls and unknown fields of all objects in `schema`, so that they can be refused. The schema itself refuses
/// nulls. The admission policies in `deploy/` refuse unknown fields. The operator acts on no object with an unknown
/// field.
pub(super) fn drop_nothing(schema: &mut JSONSchemaProps) {
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        drop_nothing(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        values.nullable = Some(true);
        schema.x_kubernetes_validations.get_or_insert_default().push(no_value_is_null());
    }
    let Some(properties) = &mut schema.properties else {
        // An object without fields has no place in the policies: its own bound refuses a field, if it is kept.
        if schema.type_.as_deref() == Some("object") && schema.max_properties == Some(0) {
            keep_unknown_fields(schema);
        }
        return;
    };
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, property) in properties {
        drop_nothing(property);
        // A required field needs no rule: the API server drops its null, and then refuses the object without the field.
        if !required.contains(name) {
            property.nullable = Some(true);
            // An enum needs no rule: null is not one of its values.
            if property.enum_.is_none() {
                schema.x_kubernetes_validations.get_or_insert_default().push(is_not_null(name));
            }
        }
    }
    schema.max_properties = Some(MAX_FIELDS);
    keep_unknown_fields(schema);
}

/// Keeps unknown fields of the object itself, so that they can be refused.
pub(super) fn keep_unknown_fields(schema: &mut JSONSchemaProps) {
    schema.x_kubernetes_preserve_unknown_fields = Some(true);
}

/// Refuses a null `field`. For CEL, a null field is absent too, but its name is among the keys.
fn is_not_null(field: &str) -> ValidationRule {
    ValidationRule {
        rule: format!("has(self.{field}) || dyn(self).all(field, field != '{field}')"),
        message: Some(format!("{field} must not be null: give it a value, or leave it out")),
        field_path: Some(format!(".{field}")),
        ..ValidationRule::default()
    }
}

/// Refuses a null for any key of a map.
fn no_value_is_null() -> ValidationRule {
    ValidationRule {
        rule: "self.all(key, dyn(self[key]) != null)".to_owned(),
        message: Some("no value must be null: give the key a value, or leave it out".to_owned()),
        ..ValidationRule::default()
    }
}
