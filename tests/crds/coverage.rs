//! Checks that every bound and every rule of a schema has a case in which it refuses something.

use serde_json::Value;
use sessionkill::api::definitions;

use crate::{
    cases::Case, cluster_connection, connection, credentials, dropped, receipt, selector, session_kill,
    session_kill_status, sql,
};

/// The words with which the API server reports a violation of each keyword.
const WORDS: [(&str, &str); 9] = [
    ("maxLength", "Too long"),
    ("minLength", "should be at least"),
    ("maximum", "should be less than or equal to"),
    ("minimum", "should be greater than or equal to"),
    ("maxItems", "Too many"),
    ("maxProperties", "Too many"),
    ("minItems", "should have at least"),
    ("enum", "Unsupported value"),
    ("pattern", "should match"),
];

/// One bound or rule of a schema.
struct Refuses {
    /// A JSON pointer with `*` for list items. `None` for a rule, as its message may name another field.
    field: Option<String>,
    words: String,
}

impl Refuses {
    fn has_case(&self, cases: &[Case]) -> bool {
        cases.iter().any(|case| {
            let field = self.field.as_ref().is_none_or(|field| case.fields().any(|changed| general(changed) == *field));
            field && case.refusal().iter().any(|said| said.contains(&self.words) || self.words.contains(said.as_str()))
        })
    }
}

/// The pointer with `*` for list positions.
fn general(pointer: &str) -> String {
    let general = |name: &str| if name == "-" || name.parse::<usize>().is_ok() { "*" } else { name }.to_owned();
    pointer.split('/').map(general).collect::<Vec<_>>().join("/")
}

fn refusals(schema: &Value, at: &str) -> Vec<Refuses> {
    let mut found = vec![];
    let mut add =
        |field: &str, words: &str| found.push(Refuses { field: Some(field.to_owned()), words: words.to_owned() });
    for (keyword, words) in WORDS {
        if schema.get(keyword).is_some() {
            add(at, words);
        }
    }
    if schema["format"] == "date-time" {
        add(at, "must be of type date-time");
    }
    if ["set", "map"].iter().any(|kind| schema["x-kubernetes-list-type"] == *kind) {
        add(&format!("{at}/*"), "Duplicate value");
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        found.push(Refuses { field: None, words: rule["message"].as_str().unwrap().to_owned() });
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        found.extend(refusals(property, &format!("{at}/{name}")));
    }
    if let Some(items) = schema.get("items") {
        found.extend(refusals(items, &format!("{at}/*")));
    }
    found
}

#[test]
fn every_bound_and_every_rule_has_a_case_that_it_refuses() {
    let cases = [
        [
            session_kill::creations(),
            session_kill::updates(),
            session_kill::releases(),
            session_kill::scopes(),
            selector::creations(),
            selector::updates(),
            dropped::nulls(&session_kill::valid()),
            dropped::nulls(&selector::valid()),
            dropped::crowds(&session_kill::valid()),
            dropped::crowds(&selector::valid()),
            session_kill_status::changes_before_the_end(),
            session_kill_status::changes_after_the_end(),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>(),
        [
            connection::creations(),
            connection::updates(),
            dropped::nulls(&connection::valid()),
            dropped::crowds(&connection::valid()),
            credentials::examples().iter().flat_map(dropped::nulls).collect(),
            credentials::examples().iter().flat_map(dropped::crowds).collect(),
            sql::creations(),
            sql::updates(),
            dropped::nulls(&sql::valid()),
            dropped::nulls(&sql::by_host()),
            dropped::crowds(&sql::valid()),
            connection::status_changes(),
        ]
        .into_iter()
        .flatten()
        .collect(),
        [
            cluster_connection::creations(),
            cluster_connection::updates(),
            connection::creations(),
            connection::updates(),
            dropped::nulls(&cluster_connection::valid()),
            dropped::crowds(&cluster_connection::valid()),
            credentials::examples().iter().flat_map(|it| dropped::nulls(&cluster_connection::lent(it))).collect(),
            credentials::examples().iter().flat_map(|it| dropped::crowds(&cluster_connection::lent(it))).collect(),
            sql::creations(),
            sql::updates(),
            dropped::nulls(&cluster_connection::lent(&sql::valid())),
            dropped::nulls(&cluster_connection::lent(&sql::by_host())),
            dropped::crowds(&cluster_connection::lent(&sql::valid())),
            connection::status_changes(),
        ]
        .into_iter()
        .flatten()
        .collect(),
        [receipt::creations(), receipt::updates(), receipt::records(), receipt::changes_of_the_record()]
            .into_iter()
            .flatten()
            .collect(),
    ];
    let mut missing = vec![];
    for (definition, cases) in definitions().iter().zip(&cases) {
        let schema = serde_json::to_value(definition).unwrap();
        let refusals = refusals(&schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "");
        assert!(refusals.len() > 10, "the schema of {} was not read", definition.spec.names.kind);
        for refusal in refusals.iter().filter(|refusal| !refusal.has_case(cases)) {
            let field = refusal.field.as_deref().unwrap_or("rule");
            missing.push(format!("{} {field}: {}", definition.spec.names.kind, refusal.words));
        }
    }
    assert!(missing.is_empty(), "no case is refused for:\n{}", missing.join("\n"));
}

#[test]
fn a_bound_without_a_case_is_found() {
    let schema = serde_json::json!({"properties": {"a": {"items": {"maxLength": 3}}}});
    let refusal = &refusals(&schema, "")[0];
    assert!(!refusal.has_case(&[crate::cases::set("/a/0", "abcd")]));
    assert!(!refusal.has_case(&[crate::cases::set("/b/0", "abcd").refused("b[0]: Too long")]));
    assert!(refusal.has_case(&[crate::cases::set("/a/0", "abcd").refused("a[0]: Too long")]));
}
