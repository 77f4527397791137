//! That the documentation names everything that a user can meet in a status, and no test that does not exist.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{fs, path::Path};

use serde_json::Value;
use sessionkill::api::definitions;

const OUTCOMES: &str = include_str!("../docs/outcomes.md");
const THREAT_MODEL: &str = include_str!("../docs/threat-model.md");
const HIGH_AVAILABILITY: &str = include_str!("../docs/high-availability.md");

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

/// The commands in `page` that run one test.
fn test_commands(page: &str) -> Vec<&str> {
    page.split('`').filter(|code| code.starts_with("cargo test --")).collect()
}

/// Whether the command runs a test that exists: `--lib module::name`, or `--test target module::name`.
fn runs_a_test(command: &str) -> bool {
    let words: Vec<_> = command.split(' ').skip(2).collect();
    let (files, test) = match words.as_slice() {
        ["--lib", test] => {
            let modules = test.split("::").take_while(|name| *name != "tests").collect::<Vec<_>>().join("/");
            (vec![format!("src/{modules}.rs")], *test)
        }
        ["--test", target, test] => {
            let module = test.rsplit_once("::").map_or("main", |(module, _)| module);
            (vec![format!("tests/{target}/{module}.rs"), format!("tests/{target}.rs")], *test)
        }
        _ => return false,
    };
    let name = test.rsplit("::").next().unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    files.iter().filter_map(|file| fs::read_to_string(root.join(file)).ok()).any(|text| has_test(&text, name))
}

fn has_test(text: &str, name: &str) -> bool {
    let is_attribute = |line: &str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    lines.windows(2).any(|pair| is_attribute(pair[0]) && pair[1].contains(&format!("fn {name}()")))
}

#[test]
fn every_test_that_a_page_names_exists() {
    for (page, text, least) in [("threat-model", THREAT_MODEL, 20), ("high-availability", HIGH_AVAILABILITY, 10)] {
        let commands = test_commands(text);
        assert!(commands.len() > least, "{commands:?}");
        let broken: Vec<_> = commands.into_iter().filter(|command| !runs_a_test(command)).collect();
        assert!(broken.is_empty(), "docs/{page}.md names what does not exist: {broken:#?}");
    }
}

#[test]
fn a_test_that_does_not_exist_is_noticed() {
    let right = "cargo test --test documentation a_test_that_does_not_exist_is_noticed";
    assert!(runs_a_test(right));
    for wrong in ["has_test", "a_test_that_does_not_exist"] {
        assert!(!runs_a_test(&right.replace("a_test_that_does_not_exist_is_noticed", wrong)), "{wrong}");
    }
    assert!(!runs_a_test("cargo test --test nothing main::has_test") && !runs_a_test("cargo test --lib"));
}
