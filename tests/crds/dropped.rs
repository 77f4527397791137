//! Nothing that a user wrote is dropped without a word: of every object that a user writes, each field refuses a null, and each
//! level a field that it does not have, by its name. The fields are those of the schemas, so a later one is among them.

use serde_json::{Map, Value, json};
use sessionkill::api::definitions;

use crate::{
    cases::{Case, Server, set},
    connection,
    control_plane::cluster,
    session_kill,
};

/// What clients may ask of the API server about fields that it does not know.
const VALIDATIONS: [&str; 3] = ["Ignore", "Warn", "Strict"];

/// What a patch may take away, as what then holds brings no kill nearer.
const HARMLESS: [(&str, &str); 6] = [
    ("/spec/ttlSecondsAfterFinished", "the request is kept for longer"),
    ("/spec/alibabaCloud/network", "the same gateway on its public side"),
    ("/spec/alibabaCloud/killOperation", "either operation ends what was asked for and no more"),
    ("/spec/sqlText", "what is shown, not what is ended"),
    ("/spec/alibabaCloud/signatureMethod", "the stronger one"),
    ("/spec/requestTimeoutSeconds", "how long an answer is waited for"),
];

/// A field of a schema.
struct Field {
    /// Where it is in an object, in the first item of a list.
    pointer: String,
    name: String,
    is_required: bool,
    is_choice: bool,
}

/// What users write of the kind of `object`.
fn schema_of(object: &Value) -> Value {
    let definition = definitions().into_iter().find(|it| object["kind"] == it.spec.names.kind).unwrap();
    let definition = serde_json::to_value(definition).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Calls `see` with the schema of each object in `schema`, and where it is.
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

/// Every field that a user may set, each of which `object` has.
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

/// Where each object is that a user may write, and the fields that it may have.
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

/// A null for each field.
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

/// A field at each level that is none there, and each field by another name.
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
        // Of these the API server minds no case.
        for field in known.iter().filter(|field| !["apiVersion", "kind"].contains(&field.as_str())) {
            case(&field.to_uppercase(), &format!(r#"did you mean "{field}"?"#));
        }
    }
    cases
}

/// More fields than any object has, in each that stands in the spec.
pub fn crowds(object: &Value) -> Vec<Case> {
    let crowd = |(level, _): (String, Vec<String>)| {
        let mut fields = object.pointer(&level).unwrap().clone();
        fields.as_object_mut().unwrap().extend((0..64).map(|number| (format!("unheardOf{number}"), json!(true))));
        set(&level, fields).refused(format!("{}: Too many", path(&level)))
    };
    levels(object).into_iter().skip(1).map(crowd).collect()
}

/// What people write for what they mean.
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
        // Indented too little.
        set("/suspend", true)
            .refused(r#"unknown field "suspend": there may be apiVersion, kind, metadata, spec, status"#),
    ]
}

#[tokio::test]
async fn no_field_takes_a_null_and_none_is_overlooked() {
    let server = Server::in_namespace("dropped").await;
    for object in [session_kill::valid(), connection::valid()] {
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
    for object in [session_kill::valid(), connection::valid()] {
        let stored = server.create(&object).await;
        server.check_update(&stored, &nulls(&object)).await;
        // Within what cannot be changed an unknown field is a change.
        let is_mutable = |case: &Case| {
            let field = case.fields().next().unwrap();
            object["kind"] == "OceanBaseConnection" || field.split('/').count() <= 3
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

/// A patch of what a template rendered has a null where it rendered nothing, and the API server takes that for a removal.
#[tokio::test]
async fn no_patch_takes_away_what_makes_a_kill_less_likely() {
    let server = Server::in_namespace("taken-away").await;
    let mut held = session_kill::valid();
    (held["spec"]["mode"], held["spec"]["suspend"]) = ("DryRun".into(), true.into());
    for object in [held, connection::valid()] {
        let stored = server.create(&object).await;
        // A patch replaces a list as a whole.
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
                    // Or what it is in, which cannot be changed.
                    let is_named = names[1..].iter().any(|name| refusal.contains(*name));
                    assert!(is_named, "{} is not named: {refusal}", field.pointer);
                }
            }
        }
    }
}

/// kubectl without `--server-side` leaves out nulls, and patches an object that is there.
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
    for object in [session_kill::valid(), connection::valid()] {
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
