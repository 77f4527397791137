//! Faults that an example must not have: its first sync would fail, or it would block the objects after it.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::examples::{name, named};
use crate::stage::text;

/// The longest time until Flux takes a new commit or tries again.
const SHORT: SignedDuration = SignedDuration::from_mins(1);

/// The phase of a sync in which Argo CD applies an object. Within a phase it goes wave by wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    PreSync,
    Sync,
    PostSync,
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][format!("argocd.argoproj.io/{key}")].as_str()
}

/// When Argo CD applies an object: the phase and the wave.
pub fn place(object: &Value) -> (Phase, i64) {
    let phase = match annotation(object, "hook") {
        None | Some("Sync") => Phase::Sync,
        Some("PreSync") => Phase::PreSync,
        Some("PostSync") => Phase::PostSync,
        Some(other) => panic!("no example has a hook of the phase {other}"),
    };
    (phase, annotation(object, "sync-wave").map_or(0, |wave| wave.parse().unwrap()))
}

/// Whether a request is made to wait.
fn waits(request: &Value) -> bool {
    request["spec"]["suspend"] == true || request["spec"]["notBeforeTime"].is_string()
}

/// Why the first sync by Argo CD would not end the sessions of a folder, or would block the sync of the next commit.
pub fn argo_cd_faults(objects: &[Value]) -> Vec<String> {
    let last = objects.iter().map(place).max();
    // Argo CD does not wait for the last wave, unless it has a hook.
    let is_waited_for = |object: &Value| {
        let beside = |it: &&Value| place(it) == place(object);
        Some(place(object)) != last || objects.iter().filter(beside).any(|it| annotation(it, "hook").is_some())
    };
    let mut faults = vec![];
    for request in named(objects, "SessionKill") {
        let of_it = |it: &&Value| name(it) == text(&request["spec"]["connectionRef"], "name");
        let connection = named(objects, "OceanBaseConnection").into_iter().find(of_it);
        if connection.is_some_and(|connection| place(connection) >= place(request)) {
            faults.push(format!("{} comes no later than its connection", name(request)));
        }
        if waits(request) && is_waited_for(request) {
            faults.push(format!("{} waits, and the sync waits for it", name(request)));
        }
    }
    faults
}

/// Why Flux would not see the end of a request in a folder, or would block the next commit for long.
pub fn flux_faults(kustomization: &Value) -> Vec<String> {
    let spec = &kustomization["spec"];
    let mut faults = vec![];
    for field in ["timeout", "retryInterval"] {
        let time = spec[field].as_str().map(|text| text.parse::<SignedDuration>().unwrap());
        if time.is_none_or(|time| time > SHORT) {
            faults.push(format!("{field} is longer than a minute"));
        }
    }
    if spec["wait"] != true {
        faults.push("it does not wait for all that it applies".to_owned());
    }
    // Beside `wait`, Flux ignores `healthChecks`. Without `wait`, a check fails after the file of its object is
    // removed.
    if !spec["healthChecks"].is_null() {
        faults.push("healthChecks name objects".to_owned());
    }
    // With `force`, Flux would delete a request and create another one when an immutable field changes.
    if spec["force"] == true {
        faults.push("force makes a request anew".to_owned());
    }
    faults
}

#[test]
fn what_breaks_a_sync_by_argo_cd_is_noticed() {
    let object = |kind: &str, name: &str, annotations: Value, spec: Value| {
        let annotations: serde_json::Map<_, _> = annotations
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (format!("argocd.argoproj.io/{key}"), value.clone()))
            .collect();
        json!({"kind": kind, "metadata": {"name": name, "annotations": annotations}, "spec": spec})
    };
    let connection = |wave: &str| object("OceanBaseConnection", "ob", json!({"sync-wave": wave}), json!({}));
    let request = |name: &str, annotations: Value, more: Value| {
        let mut spec = json!({"connectionRef": {"name": "ob"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object("SessionKill", name, annotations, spec)
    };
    let plain = |wave: &str| request("plain", json!({"sync-wave": wave}), json!({}));
    let hook = |phase: &str, wave: &str| request("hook", json!({"hook": phase, "sync-wave": wave}), json!({}));
    let suspended = |wave: &str| request("suspended", json!({"sync-wave": wave}), json!({"suspend": true}));
    let later = json!({"notBeforeTime": "2026-10-05T09:00:00Z"});
    let scheduled = |wave: &str| request("scheduled", json!({"sync-wave": wave}), later.clone());

    for fine in [
        vec![connection("0"), plain("1")],
        vec![connection("-1"), plain("0"), suspended("0")],
        vec![connection("0"), hook("Sync", "1"), plain("2"), scheduled("2")],
        // The connection belongs to another Application.
        vec![hook("PreSync", "0"), plain("0")],
        vec![connection("0"), hook("PostSync", "0")],
    ] {
        assert_eq!(argo_cd_faults(&fine), [""; 0], "{fine:?}");
    }
    let early = |name| format!("{name} comes no later than its connection");
    let held = |name| format!("{name} waits, and the sync waits for it");
    for (broken, fault) in [
        (vec![connection("0"), hook("PreSync", "1")], early("hook")),
        (vec![connection("1"), plain("1")], early("plain")),
        (vec![connection("0"), suspended("1"), plain("2")], held("suspended")),
        (vec![connection("0"), scheduled("1"), hook("Sync", "2")], held("scheduled")),
        (vec![connection("0"), scheduled("1"), hook("Sync", "1")], held("scheduled")),
    ] {
        assert_eq!(argo_cd_faults(&broken), [fault], "{broken:?}");
    }
}

#[test]
fn what_makes_flux_slow_or_blind_is_noticed() {
    let good = json!({"wait": true, "timeout": "30s", "retryInterval": "1m", "force": false});
    let with = |field: &str, value: Value| {
        let mut spec = good.clone();
        spec[field] = value;
        flux_faults(&json!({"spec": spec})).len()
    };
    assert_eq!(flux_faults(&json!({"spec": good})), [""; 0]);
    for (field, value) in [
        ("wait", Value::Null),
        ("timeout", Value::Null),
        ("timeout", json!("1m1s")),
        ("retryInterval", json!("10m")),
        ("healthChecks", json!([{"kind": "SessionKill", "name": "inc-4711"}])),
        ("force", json!(true)),
    ] {
        assert_eq!(with(field, value.clone()), 1, "{field}: {value}");
    }
}
