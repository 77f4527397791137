//! Checks that nothing in a user's object is dropped silently. Each field refuses a null. Each object inside refuses a
//! field that it does not have, and names it. The fields are read from the schemas, so that new ones are checked too.

use serde_json::{Map, Value, json};
use sessionkill::api::definitions;

use crate::{
    cases::{Case, Server, set},
    cluster_connection, connection,
    control_plane::cluster,
    credentials, selector, session_kill, sql,
};

/// The settings with which clients ask the API server to treat unknown fields.
const VALIDATIONS: [&str; 3] = ["Ignore", "Warn", "Strict"];

/// Fields that a patch may remove, as that makes no kill more likely.
const HARMLESS: [(&str, &str); 24] = [
    ("/spec/ttlSecondsAfterFinished", "the request is kept for longer"),
    ("/spec/alibabaCloud/network", "the same gateway on its public side"),
    ("/spec/alibabaCloud/killOperation", "either operation ends what was asked for and no more"),
    ("/spec/sqlText", "what is shown, not what is ended"),
    ("/spec/alibabaCloud/signatureMethod", "the stronger one"),
    ("/spec/requestTimeoutSeconds", "how long an answer is waited for"),
    ("/spec/alibabaCloud/credentials/assumeRole/externalID", "a role that asks for it refuses"),
    ("/spec/alibabaCloud/credentials/assumeRole/durationSeconds", "how long an access key lives"),
    ("/spec/alibabaCloud/credentials/sessionPolicy", "what requests may name is limited by instanceIDs"),
    ("/spec/alibabaCloud/credentials/observe", "who lists, not who ends"),
    ("/spec/alibabaCloud/credentials/observe/assumeRole", "who lists, not who ends"),
    ("/spec/alibabaCloud/credentials/observe/assumeRole/externalID", "who lists, not who ends"),
    ("/spec/alibabaCloud/credentials/observe/assumeRole/durationSeconds", "who lists, not who ends"),
    ("/spec/alibabaCloud/credentials/observe/sessionPolicy", "who lists, not who ends"),
    ("/spec/sql/service/port", "the same Service at the usual port"),
    ("/spec/sql/user", "the user of the Secret"),
    ("/spec/sql/tls", "the strictest"),
    ("/spec/sql/tls/mode", "the strictest"),
    ("/spec/sql/tls/serverName", "the name that is called"),
    ("/spec/sql/tls/caRef", "the CA beside the password, which whoever may write the password chose"),
    ("/spec/sql/tls/caRef/key", "the usual key of the same Secret"),
    ("/spec/allowedNamespaces", "no namespace is allowed"),
    ("/spec/allowedNamespaces/names", "only those are allowed that the selector selects"),
    ("/spec/allowedNamespaces/selector", "only those are allowed that are named"),
];

/// Fields of which an object has only one: those that it lacks are those of another example.
const ALTERNATIVES: [&str; 12] = [
    "sessions",
    "selector",
    "alibabaCloud",
    "sql",
    "service",
    "host",
    "endpoint",
    "secretRef",
    "serviceAccountRef",
    "operatorIdentity",
    "instanceRole",
    "externalID",
];

/// Valid objects, which together have all fields.
fn examples() -> Vec<Value> {
    let others = [
        session_kill::valid(),
        selector::valid(),
        connection::valid(),
        sql::valid(),
        sql::by_host(),
        cluster_connection::valid(),
    ];
    let shared = credentials::examples().map(|connection| cluster_connection::lent(&connection));
    others.into_iter().chain(credentials::examples()).chain(shared).collect()
}

/// A field of a schema.
struct Field {
    /// Its position in an object, with the first item of each list.
    pointer: String,
    name: String,
    is_required: bool,
    is_choice: bool,
}

/// The schema of the fields that users write, for the kind of `object`.
fn schema_of(object: &Value) -> Value {
    let definition = definitions().into_iter().find(|it| object["kind"] == it.spec.names.kind).unwrap();
    let definition = serde_json::to_value(definition).unwrap();
    let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
    leave_out_alternatives(&mut schema, &object["spec"]);
    schema
}

/// Removes the alternatives that `object` lacks.
fn leave_out_alternatives(schema: &mut Value, object: &Value) {
    let Some(properties) = schema["properties"].as_object_mut() else { return };
    properties.retain(|name, _| object.get(name).is_some() || !ALTERNATIVES.contains(&name.as_str()));
    for (name, property) in properties {
        leave_out_alternatives(property, &object[name.as_str()]);
    }
}

/// Calls `see` with the schema and the position of each object in `schema`.
fn walk(schema: &Value, at: &str, see: &mut impl FnMut(&Value, &str)) {
    if schema["properties"].is_object() {
        see(schema, at);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{at}/{name}"), see);
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{at}/0"), see);
    }
}

/// Every field that a user may set. `object` must have all of them.
fn fields(object: &Value) -> Vec<Field> {
    let mut found = vec![];
    walk(&schema_of(object), "/spec", &mut |schema, at| {
        for (name, property) in schema["properties"].as_object().unwrap() {
            let pointer = format!("{at}/{name}");
            assert!(object.pointer(&pointer).is_some(), "the example of a {} lacks {pointer}", object["kind"]);
            let is_required = schema["required"].as_array().is_some_and(|required| required.contains(&json!(name)));
            found.push(Field { pointer, name: name.clone(), is_required, is_choice: property["enum"].is_array() });
        }
    });
    assert!(found.len() > 10, "the schema of {} was not read", object["kind"]);
    found
}

/// The position of each object that a user may write, and the names of its fields.
fn levels(object: &Value) -> Vec<(String, Vec<String>)> {
    let mut found =
        vec![(String::new(), ["apiVersion", "kind", "metadata", "spec", "status"].map(str::to_owned).to_vec())];
    walk(&schema_of(object), "/spec", &mut |schema, at| {
        found.push((at.to_owned(), schema["properties"].as_object().unwrap().keys().cloned().collect()));
    });
    found
}

/// The pointer as the API server writes it: `spec.sessions[0].serverIP`.
fn path(pointer: &str) -> String {
    let step = |name: &str| if name.parse::<usize>().is_ok() { format!("[{name}]") } else { format!(".{name}") };
    pointer.split('/').skip(1).map(step).collect::<String>().trim_start_matches('.').to_owned()
}

/// A case with a null for each field.
pub fn nulls(object: &Value) -> Vec<Case> {
    let null = |field: Field| {
        let case = set(&field.pointer, Value::Null).refused(path(&field.pointer));
        match field {
            Field { is_required: true, .. } => case.refused("Required value"),
            Field { is_choice: true, .. } => case.refused("Unsupported value"),
            Field { name, .. } => case.refused(format!("{name} must not be null: give it a value, or leave it out")),
        }
    };
    fields(object).into_iter().map(null).collect()
}

/// For each object inside: cases with a field that it does not have, and with each of its fields in upper case.
fn unknowns(object: &Value) -> Vec<Case> {
    let mut cases = vec![];
    for (level, known) in levels(object) {
        let mut case = |field: &str, advice: &str| {
            let pointer = format!("{level}/{field}");
            let name = path(&pointer).replace("[0]", "[]");
            for value in [json!(true), json!({"a": [null]}), Value::Null] {
                cases.push(set(&pointer, value).refused(format!(r#"unknown field "{name}": {advice}"#)));
            }
        };
        case("unheardOf", "there may be ");
        // The API server itself ignores the case of these two.
        for field in known.iter().filter(|field| !["apiVersion", "kind"].contains(&field.as_str())) {
            case(&field.to_uppercase(), &format!(r#"did you mean "{field}"?"#));
        }
    }
    cases
}

/// For each object in the spec: a case with more fields than any object has.
pub fn crowds(object: &Value) -> Vec<Case> {
    let crowd = |(level, _): (String, Vec<String>)| {
        let mut fields = object.pointer(&level).unwrap().clone();
        fields.as_object_mut().unwrap().extend((0..64).map(|number| (format!("unheardOf{number}"), json!(true))));
        set(&level, fields).refused(format!("{}: Too many", path(&level)))
    };
    levels(object).into_iter().skip(1).map(crowd).collect()
}

/// Common mistakes in the names of fields.
fn mistakes() -> Vec<Case> {
    let meant = |pointer: &str, value: Value, name: &str, meant: &str| {
        set(pointer, value).refused(format!(r#"unknown field "{name}": did you mean "{meant}"?"#))
    };
    let expect = json!({"user": "report_ro"});
    vec![
        meant("/spec/dryRun", json!(true), "spec.dryRun", "mode"),
        meant("/spec/Mode", json!("DryRun"), "spec.Mode", "mode"),
        meant("/spec/tenant", json!("t1"), "spec.tenant", "tenantID"),
        meant("/spec/notAfter", json!("2026-10-05T09:30:00Z"), "spec.notAfter", "notAfterTime"),
        meant("/spec/suspended", json!(true), "spec.suspended", "suspend"),
        meant("/spec/sessions/0/expects", expect.clone(), "spec.sessions[].expects", "expect"),
        meant("/spec/sessions/1/Expect", expect, "spec.sessions[].Expect", "expect"),
        meant("/spec/sessions/0/expect/clientIp", json!("10.2.3.4"), "spec.sessions[].expect.clientIp", "clientIP"),
        meant("/spec/verification/timeout", json!(60), "spec.verification.timeout", "timeoutSeconds"),
        // This field is not indented enough.
        set("/suspend", true)
            .refused(r#"unknown field "suspend": there may be apiVersion, kind, metadata, spec, status"#),
    ]
}

#[tokio::test]
async fn no_field_takes_a_null_and_none_is_overlooked() {
    let server = Server::in_namespace("dropped").await;
    for object in examples() {
        for validation in VALIDATIONS {
            let server = server.validating(validation);
            server.check_create(&object, &nulls(&object)).await;
            server.check_create(&object, &unknowns(&object)).await;
        }
        for case in nulls(&object).into_iter().chain(unknowns(&object)) {
            let changed = case.fields().next().unwrap().rsplit('/').next().unwrap().to_owned();
            let refusal = server.validating("Ignore").apply(&case.applied_to(&object)).await.unwrap_err();
            assert!(refusal.contains(&changed), "{case} applied: {refusal}");
        }
    }
    server.validating("Ignore").check_create(&session_kill::valid(), &mistakes()).await;
}

#[tokio::test]
async fn no_update_takes_a_null_and_none_is_overlooked() {
    let server = Server::in_namespace("dropped-later").await.validating("Ignore");
    for object in examples() {
        let stored = server.create(&object).await;
        server.check_update(&stored, &nulls(&object)).await;
        // In an immutable part, an unknown field counts as a change.
        let is_mutable = |case: &Case| {
            let field = case.fields().next().unwrap();
            object["kind"] != "SessionKill" || field.split('/').count() <= 3
        };
        let (named, immutable): (Vec<_>, Vec<_>) = unknowns(&object).into_iter().partition(is_mutable);
        server.check_update(&stored, &named).await;
        for case in immutable {
            let field = case.fields().next().unwrap();
            let case = set(field, true).refused("is immutable: create a new SessionKill instead");
            server.check_update(&stored, &[case]).await;
        }
    }
}

/// A template that renders nothing for a field writes a null, and in a patch the API server removes such a field.
#[tokio::test]
async fn no_patch_takes_away_what_makes_a_kill_less_likely() {
    let server = Server::in_namespace("taken-away").await;
    let mut held = session_kill::of_statements();
    (held["spec"]["mode"], held["spec"]["suspend"]) = ("DryRun".into(), true.into());
    let mut chosen = selector::valid();
    (chosen["spec"]["scope"], chosen["spec"]["connectionRef"]["kind"]) =
        (held["spec"]["scope"].clone(), held["spec"]["connectionRef"]["kind"].clone());
    (chosen["spec"]["mode"], chosen["spec"]["suspend"]) = ("DryRun".into(), true.into());
    let others = [connection::valid(), credentials::lent(), sql::valid(), sql::by_host(), cluster_connection::valid()];
    for object in [held, chosen].into_iter().chain(others) {
        let stored = server.create(&object).await;
        // Leave out fields in lists, as a patch replaces a whole list.
        for field in fields(&object).into_iter().filter(|field| !field.pointer.contains("/0/")) {
            let names = field.pointer.split('/').skip(1).collect::<Vec<_>>();
            let patch = names
                .iter()
                .rev()
                .fold(Value::Null, |inner, name| Value::Object(Map::from_iter([((*name).to_owned(), inner)])));
            let answer = server.merge(&stored, &patch).await;
            let is_harmless = HARMLESS.iter().any(|(pointer, _)| *pointer == field.pointer);
            match answer {
                Ok(_) => assert!(is_harmless, "{} was taken away from a {}", field.pointer, object["kind"]),
                Err(refusal) => {
                    assert!(!is_harmless, "{} is not harmless: {refusal}", field.pointer);
                    // The message names the field, or the immutable object that it is in.
                    let is_named = names[1..].iter().any(|name| refusal.contains(*name));
                    assert!(is_named, "{} is not named: {refusal}", field.pointer);
                }
            }
        }
    }
}

/// kubectl without `--server-side` leaves out nulls, and patches an existing object.
#[tokio::test]
async fn a_manifest_that_says_nothing_for_suspend_lets_nothing_go() {
    Server::in_namespace("rendered").await;
    let mut request = session_kill::valid();
    for (how, options) in [("client", &["--validate=false"][..]), ("server", &["--server-side", "--validate=false"])] {
        request["metadata"]["name"] = how.into();
        let mut apply = async |suspend: Value| {
            request["spec"]["suspend"] = suspend;
            let apply = [&["apply", "-n", "rendered", "-f", "-"], options].concat();
            cluster().await.kubectl_with(&apply, &request.to_string()).await
        };
        let refused = apply(Value::Null).await;
        let null =
            if how == "client" { r#""suspend":null: give the field a value"# } else { "suspend must not be null" };
        assert!(!refused.success && refused.stderr.contains(null), "{how}: {refused:?}");
        assert!(apply(true.into()).await.success, "{how}");
        let refused = apply(Value::Null).await;
        assert!(!refused.success && refused.stderr.contains("spec.suspend"), "{how}: {refused:?}");
        let suspend = ["get", "sk", how, "-n", "rendered", "-o", "jsonpath={.spec.suspend}"];
        assert_eq!(cluster().await.kubectl(&suspend).await.stdout, "true", "{how}");
        let released = apply(false.into()).await;
        assert!(released.success, "{how}: {released:?}");
    }
}

#[tokio::test]
async fn no_amount_of_unknown_fields_is_stored() {
    let server = Server::in_namespace("unheard-of").await.validating("Ignore");
    let many = (0..2000).map(|number| (format!("u{number}"), Value::Null)).collect::<Map<_, _>>();
    for object in examples() {
        server.check_create(&object, &crowds(&object)).await;
        let mut crowd = object["spec"].clone();
        crowd.as_object_mut().unwrap().extend(many.clone());
        let cases = [
            set("/unheardOf", "x".repeat(1_000_000)).refused("unknown field"),
            set("/spec/unheardOf", "x".repeat(1_000_000)).refused("unknown field"),
            set(format!("/spec/{}", "x".repeat(1_000_000)), true).refused("unknown field"),
            set("/spec/unheardOf", Value::Object(many.clone())).refused("unknown field"),
            set("/spec", crowd).refused("spec: Too many"),
        ];
        server.check_create(&object, &cases).await;
    }
}
