//! docs/audit-schema.json is generated from the type that the operator writes.

use std::{env, fs};

use sessionkill::api::audit_line::schema;

use super::repository;

#[test]
fn the_schema_is_that_of_the_type() {
    let wanted = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    let path = repository("docs/audit-schema.json");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert!(
        fs::read_to_string(path).unwrap() == wanted,
        "docs/audit-schema.json is not what src/audit.rs says: run UPDATE_DOCS=1 cargo test --test reference and commit the \
         result; a field that is gone, renamed or means something else needs another version"
    );
}

/// Later lines of the same version must still have the fields of the first version.
#[test]
fn within_the_version_no_field_goes_away() {
    let schema = serde_json::to_value(schema()).unwrap();
    let required = [
        "attemptID",
        "audit",
        "connection",
        "holderIdentity",
        "instanceID",
        "name",
        "namespace",
        "outcome",
        "receipt",
        "requestID",
        "schema",
        "sessions",
        "tenantID",
        "time",
        "uid",
    ];
    let mut said: Vec<_> = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, required);
    let of_session =
        ["clientIP", "database", "errorMessage", "message", "outcome", "reason", "serverIP", "sessionID", "user"];
    let said = &schema["$defs"]["AuditedSession"]["required"];
    let mut said: Vec<_> = said.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, of_session);
    assert!(schema["$defs"]["Version"].to_string().contains("\"sessionkill.dev/audit/v1\""), "{schema}");
}
