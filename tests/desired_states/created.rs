//! Creates objects that the schemas allow, almost allow, or forbid.

use std::fmt::Debug;

use fastrand::Rng;
use kube::Api;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sessionkill::api::{ClusterOceanBaseConnection, OceanBaseConnection, SessionKill, definitions};
use testbed::operator::Operator;

use crate::changes::{Change, changes};
use crate::scene::{Launch, Request as _, SERVER_IP, Scene, Shown, eventually, in_seconds, session_id};
use crate::seed;
use crate::server::{create, refuse_unknown_fields, try_out};

const REQUESTS: usize = 160;
const CONNECTIONS_OF_EACH: usize = 60;

/// A request with every field set.
pub fn full_request(number: usize) -> Value {
    let id = session_id(i64::try_from(number % 50).unwrap() + 1);
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill", "metadata": {"name": format!("case-{number}")},
        "spec": {
            "connectionRef": {"name": Scene::CONNECTION}, "instanceID": Scene::INSTANCE, "tenantID": Scene::TENANT,
            "mode": "Kill", "sessions": [{"serverIP": SERVER_IP, "sessionID": id, "expect": {"user": "report_ro"}}],
            "notAfterTime": in_seconds(900), "notBeforeTime": in_seconds(-60), "reason": "INC-4711", "suspend": false,
            "ttlSecondsAfterFinished": 60, "verification": {"policy": "BestEffort", "timeoutSeconds": 5},
        },
    })
}

/// A request with every field of a selector. No session is as it says, whichever of its fields are changed.
fn choosing_request(number: usize) -> Value {
    let criteria = json!({
        "users": ["nobody"], "databases": ["none"], "clientCIDRs": ["203.0.113.0/24"], "commands": ["Never"],
        "states": ["Sleep"], "sqlIDs": ["00"], "sqlTextPattern": "^never$", "minExecutionSeconds": 2_000_000_000,
    });
    let mut request = full_request(number);
    request["metadata"]["name"] = format!("choosing-{number}").into();
    request["spec"].as_object_mut().unwrap().remove("sessions");
    request["spec"]["selector"] = json!({"match": criteria, "exclude": criteria, "maxSessions": 5, "take": "Longest"});
    request
}

/// Valid requests of all forms.
const REQUESTS_OF_EACH: [fn(usize) -> Value; 2] = [full_request, choosing_request];

/// A connection to the gateway, with every field set.
pub fn full_connection(scene: &Scene, name: &str) -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": name},
        "spec": {
            "alibabaCloud": {
                "regionID": "cn-hangzhou", "network": "Public", "endpoint": scene.gateway_url(), "killOperation": "Auto",
                "credentials": {"secretRef": {"name": Scene::SECRET}}, "instanceIDs": [Scene::INSTANCE],
                "signatureMethod": "ACS3-HMAC-SHA256",
            },
            "tenantIDs": [Scene::TENANT], "requestTimeoutSeconds": 5, "sqlText": "Truncated",
        },
    })
}

/// The same of no namespace.
pub fn full_cluster_connection(scene: &Scene, name: &str) -> Value {
    let mut connection = full_connection(scene, name);
    connection["kind"] = "ClusterOceanBaseConnection".into();
    connection["spec"]["allowedNamespaces"] = json!({
        "names": [scene.namespace],
        "selector": {
            "matchLabels": {"team": "dba"}, "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a"]}],
        },
    });
    connection
}

/// A connection with roles: one that is assumed with the key of a Secret, and one of a `ServiceAccount` that lists sessions.
pub fn connection_with_roles(scene: &Scene, name: &str) -> Value {
    let mut connection = full_connection(scene, name);
    connection["spec"]["alibabaCloud"]["credentials"] = json!({
        "secretRef": {"name": Scene::SECRET}, "sessionPolicy": "Instances",
        "assumeRole": {"roleARN": "acs:ram::1:role/kill", "externalID": "e-1", "durationSeconds": 3600},
        "observe": {
            "serviceAccountRef": {
                "name": "ob-list", "roleARN": "acs:ram::1:role/list", "oidcProviderARN": "acs:ram::1:oidc-provider/p",
            },
            "sessionPolicy": "Actions",
        },
    });
    connection
}

/// A connection to a database.
pub fn connection_by_sql(_: &Scene, name: &str) -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": name},
        "spec": {
            "sql": {
                "service": {"name": "ob", "port": 2881}, "cluster": "obcluster", "tenant": "shop",
                "credentials": {"secretRef": {"name": "ob-user"}},
                "tls": {
                    "mode": "VerifyIdentity", "caRef": {"name": "ob-ca", "key": "ca.crt"},
                    "serverName": "ob.example",
                },
            },
            "tenantIDs": ["shop"], "requestTimeoutSeconds": 5, "sqlText": "Truncated",
        },
    })
}

/// Makes a valid connection with this name.
pub type Valid = fn(&Scene, &str) -> Value;

/// Valid connections of all forms.
pub const CONNECTIONS: [Valid; 4] =
    [full_connection, full_cluster_connection, connection_with_roles, connection_by_sql];

/// All changes of the spec of `valid`, each of a field in an object that it has.
pub fn spec_changes(valid: &Value) -> Vec<Change> {
    let definition = definitions().into_iter().find(|it| valid["kind"] == it.spec.names.kind).unwrap();
    let schema =
        serde_json::to_value(&definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema).unwrap();
    let found = changes(&schema["properties"]["spec"], &valid["spec"], &["spec".to_owned()]);
    // Leave out changes without an endpoint, as the real gateway would be called.
    let is_endpoint = |change: &Change| change.field() == "spec.alibabaCloud.endpoint";
    let calls_out = |change: &Change| is_endpoint(change) && change.value.as_ref().is_none_or(Value::is_null);
    // Leave out changes of the whole spec, as the error then names no field.
    let is_whole = |change: &Change| change.path.len() == 1;
    // Otherwise the object around the field would be new, and lack what it must have.
    let is_within = |change: &Change| change.is_within(valid);
    found.into_iter().filter(|change| !calls_out(change) && !is_whole(change) && is_within(change)).collect()
}

/// The valid object with one change, and perhaps an allowed change before it. The changes are returned in their order.
pub fn changed(valid: &Value, all: &[Change], choices: &mut Rng) -> (Value, Vec<Change>) {
    let mut made = vec![];
    let mut object = valid.clone();
    let allowed: Vec<_> = all.iter().filter(|change| !change.forbidden).collect();
    let change = if choices.usize(..2) == 0 { choices.choice(&allowed).unwrap() } else { choices.choice(all).unwrap() };
    // Leave out changes that would replace the parent of the changed field, as the error then could not name the field.
    let is_beside = |other: &&&Change| !change.path.starts_with(&other.path);
    let others: Vec<_> = allowed.iter().filter(is_beside).collect();
    for _ in 0..choices.usize(..2) {
        made.push((**choices.choice(&others).unwrap()).clone());
    }
    // Make this change last, so that no other one overwrites it.
    made.push(change.clone());
    for change in &made {
        change.make(&mut object);
    }
    (object, made)
}

/// Checks that a change that the schema forbids is refused, and that every refusal names a changed field.
pub fn judge(object: &Value, made: &[Change], answer: &Result<Value, String>) {
    let Some((change, before)) = made.split_last() else { return };
    let field = change.field();
    let names = |message: &String| message.contains(&field) || message.contains(&field.replace("[0]", "[]"));
    match answer {
        Ok(_) => assert!(!change.forbidden, "{field} = {:?} was admitted", change.value),
        // A policy names a field without the position in its list. It does not run at all if a rule refuses the other
        // change.
        Err(message) if change.forbidden && (before.is_empty() || !change.is_for_a_policy()) => {
            assert!(names(message), "{field} is not named in the refusal of {object}: {message}");
        }
        Err(message) => assert!(message.contains("spec."), "no field is named in the refusal of {object}: {message}"),
    }
}

/// Checks that the operator is live and ready, and that a plain request ends as it should.
pub async fn assert_alive(scene: &Scene, operator: &Operator, number: i64) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["livez", "readyz"] {
        let answer = http.get(format!("{}/{path}", operator.health_url())).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }
    let name = format!("canary-{number}");
    scene
        .put_secret(
            "canary",
            true,
            &[("accessKeyID", crate::scene::KEY_ID), ("accessKeySecret", crate::scene::KEY_SECRET)],
        )
        .await;
    scene.put_connection("canary", "canary", json!({})).await;
    scene.request(&name).through("canary").sessions([number]).create().await;
    let ended = scene.wait_finished(&name).await;
    assert_eq!(ended.reason(), "SessionsKilled", "{}", ended.message());
}

/// Each change by itself, of all valid objects. Nothing is stored.
#[tokio::test]
async fn every_change_that_the_schema_forbids_is_refused_by_its_field() {
    let scene = Scene::set("changes").await;
    refuse_unknown_fields(&scene).await;
    let valid = CONNECTIONS.map(|valid| valid(&scene, "case"));
    for valid in REQUESTS_OF_EACH.map(|valid| valid(0)).into_iter().chain(valid) {
        assert_eq!(try_out(&scene, &valid).await.err(), None, "it is valid: {valid}");
        let (all, mut admitted) = (spec_changes(&valid), 0);
        for change in &all {
            let mut object = valid.clone();
            change.make(&mut object);
            let answer = try_out(&scene, &object).await;
            judge(&object, std::slice::from_ref(change), &answer);
            admitted += usize::from(answer.is_ok());
        }
        println!("{}: {} changes, {admitted} admitted", valid["kind"], all.len());
        assert!(admitted > 0 && admitted < all.len());
    }
    scene.end().await;
}

#[tokio::test]
async fn every_request_that_is_admitted_is_handled_and_every_refusal_names_the_field() {
    let mut choices = seed::of_this_run("requests");
    let scene = Scene::set("requests").await;
    refuse_unknown_fields(&scene).await;
    let operator = scene.operator().await;
    for valid in REQUESTS_OF_EACH {
        let all = spec_changes(&valid(0));
        let (mut admitted, mut forbidden) = (0, 0);
        for number in 0..REQUESTS {
            let (object, changes) = changed(&valid(number), &all, &mut choices);
            let answer = create(&scene, &object).await;
            judge(&object, &changes, &answer);
            admitted += usize::from(answer.is_ok());
            forbidden += usize::from(changes.last().is_some_and(|change| change.forbidden));
        }
        println!(
            "requests: {REQUESTS} of {} changes, {admitted} admitted, {forbidden} forbidden by the schema",
            all.len()
        );
        assert!(admitted > 0 && forbidden > 0 && all.len() > REQUESTS);
    }
    assert_alive(&scene, &operator, 60).await;
    eventually("every request to be handled", async || {
        // With these reasons, a user would not know what the request waits for.
        let is_busy = |reason: &str| ["Pending", "Dispatching", "Verifying"].contains(&reason);
        let is_handled = |request: &SessionKill| {
            let is_told = !request.reason().is_empty() && !request.message().is_empty();
            is_told && (request.is_finished() || !is_busy(request.reason()))
        };
        let requests = scene.requests().list(&kube::api::ListParams::default()).await.map_err(|it| it.to_string())?;
        match requests.items.into_iter().find(|request| !is_handled(request)) {
            None => Ok(()),
            Some(request) => Err(json!(request).to_string()),
        }
    })
    .await;
    scene.end().await;
}

#[tokio::test]
async fn every_connection_that_is_admitted_says_how_it_fares_and_every_refusal_names_the_field() {
    let mut choices = seed::of_this_run("connections");
    let scene = Scene::set("connections").await;
    refuse_unknown_fields(&scene).await;
    let variables = vec![
        "SESSIONKILL_CLUSTER_CONNECTIONS=true".to_owned(),
        // It issues no keys. Otherwise those of Alibaba Cloud would be called.
        format!("SESSIONKILL_STS_ENDPOINT={}", scene.gateway_url()),
        format!("SESSIONKILL_CLUSTER_RESOURCE_NAMESPACE={}", scene.namespace),
    ];
    let operator = scene.launch(Launch { variables, ..Launch::default() }).await;
    for (form, valid) in CONNECTIONS.into_iter().enumerate() {
        let all = spec_changes(&valid(&scene, ""));
        let mut admitted = 0;
        for number in 0..CONNECTIONS_OF_EACH {
            let (object, changes) = changed(&valid(&scene, &format!("case-{form}-{number}")), &all, &mut choices);
            let answer = create(&scene, &object).await;
            judge(&object, &changes, &answer);
            admitted += usize::from(answer.is_ok());
        }
        println!("connections: {CONNECTIONS_OF_EACH} of {} changes, {admitted} admitted", all.len());
        assert!(admitted > 0 && admitted < CONNECTIONS_OF_EACH);
    }
    assert_alive(&scene, &operator, 60).await;
    eventually("every connection to say how it fares", async || {
        says_how_it_fares(&scene.api::<OceanBaseConnection>()).await
    })
    .await;
    let shared: Api<ClusterOceanBaseConnection> = Api::all(scene.client.clone());
    eventually("every connection of no namespace to say so", async || says_how_it_fares(&shared).await).await;
    scene.end().await;
}

/// Whether all of these connections say whether they work.
async fn says_how_it_fares<K>(connections: &Api<K>) -> Result<(), String>
where
    K: Shown + Clone + DeserializeOwned + Serialize + Debug,
{
    let stored = connections.list(&kube::api::ListParams::default()).await.map_err(|error| error.to_string())?;
    let says = |it: &K| it.condition("Ready").is_some_and(|ready| !ready.message.is_empty());
    stored.items.into_iter().find(|it| !says(it)).map_or(Ok(()), |connection| Err(json!(connection).to_string()))
}
