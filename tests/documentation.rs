//! Checks that the documentation names every word that a user can see in a status, and no test that does not exist.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "documentation/reference.rs"]
mod reference;
#[path = "documentation/versions.rs"]
mod versions;

use std::{fs, path::Path};

use serde_json::Value;
use sessionkill::api::{ConditionType, ConnectionReason, Notice, Outcome, WaitReason, definitions};
use strum::VariantArray as _;

const TROUBLESHOOTING: &str = include_str!("../docs/troubleshooting.md");
const THREAT_MODEL: &str = include_str!("../docs/threat-model.md");
const HIGH_AVAILABILITY: &str = include_str!("../docs/high-availability.md");

/// Collects the values of every enum with the name `field` in the schema.
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

/// The values that no table has.
fn missing(field: &str, page: &str) -> Vec<String> {
    let mut found = vec![];
    for definition in definitions() {
        let schema = definition.spec.versions[0].schema.as_ref().unwrap();
        values(&serde_json::to_value(&schema.open_api_v3_schema).unwrap()["properties"]["status"], field, &mut found);
    }
    assert!(found.len() > 5, "{found:?}");
    found.retain(|value| !has_row(page, value));
    found
}

/// Whether a table of `page` names `word`.
fn has_row(page: &str, word: &str) -> bool {
    page.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{word}`")))
}

#[test]
fn every_outcome_and_reason_has_a_row() {
    for field in ["outcome", "reason"] {
        assert_eq!(missing(field, TROUBLESHOOTING), [""; 0], "docs/troubleshooting.md does not say what to do");
    }
}

#[test]
fn a_row_that_is_missing_is_noticed() {
    let without = TROUBLESHOOTING.replace("`IdReused`", "");
    assert_eq!(missing("reason", &without), ["IdReused"; 2], "in the request and in its receipt");
}

/// All types and reasons of conditions and Events.
fn written_words() -> Vec<&'static str> {
    let types = ConditionType::VARIANTS.iter().map(|it| it.as_str());
    let waits = WaitReason::VARIANTS.iter().map(|it| it.as_str());
    let ends = Outcome::VARIANTS.iter().map(|it| it.as_str());
    let connections = ConnectionReason::VARIANTS.iter().map(|it| it.as_str());
    types.chain(waits).chain(ends).chain(connections).chain(Notice::VARIANTS.iter().map(|it| it.as_str())).collect()
}

/// The string literals in `text` that look like a reason outside of the closed sets.
fn loose_reasons(text: &str) -> Vec<&str> {
    let is_reason = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphanumeric())
    };
    text.split('"').skip(1).step_by(2).filter(is_reason).collect()
}

#[test]
fn every_reason_of_a_condition_or_an_event_has_a_row() {
    let words = written_words();
    for known in ["CredentialsRejected", "StillPresent", "DeadlineTimeStamp", "TTLIgnored", "AnswerDiffers", "Ready"] {
        assert!(words.contains(&known), "{known} is not among {words:?}");
    }
    // The guide for GitOps describes these, and `Succeeded` is in every table.
    let elsewhere = ["Succeeded", "Reconciling", "Stalled"];
    let silent: Vec<_> =
        words.into_iter().filter(|word| !elsewhere.contains(word) && !has_row(TROUBLESHOOTING, word)).collect();
    assert_eq!(silent, [""; 0], "docs/troubleshooting.md does not say what to do");
    // Otherwise an Event with a reason outside of the closed sets would not be noticed.
    assert_eq!(
        loose_reasons(include_str!("../src/kubernetes/events.rs")),
        ["Normal", "Warning", "KillSessions"],
        "the types and the action of all Events"
    );
}

#[test]
fn a_reason_without_a_row_is_noticed() {
    assert_eq!(loose_reasons("send(x, \"NewReason\", \"some text\"); f(\"snake_case\")"), ["NewReason"]);
    assert!(has_row("| `A` | b |", "A") && !has_row("`A`", "A") && !has_row("| A |", "A"));
}

/// The commands in `page` that run one test.
fn test_commands(page: &str) -> Vec<&str> {
    page.split('`').filter(|code| code.starts_with("cargo test -")).collect()
}

/// Whether the command runs a test that exists: `--lib module::name` of the operator or of a crate, or
/// `--test target module::name`.
fn runs_a_test(command: &str) -> bool {
    let words: Vec<_> = command.split(' ').skip(2).collect();
    let (files, test) = match words.as_slice() {
        ["--lib", test] => {
            let modules = test.split("::").take_while(|name| *name != "tests").collect::<Vec<_>>().join("/");
            (vec![format!("src/{modules}.rs")], *test)
        }
        ["-p", of, "--lib", test] => {
            let sources = format!("crates/{}/src", of.trim_start_matches("sessionkill-"));
            let modules = test.split("::").take_while(|name| *name != "tests").collect::<Vec<_>>().join("/");
            // Or in a file of its own, below a module of tests.
            let apart = test.rsplit_once("::").map_or("", |(modules, _)| modules).replace("::", "/");
            (vec![format!("{sources}/{modules}.rs"), format!("{sources}/{apart}.rs")], *test)
        }
        ["--test", target, test] => {
            let module = test.rsplit_once("::").map_or("main", |(module, _)| module);
            let file = format!("tests/{target}/{}.rs", module.replace("::", "/"));
            (vec![format!("crates/protocol-model/{file}"), file, format!("tests/{target}.rs")], *test)
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

/// The pages: those in the root folder, and all in `docs/`.
fn pages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages_of = |folder: &str| {
        let names =
            fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_page = |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "md");
        names.filter(is_page).map(|name| format!("{folder}{name}")).collect::<Vec<_>>()
    };
    ["", "docs/", "docs/decisions/"].into_iter().flat_map(pages_of).collect()
}

/// The links of a page to files of the repository and to its own headings, as written.
fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Whether `link` in the page `file` leads to an existing file and heading.
fn leads_somewhere(file: &str, link: &str) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { root.join(file) } else { root.join(file).parent().unwrap().join(path) };
    let has_heading = |text: &str| {
        let headings = text.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).any(|it| it == heading)
    };
    target.exists() && (heading.is_empty() || fs::read_to_string(&target).is_ok_and(|text| has_heading(&text)))
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = vec![];
    for file in pages() {
        let text = fs::read_to_string(root.join(&file)).unwrap();
        broken.extend(
            links(&text).into_iter().filter(|link| !leads_somewhere(&file, link)).map(|link| format!("{file}: {link}")),
        );
    }
    assert_eq!(broken, [""; 0]);
}

#[test]
fn a_link_that_leads_nowhere_is_noticed() {
    assert_eq!(links("[a](b.md#c) [d](https://e.f) `g`(h)"), ["b.md#c"]);
    assert!(leads_somewhere("docs/troubleshooting.md", "../README.md#install"));
    assert!(leads_somewhere("docs/troubleshooting.md", "#each-session-statussessions"));
    assert!(!leads_somewhere("docs/troubleshooting.md", "../README.md#nothing"));
    assert!(!leads_somewhere("docs/troubleshooting.md", "nothing.md"));
}
