//! `docs/api.md` is generated from the definitions: `UPDATE_DOCS=1 cargo test --test documentation reference`.

use std::{env, fmt::Write as _, fs, path::Path};

use serde_json::{Value, json};
use sessionkill::api::definitions;

const HEAD: &str = "# API reference

Generated from the types in `crates/api/src`, as `kubectl explain` shows them; `cargo test --test documentation reference` compares.
Fields marked * are required. Lists and strings are bounded, so that the API server refuses what the operator could not handle.
Of what users write [nothing is dropped](install.md#unknown-fields-and-nulls): a null and a field that is not named here are refused.
";

/// The whole page.
fn page() -> String {
    let kinds =
        definitions().iter().map(|definition| kind(&serde_json::to_value(definition).unwrap())).collect::<String>();
    format!("{HEAD}{kinds}")
}

fn kind(definition: &Value) -> String {
    let (group, names) = (&definition["spec"]["group"], &definition["spec"]["names"]);
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut text = format!("\n## {}\n\n{}\n\n", plain(&names["kind"]), plain(&schema["description"]));
    let scope = if definition["spec"]["scope"] == "Cluster" { "in no namespace" } else { "in a namespace" };
    write!(text, "`{}/{}`, {scope}", plain(group), plain(&version["name"])).unwrap();
    write!(text, ", `kubectl get {}` or `kubectl get {}`", plain(&names["plural"]), plain(&names["shortNames"][0]))
        .unwrap();
    let selectable = version["selectableFields"].as_array().into_iter().flatten();
    let selectable: Vec<_> =
        selectable.map(|field| format!("`{}`", plain(&field["jsonPath"]).trim_start_matches('.'))).collect();
    if !selectable.is_empty() {
        write!(text, ". Can be selected by `--field-selector`: {}", selectable.join(", ")).unwrap();
    }
    text += ".\n";
    let mut rules = vec![];
    for part in ["spec", "status"] {
        writeln!(text, "\n### {} {part}\n", plain(&names["kind"])).unwrap();
        text += "| field | type | what |\n|---|---|---|\n";
        rows(&schema["properties"][part], part, &mut text);
    }
    collect_rules(schema, &mut rules);
    writeln!(text, "\n### {} rules\n", plain(&names["kind"])).unwrap();
    for rule in rules {
        writeln!(text, "* {rule}").unwrap();
    }
    text
}

/// A row for each field below `at`.
fn rows(schema: &Value, at: &str, text: &mut String) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let mark = if required.contains(&name.as_str()) { " *" } else { "" };
        let path = format!("{at}.{name}");
        writeln!(text, "| `{path}`{mark} | {} | {} |", type_of(property), plain(&property["description"])).unwrap();
        rows(property, &path, text);
        rows(&property["items"], &format!("{path}[]"), text);
    }
}

/// The type of a field, with its bounds or values and its default.
fn type_of(schema: &Value) -> String {
    let mut words = vec![match schema["type"].as_str() {
        Some("array") => format!("list of {}", schema["items"]["type"].as_str().unwrap_or("objects")),
        _ if schema["format"] == "date-time" => "time".to_owned(),
        _ if schema["additionalProperties"].is_object() => "map of strings".to_owned(),
        Some(other) => other.to_owned(),
        None => "any".to_owned(),
    }];
    let values = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let values: Vec<_> = values.map(|value| format!("`{value}`")).collect();
    if !values.is_empty() {
        words = vec![values.join(", ")];
    }
    for (least, most, unit) in
        [("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"), ("minimum", "maximum", "")]
    {
        words.extend(bounds(&schema[least], &schema[most], unit));
    }
    // Of an object with fields of its own, the bound is only for those that it does not know.
    if schema["additionalProperties"].is_object() {
        words.extend(bounds(&Value::Null, &schema["maxProperties"], " entries"));
    }
    if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
        words.push(format!("default `{}`", default.as_str().map_or_else(|| default.to_string(), str::to_owned)));
    }
    words.join("; ")
}

fn bounds(least: &Value, most: &Value, unit: &str) -> Option<String> {
    let number = |value: &Value| value.as_f64().map(|number| format!("{number:.0}"));
    match (number(least), number(most)) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}{unit}")),
        (Some(least), None) => Some(format!("at least {least}{unit}")),
        (None, Some(most)) => Some(format!("at most {most}{unit}")),
        (None, None) => None,
    }
}

/// Collects the messages of the rules in the schema, each once.
fn collect_rules(schema: &Value, found: &mut Vec<String>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = plain(&rule["message"]);
        if !found.contains(&message) {
            found.push(message);
        }
    }
    for property in schema["properties"].as_object().into_iter().flatten().map(|(_, property)| property) {
        collect_rules(property, found);
    }
    if !schema["items"].is_null() {
        collect_rules(&schema["items"], found);
    }
}

/// The text in one line, with its column separators escaped.
fn plain(text: &Value) -> String {
    text.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[test]
fn the_reference_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let generated = page();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == generated,
        "docs/api.md is not what crates/api/src defines: run UPDATE_DOCS=1 cargo test --test documentation reference and commit it"
    );
}

#[test]
fn a_field_is_told_with_its_bounds_and_its_default() {
    let schema = json!({
        "required": ["a"],
        "properties": {
            "a": {"type": "array", "items": {"type": "object", "properties": {"b": {"enum": ["X", "Y"], "default": "X"}}}, "maxItems": 3},
            "c": {"type": "integer", "minimum": 1.0, "description": "one | two\n three"},
        },
    });
    let mut text = String::new();
    rows(&schema, "spec", &mut text);
    let expected = "| `spec.a` * | list of object; at most 3 items |  |\n\
                    | `spec.a[].b` | `X`, `Y`; default `X` |  |\n\
                    | `spec.c` | integer; at least 1 | one \\| two three |\n";
    assert_eq!(text, expected);
}
