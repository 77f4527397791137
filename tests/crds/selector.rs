//! Requests that choose sessions by what they are.

use serde_json::{Value, json};

use crate::cases::{Case, Server, set, without};
use crate::session_kill;

const SELECTOR: &str = "/spec/selector";
const MATCH: &str = "/spec/selector/match";

/// All criteria.
fn criteria() -> Value {
    json!({
        "users": ["report_ro", "batch"],
        "databases": ["reports"],
        "clientCIDRs": ["10.2.0.0/16", "fd00::/8"],
        "commands": ["Query"],
        "states": ["Active"],
        "sqlIDs": ["45CCBDC7F1D2A0B34C5D6E7F8091A2B3"],
        "sqlTextPattern": "(?i)^select .* from orders",
        "minExecutionSeconds": 300,
        "transaction": "Open",
    })
}

/// A request with every field of a selector.
pub fn valid() -> Value {
    let mut request = session_kill::valid();
    request["metadata"]["name"] = "chosen".into();
    request["spec"].as_object_mut().unwrap().remove("sessions");
    request["spec"]["selector"] =
        json!({"match": criteria(), "exclude": criteria(), "maxSessions": 10, "take": "Longest"});
    request
}

/// Changes of a new request.
pub fn creations() -> Vec<Case> {
    let of_match = |field: &str| format!("{MATCH}/{field}");
    let one_way = "exactly one of sessions and selector is needed";
    let bounded = "a Kill needs selector.maxSessions";
    let names_nobody = "selector.match of a Kill needs users, databases, clientCIDRs, commands, sqlIDs, sqlTextPattern or \
                        minExecutionSeconds: no filter never means all";
    let mut cases = vec![
        without(SELECTOR).refused(one_way),
        set("/spec/sessions", json!([{"serverIP": "fd00::1", "sessionID": 7}])).refused(one_way),
        without("/spec/selector/match").refused("spec.selector.match: Required value"),
        without("/spec/selector/exclude"),
        set("/spec/selector/exclude", json!({})).refused("exclude must have at least one field"),
        without("/spec/selector/take"),
        set("/spec/selector/take", "Oldest").refused(r#"spec.selector.take: Unsupported value: "Oldest""#),
        without("/spec/selector/maxSessions").refused("spec.selector: Invalid value").refused(bounded),
        without("/spec/selector/maxSessions").and(without("/spec/mode")).refused(bounded),
        without("/spec/selector/maxSessions").and(set("/spec/mode", "DryRun")),
        set("/spec/selector/maxSessions", 0).refused("should be greater than or equal to 1"),
        set("/spec/selector/maxSessions", 100),
        set("/spec/selector/maxSessions", 101).refused("should be less than or equal to 100"),
        set(MATCH, json!({})).refused("spec.selector: Invalid value").refused(names_nobody),
        set(MATCH, json!({"states": ["Sleep"], "transaction": "None"})).refused(names_nobody),
        set(MATCH, json!({})).and(set("/spec/mode", "DryRun")),
        set("/spec/scope", "Query"),
    ];
    for (field, value) in criteria().as_object().unwrap() {
        let alone = set(MATCH, json!({ field: value }));
        let names = !["states", "transaction"].contains(&field.as_str());
        cases.push(if names { alone } else { alone.refused(names_nobody) });
        cases.push(set("/spec/selector/exclude", json!({ field: value })));
    }
    for part in ["match", "exclude"] {
        for (field, longest, entry) in [
            ("users", 128, "u"),
            ("databases", 128, "d"),
            ("clientCIDRs", 49, "1"),
            ("commands", 64, "c"),
            ("sqlIDs", 64, "A"),
        ] {
            let at = format!("/spec/selector/{part}/{field}");
            let name = format!("spec.selector.{part}.{field}");
            let is_range = field == "clientCIDRs";
            let valid =
                |number: usize| if is_range { format!("10.0.{number}.0/24") } else { format!("{entry}A{number}") };
            let valid = |number| if field == "sqlIDs" { format!("A{number}") } else { valid(number) };
            let many = |count: usize| (0..count).map(valid).collect::<Value>();
            cases.extend([
                set(&at, json!([])).refused(format!("{name} in body should have at least 1 items")),
                set(&at, many(32)),
                set(&at, many(33)).refused(format!("{name}: Too many: 33: must have at most 32")),
                set(format!("{at}/0"), entry.repeat(longest + 1)).refused(format!("{name}[0]: Too long")),
                set(format!("{at}/0"), "").refused(format!("{name}[0] in body should be at least")),
            ]);
            if !is_range {
                cases.push(set(format!("{at}/0"), entry.repeat(longest)));
            }
        }
        let at = |field: &str| format!("/spec/selector/{part}/{field}");
        let pattern = at("sqlTextPattern");
        cases.extend([
            set(at("states"), json!([])).refused("should have at least 1 items"),
            set(at("states"), json!(["Active", "Sleep"])),
            set(at("states"), json!(["Active", "Sleep", "Active"])).refused("Too many"),
            set(at("states/0"), "active").refused(r#"Unsupported value: "active""#),
            set(at("transaction"), "open").refused(r#"Unsupported value: "open""#),
            set(at("minExecutionSeconds"), 0).refused("should be greater than or equal to 1"),
            set(at("minExecutionSeconds"), i64::from(i32::MAX) + 1)
                .refused("should be less than or equal to 2147483647"),
            set(&pattern, "").refused("should be at least 1 chars long"),
            set(&pattern, "a".repeat(512)),
            set(&pattern, "a".repeat(513)).refused("Too long: may not be more than 512 bytes"),
            // Its own words come first.
            set(&pattern, "from (orders")
                .refused("error parsing regexp: missing closing )")
                .refused("sqlTextPattern must be a regular expression in the syntax of RE2"),
            set(&pattern, "(?=x)").refused("error parsing regexp: invalid or unsupported Perl syntax"),
            set(&pattern, r"(a)\1").refused("error parsing regexp: invalid escape sequence"),
        ]);
        for bad in ["10.2.3.4", "10.2.3.4/16", "10.2.0.0/33", "fd00::1/8", "any", "10.2.0.0/16 "] {
            let refusal = "clientCIDRs must be ranges of addresses without bits beyond the prefix";
            cases.push(set(at("clientCIDRs/0"), bad).refused(refusal));
        }
        for bad in ["select 1", "0x45", "45CC\n"] {
            cases.push(set(at("sqlIDs/0"), bad).refused("sqlIDs must be hexadecimal digits"));
        }
    }
    cases.push(set(of_match("users"), json!(["report_ro", "report_ro"])));
    cases
}

/// Changes of a stored request.
pub fn updates() -> Vec<Case> {
    let immutable = "selector is immutable: create a new SessionKill instead";
    let named = json!([{"serverIP": "fd00::1", "sessionID": 7}]);
    vec![
        set("/spec/suspend", true),
        set("/spec/selector/maxSessions", 11).refused(immutable),
        set("/spec/selector/take", "Newest").refused(immutable),
        without("/spec/selector/take").refused(immutable),
        without("/spec/selector/exclude").refused(immutable),
        set("/spec/selector/match/users/0", "app").refused(immutable),
        set("/spec/selector/match/minExecutionSeconds", 1).refused(immutable),
        without(SELECTOR).refused(immutable),
        without(SELECTOR).and(set("/spec/sessions", named)).refused(immutable),
    ]
}

#[tokio::test]
async fn a_selector_is_bounded_and_every_refusal_says_what_to_do() {
    let server = Server::in_namespace("chosen").await;
    server.check_create(&valid(), &creations()).await;
    let stored = server.create(&valid()).await;
    server.check_update(&stored, &updates()).await;
    // What it chooses cannot become what it names.
    let mut named = session_kill::valid();
    named["metadata"]["name"] = "named".into();
    let stored = server.create(&named).await;
    let chosen = without("/spec/sessions").and(set(SELECTOR, valid()["spec"]["selector"].clone()));
    server.check_update(&stored, &[chosen.refused("sessions is immutable: create a new SessionKill instead")]).await;
}
