//! Which namespaces may use a `ClusterOceanBaseConnection`. Pure; the labels of a namespace are an argument.

use std::collections::{BTreeMap, BTreeSet};

use kube_core::{Expression, Selector, SelectorExt as _};
use sessionkill_api::{AllowedNamespaces, ConnectionReason, LabelOperator, LabelRequirement, NamespaceSelector};

/// The labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// Whether `namespace` is among those that `allowed` names.
#[must_use]
pub fn is_named(allowed: &AllowedNamespaces, namespace: &str) -> bool {
    allowed.names.iter().any(|name| name == namespace)
}

/// Whether `allowed` selects a namespace with these labels.
#[must_use]
pub fn is_selected(allowed: &AllowedNamespaces, labels: &Labels) -> bool {
    // One without a label or an expression would select every namespace: the schema refuses it.
    let selector = allowed.selector.as_ref().map(selector).filter(|selector| !selector.selects_all());
    selector.is_some_and(|selector| selector.matches(labels))
}

/// What a request of `namespace` is told that may not use `connection`, such as `ClusterOceanBaseConnection prod-ob`.
#[must_use]
pub fn refusal(connection: &str, namespace: &str) -> String {
    format!(
        "{connection} does not allow namespace {namespace}: use another connection, or have the namespace added to its \
         spec.allowedNamespaces and create a new SessionKill"
    )
}

/// Status, reason and message of the condition `NamespacesAllowed`.
#[must_use]
pub fn summary(allowed: &AllowedNamespaces) -> (&'static str, ConnectionReason, String) {
    let names = match allowed.names.len() {
        0 => None,
        1 => Some("1 namespace by its name".to_owned()),
        count => Some(format!("{count} namespaces by their names")),
    };
    let selector = allowed.selector.as_ref().map(selector).filter(|selector| !selector.selects_all());
    let selected = selector.map(|selector| format!("those with labels {selector}"));
    match (names, selected) {
        (None, None) => (
            "False",
            ConnectionReason::NoNamespace,
            "no request can use it: name namespaces in spec.allowedNamespaces, or select them by their labels"
                .to_owned(),
        ),
        (names, selected) => {
            let both: Vec<_> = names.into_iter().chain(selected).collect();
            let message = format!("requests of some namespaces can use it: {}", both.join(", and "));
            ("True", ConnectionReason::SomeNamespaces, message)
        }
    }
}

fn selector(selector: &NamespaceSelector) -> Selector {
    let labels = selector.match_labels.iter().map(|(key, value)| Expression::Equal(key.clone(), value.clone()));
    labels.chain(selector.match_expressions.iter().map(expression)).collect()
}

fn expression(requirement: &LabelRequirement) -> Expression {
    let LabelRequirement { key, operator, values } = requirement;
    let (key, values): (String, BTreeSet<String>) = (key.clone(), values.iter().cloned().collect());
    match operator {
        LabelOperator::In => Expression::In(key, values),
        LabelOperator::NotIn => Expression::NotIn(key, values),
        LabelOperator::Exists => Expression::Exists(key),
        LabelOperator::DoesNotExist => Expression::DoesNotExist(key),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::test_objects::cluster_connection;

    fn allowed(allowed: &Value) -> AllowedNamespaces {
        cluster_connection(allowed).spec.allowed_namespaces
    }

    fn labels(labels: &[(&str, &str)]) -> Labels {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn nothing_is_allowed_unless_it_is_written() {
        let any = labels(&[("team", "payments"), ("kubernetes.io/metadata.name", "shop")]);
        for nothing in
            [json!({}), json!({"names": []}), json!({"selector": {}}), json!({"selector": {"matchLabels": {}}})]
        {
            let allowed = allowed(&nothing);
            assert!(!is_named(&allowed, "shop") && !is_selected(&allowed, &any), "{nothing}");
            assert_eq!(summary(&allowed).0, "False", "{nothing}");
        }
    }

    #[test]
    fn a_namespace_is_allowed_by_its_whole_name_only() {
        let allowed = allowed(&json!({"names": ["shop", "bank"]}));
        assert!(is_named(&allowed, "shop") && is_named(&allowed, "bank"));
        for other in ["", "sho", "shop-2", "Shop", "*"] {
            assert!(!is_named(&allowed, other), "{other}");
        }
        assert!(!is_selected(&allowed, &labels(&[("kubernetes.io/metadata.name", "shop")])), "names select nothing");
    }

    #[test]
    fn labels_are_compared_as_kubernetes_compares_them() {
        let of = |selector: Value| allowed(&json!({"selector": selector}));
        let [payments, ledger, none] =
            [labels(&[("team", "payments"), ("env", "prod")]), labels(&[("team", "ledger")]), labels(&[])];
        let selected = |selector: Value| {
            let allowed = of(selector);
            [&payments, &ledger, &none].map(|labels| is_selected(&allowed, labels))
        };
        let expression = |operator: &str, values: &[&str]| {
            let mut expression = json!({"key": "team", "operator": operator});
            if !values.is_empty() {
                expression["values"] = json!(values);
            }
            json!({"matchExpressions": [expression]})
        };
        assert_eq!(selected(json!({"matchLabels": {"team": "payments"}})), [true, false, false]);
        assert_eq!(selected(expression("In", &["payments", "ledger"])), [true, true, false]);
        assert_eq!(selected(expression("NotIn", &["payments"])), [false, true, true]);
        assert_eq!(selected(expression("Exists", &[])), [true, true, false]);
        assert_eq!(selected(expression("DoesNotExist", &[])), [false, false, true]);
        let all_must_hold = json!({
            "matchLabels": {"team": "payments", "env": "prod"},
            "matchExpressions": [{"key": "frozen", "operator": "DoesNotExist"}],
        });
        assert_eq!(selected(all_must_hold.clone()), [true, false, false]);
        let frozen = labels(&[("team", "payments"), ("env", "prod"), ("frozen", "")]);
        assert!(!is_selected(&of(all_must_hold), &frozen));
    }

    #[test]
    fn what_is_allowed_is_told_in_words() {
        let told = |of: Value| summary(&allowed(&of)).2;
        assert_eq!(told(json!({"names": ["a"]})), "requests of some namespaces can use it: 1 namespace by its name");
        let both = json!({
            "names": ["a", "b"],
            "selector": {"matchLabels": {"team": "x"}, "matchExpressions": [{"key": "env", "operator": "In", "values": ["p", "q"]}]},
        });
        assert_eq!(
            told(both),
            "requests of some namespaces can use it: 2 namespaces by their names, and those with labels team=x,env in (p,q)"
        );
        let refusal = refusal("ClusterOceanBaseConnection prod-ob", "shop");
        assert!(refusal.starts_with("ClusterOceanBaseConnection prod-ob does not allow namespace shop: "), "{refusal}");
    }
}
