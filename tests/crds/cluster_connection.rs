//! The connection of no namespace: what it has beside an `OceanBaseConnection`, and that nothing is allowed by mistake.

use serde_json::{Value, json};

use crate::{
    cases::{Case, Server, longest, set, without},
    connection, sql,
};

const ALLOWED: &str = "/spec/allowedNamespaces";
const NAMES: &str = "/spec/allowedNamespaces/names";
const SELECTOR: &str = "/spec/allowedNamespaces/selector";
const LABELS: &str = "/spec/allowedNamespaces/selector/matchLabels";
const EXPRESSIONS: &str = "/spec/allowedNamespaces/selector/matchExpressions";

/// `connection` without a namespace, with every field of its own set.
pub fn lent(connection: &Value) -> Value {
    let mut lent = connection.clone();
    lent["kind"] = "ClusterOceanBaseConnection".into();
    lent["spec"]["allowedNamespaces"] = json!({
        "names": ["shop", "pay-1"],
        "selector": {
            "matchLabels": {"team": "dba", "sessionkill.dev/lent": "true"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "example.com/frozen", "operator": "DoesNotExist"},
            ],
        },
    });
    lent
}

/// Such a connection to Alibaba Cloud.
pub fn valid() -> Value {
    lent(&connection::valid())
}

/// The status of one, with every field set.
pub fn probed() -> Value {
    let mut probed = connection::probed();
    let allowed = json!({
        "type": "NamespacesAllowed", "status": "True", "reason": "SomeNamespaces", "message": "m",
        "lastTransitionTime": "2026-10-05T09:10:02Z", "observedGeneration": 1,
    });
    probed["conditions"].as_array_mut().unwrap().push(allowed);
    probed
}

fn names() -> Vec<Case> {
    let bad_name = "names must be names of namespaces: lower-case letters, digits and -";
    let many = |count: usize| (0..count).map(|number| json!(format!("shop-{number}"))).collect::<Value>();
    let (first, more) = (&format!("{NAMES}/0"), &format!("{NAMES}/-"));
    let mut cases = vec![
        without(ALLOWED),
        set(ALLOWED, json!({})),
        without(NAMES),
        set(NAMES, json!([])),
        set(NAMES, many(256)),
        set(NAMES, many(257)).refused("spec.allowedNamespaces.names: Too many: 257: must have at most 256 items"),
        set(NAMES, "shop").refused("spec.allowedNamespaces.names in body must be of type array"),
        set(more, "7"),
        set(more, "shop"),
        set(first, "").refused("spec.allowedNamespaces.names[0] in body should be at least 1 chars long"),
        set("/spec/allowedNamespace", json!({})).refused(r#"unknown field "spec.allowedNamespace""#),
        set(format!("{ALLOWED}/from"), "All").refused(r#"unknown field "spec.allowedNamespaces.from""#),
    ];
    cases.extend(longest(first, "spec.allowedNamespaces.names[0]", 63));
    for bad in ["Shop", "*", "shop-*", "-shop", "shop-", "shop.eu", "shop_1", "shop\n", "shop/pay"] {
        cases.push(set(more, bad).refused("spec.allowedNamespaces.names: Invalid value").refused(bad_name));
    }
    cases
}

fn labels() -> Vec<Case> {
    let at = "spec.allowedNamespaces.selector";
    let all = "selector must have a label or an expression: an empty one would select every namespace";
    let many = |count: usize| {
        (0..count).map(|number| (format!("label-{number}"), json!("x"))).collect::<serde_json::Map<_, _>>()
    };
    let value = &format!("{LABELS}/team");
    let mut cases = vec![
        without(SELECTOR),
        without(LABELS),
        without(EXPRESSIONS),
        set(SELECTOR, json!({})).refused(format!("{at}: Invalid value")).refused(all),
        set(SELECTOR, json!({"matchLabels": {}})).refused(all),
        set(SELECTOR, json!({"matchExpressions": []})).refused(all),
        set(SELECTOR, json!({"matchLabels": {}, "matchExpressions": []})).refused(all),
        without(LABELS).and(without(EXPRESSIONS)).refused(all),
        set(SELECTOR, json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]})),
        set(LABELS, many(16)),
        set(LABELS, many(17)).refused(format!("{at}.matchLabels: Too many: 17")),
        set(value, ""),
        set(value, 7).refused(format!("{at}.matchLabels.team in body must be of type string")),
        // A template that renders nothing for it would otherwise leave the label out.
        set(value, Value::Null)
            .refused(format!("{at}.matchLabels: Invalid value"))
            .refused("no value must be null: give the key a value, or leave it out"),
    ];
    cases.extend(longest(value, &format!("{at}.matchLabels.team"), 63));
    cases
}

fn expressions() -> Vec<Case> {
    let at = "spec.allowedNamespaces.selector.matchExpressions";
    let field = |name: &str| format!("{EXPRESSIONS}/0/{name}");
    let (key, operator, values) = (field("key"), field("operator"), field("values"));
    let needs_values = "values must be given for the operators In and NotIn, and left out for Exists and DoesNotExist";
    let bad_key = "key must be the key of a label, such as team or example.com/team";
    let bad_value = "values must be values of a label: letters, digits, -, _ and .";
    let tiers = |count: usize| (0..count).map(|number| json!(format!("tier-{number}"))).collect::<Value>();
    let many = |count: usize| vec![json!({"key": "tier", "operator": "Exists"}); count];
    let longest_key = format!("{}/{}", "a".repeat(253), "b".repeat(63));
    let mut cases = vec![
        set(EXPRESSIONS, many(16)),
        set(EXPRESSIONS, many(17)).refused(format!("{at}: Too many: 17: must have at most 16 items")),
        without(&key).refused(format!("{at}[0].key: Required value")),
        set(&key, "").refused(format!("{at}[0].key in body should be at least 1 chars long")),
        set(&key, format!("{longest_key}b")).refused(format!("{at}[0].key: Too long: may not be more than 317 bytes")),
        set(&key, longest_key),
        without(&operator).refused(format!("{at}[0].operator: Required value")),
        set(&operator, "NotIn"),
        set(&operator, "in").refused(format!(
            r#"{at}[0].operator: Unsupported value: "in": supported values: "In", "NotIn", "Exists", "DoesNotExist""#
        )),
        set(&operator, "Exists").refused(format!("{at}[0].values: Invalid value")).refused(needs_values),
        set(&operator, "Exists").and(without(&values)),
        set(&operator, "DoesNotExist").and(set(&values, json!([]))),
        without(&values).refused(needs_values),
        set(&values, json!([])).refused(needs_values),
        set(&values, tiers(64)),
        set(&values, tiers(65)).refused(format!("{at}[0].values: Too many: 65: must have at most 64 items")),
        set(format!("{values}/0"), ""),
    ];
    cases.extend(longest(&format!("{values}/0"), &format!("{at}[0].values[0]"), 63));
    for bad in ["te am", "team/", "/team", "Example.com/team", "-team", "team\n", "a/b/c"] {
        cases.push(set(&key, bad).refused(format!("{at}[0].key: Invalid value")).refused(bad_key));
    }
    for bad in ["a b", "-a", "a-", "a,b", "a\n"] {
        cases
            .push(set(format!("{values}/0"), bad).refused(format!("{at}[0].values: Invalid value")).refused(bad_value));
    }
    cases
}

/// Changes of a new connection.
pub fn creations() -> Vec<Case> {
    [names(), labels(), expressions()].into_iter().flatten().collect()
}

/// Changes of a stored connection.
pub fn updates() -> Vec<Case> {
    let no_label = "no label must be removed from matchLabels, as that allows more namespaces";
    let no_expressions = "matchExpressions must not be removed: set it to [] to select by labels alone";
    let label = &format!("{LABELS}/team");
    vec![
        without(ALLOWED),
        set(ALLOWED, json!({})),
        without(NAMES),
        set(NAMES, json!(["other"])),
        without(SELECTOR),
        set(label, "other"),
        set(format!("{LABELS}/another"), "x"),
        without(label).refused("spec.allowedNamespaces.selector.matchLabels: Invalid value").refused(no_label),
        set(label, Value::Null).refused("no value must be null"),
        without(LABELS).refused(no_label),
        set(LABELS, json!({})).refused(no_label),
        set(LABELS, Value::Null).refused(no_label),
        set(EXPRESSIONS, json!([])),
        without(EXPRESSIONS)
            .refused("spec.allowedNamespaces.selector.matchExpressions: Invalid value")
            .refused(no_expressions),
        set(EXPRESSIONS, Value::Null).refused(no_expressions),
    ]
}

#[tokio::test]
async fn what_can_be_written_is_bounded_and_every_refusal_says_what_to_do() {
    let server = Server::in_namespace("lent-written").await;
    server.check_create(&valid(), &creations()).await;
    // All that holds for the other kind holds for this one.
    server.check_create(&valid(), &connection::creations()).await;
    server.check_create(&lent(&sql::valid()), &sql::creations()).await;
}

#[tokio::test]
async fn a_change_is_bounded_too_and_no_label_is_lost() {
    let server = Server::in_namespace("lent-changed").await;
    let mut stored = server.create(&valid()).await;
    server.check_update(&stored, &updates()).await;
    server.check_update(&stored, &connection::updates()).await;
    let by_sql = server.create(&lent(&sql::valid())).await;
    server.check_update(&by_sql, &sql::updates()).await;
    // A patch, as a tool writes it for a value for which its template renders nothing.
    let patch = json!({"spec": {"allowedNamespaces": {"selector": {"matchLabels": {"team": null}}}}});
    let refusal = server.merge(&stored, &patch).await.unwrap_err();
    assert!(refusal.contains("no label must be removed from matchLabels"), "{refusal}");
    stored["status"] = probed();
    let mut stored = server.store_status(&stored).await;
    assert_eq!(stored["status"], probed());
    stored["status"] = connection::probed();
    let stored = server.store_status(&stored).await;
    server.check_status(&stored, &connection::status_changes()).await;
}

#[tokio::test]
async fn nobody_is_allowed_unless_it_is_written() {
    let server = Server::in_namespace("lent-default").await;
    let mut short = valid();
    let credentials = json!({"secretRef": {"name": "aliyun-ak"}});
    short["spec"] = json!({"alibabaCloud": {"regionID": "cn-hangzhou", "credentials": credentials}});
    let stored = server.create(&short).await;
    assert_eq!(stored["spec"]["allowedNamespaces"], Value::Null);
    assert_eq!(stored["spec"]["requestTimeoutSeconds"], 10);
    assert_eq!(stored["metadata"]["namespace"], Value::Null);
    assert_eq!(stored["status"], json!({"observedGeneration": -1}));
}

/// An apply says which namespaces are allowed, and leaves nothing of what it said before.
#[tokio::test]
async fn a_namespace_that_is_no_longer_applied_is_no_longer_allowed() {
    let server = Server::in_namespace("lent-applied").await;
    let mut applied = valid();
    server.apply_for_good(&applied).await;
    applied["spec"]["allowedNamespaces"]["names"] = json!(["pay-1"]);
    let stored = server.apply_for_good(&applied).await;
    assert_eq!(stored["spec"]["allowedNamespaces"]["names"], json!(["pay-1"]));
    applied["spec"].as_object_mut().unwrap().remove("allowedNamespaces");
    assert_eq!(server.apply_for_good(&applied).await["spec"]["allowedNamespaces"], Value::Null);
}
