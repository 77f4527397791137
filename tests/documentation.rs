//! That the documentation names everything that a user can meet in a status.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use serde_json::Value;
use sessionkill::api::definitions;

const OUTCOMES: &str = include_str!("../docs/outcomes.md");

/// The values of every enum that stands under `field` in the schemas.
fn values(schema: &Value, field: &str, found: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let listed = property["enum"].as_array().into_iter().flatten().filter(|_| name == field);
        found.extend(listed.map(|value| value.as_str().unwrap().to_owned()));
        values(property, field, found);
    }
    if !schema["items"].is_null() {
        values(&schema["items"], field, found);
    }
}

/// Those that the tables do not name.
fn missing(field: &str, page: &str) -> Vec<String> {
    let mut found = vec![];
    for definition in definitions() {
        let schema = definition.spec.versions[0].schema.as_ref().unwrap();
        values(&serde_json::to_value(&schema.open_api_v3_schema).unwrap()["properties"]["status"], field, &mut found);
    }
    assert!(found.len() > 5, "{found:?}");
    found.retain(|value| !page.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{value}`"))));
    found
}

#[test]
fn every_outcome_and_reason_has_a_row() {
    for field in ["outcome", "reason"] {
        assert_eq!(missing(field, OUTCOMES), Vec::<String>::new(), "docs/outcomes.md does not say what to do");
    }
}

#[test]
fn a_row_that_is_missing_is_noticed() {
    let without = OUTCOMES.replace("`IdReused`", "");
    assert_eq!(missing("reason", &without), ["IdReused"; 2], "in the request and in its receipt");
}
