//! kustomize changes names, and must change the fields that refer to them too.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use testbed::control_plane::ControlPlane;
use testbed::manifests;

use crate::examples::{name, named};
use crate::stage::{ground, repository, text};

/// Both kinds of changes: a prefix for all names, and a hash for a generated Secret.
const KUSTOMIZATION: &str = r#"
namePrefix: bank-
resources: [connection.yaml, request.yaml]
secretGenerator:
- name: aliyun-ak
  literals: [accessKeyID=LTAI5tExampleKeyID000001, accessKeySecret=replace-me]
  options: {labels: {sessionkill.dev/credentials: "true"}}
"#;

/// The example for Flux as `kubectl kustomize` renders it, with `more` in its kustomization. Returns the file and its
/// objects.
async fn rendered(control_plane: &ControlPlane, folder: &str, more: &str) -> (String, Vec<Value>) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).unwrap();
    for (file, from) in [
        ("connection.yaml", "deploy/flux/example/connections/connection.yaml"),
        ("request.yaml", "deploy/flux/example/requests/request.yaml"),
        ("name-references.yaml", "deploy/kustomize/name-references.yaml"),
    ] {
        fs::copy(repository(from), folder.join(file)).unwrap();
    }
    fs::write(folder.join("kustomization.yaml"), format!("{KUSTOMIZATION}{more}")).unwrap();
    let text = control_plane.run_kubectl(&["kustomize", folder.to_str().unwrap()]).await.unwrap();
    let file = folder.join("rendered.yaml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let objects = manifests::read(&file).unwrap();
    (file, objects)
}

/// The name of the connection and the request's reference to it, and the name of the Secret and the connection's
/// reference to it.
fn references<'a>(objects: &'a [Value], kind: &str) -> [(&'a str, &'a str); 2] {
    let [secret, connection, request] = ["Secret", kind, "SessionKill"].map(|kind| named(objects, kind)[0]);
    [
        (name(connection), text(&request["spec"]["connectionRef"], "name")),
        (name(secret), text(&connection["spec"]["alibabaCloud"]["credentials"]["secretRef"], "name")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_that_kustomize_changes_are_changed_where_they_are_referred_to() {
    let control_plane = &ground().await.control_plane;
    let line = "configurations: [name-references.yaml]";
    for file in ["docs/gitops.md", "deploy/kustomize/name-references.yaml"] {
        assert!(fs::read_to_string(repository(file)).unwrap().contains(line), "{file} does not say: {line}");
    }
    let (file, objects) = rendered(control_plane, "kustomize-with-references", line).await;
    let [(connection, to_connection), (secret, to_secret)] = references(&objects, "OceanBaseConnection");
    assert_eq!((connection, to_connection), ("bank-prod-ob", "bank-prod-ob"));
    assert!(secret.strip_prefix("bank-aliyun-ak-").is_some_and(|hash| !hash.is_empty()), "{secret}");
    assert_eq!(to_secret, secret);
    let strictly = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors"];
    control_plane.run_kubectl(&[&strictly[..], &["--namespace", "default", "-f", &file]].concat()).await.unwrap();

    // Without the configuration, the references do not change.
    let (_, objects) = rendered(control_plane, "kustomize-without-references", "").await;
    let [(connection, to_connection), (secret, to_secret)] = references(&objects, "OceanBaseConnection");
    assert_eq!((connection, to_connection), ("bank-prod-ob", "prod-ob"));
    assert_ne!(secret, to_secret);
}

const KINDS: [&str; 2] = ["OceanBaseConnection", "ClusterOceanBaseConnection"];

/// The objects of `manifests` as `kubectl kustomize` renders them with a prefix for all names. Their connection gets another kind.
async fn prefixed(folder: &str, manifests: &str, kind: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder).join(kind);
    fs::create_dir_all(&folder).unwrap();
    let manifests = manifests.replace("kind: OceanBaseConnection", &format!("kind: {kind}"));
    fs::write(folder.join("objects.yaml"), manifests).unwrap();
    fs::copy(repository("deploy/kustomize/name-references.yaml"), folder.join("name-references.yaml")).unwrap();
    let kustomization = "namePrefix: bank-\nresources: [objects.yaml]\nconfigurations: [name-references.yaml]\n";
    fs::write(folder.join("kustomization.yaml"), kustomization).unwrap();
    let control_plane = &ground().await.control_plane;
    let text = control_plane.run_kubectl(&["kustomize", folder.to_str().unwrap()]).await.unwrap();
    let file = folder.join("rendered.yaml");
    fs::write(&file, text).unwrap();
    manifests::read(file.to_str().unwrap()).unwrap()
}

fn sample(name: &str) -> String {
    fs::read_to_string(repository("deploy/samples").join(name)).unwrap()
}

/// The ServiceAccount of the sample, which lists sessions, too.
#[tokio::test(flavor = "multi_thread")]
async fn so_is_that_of_a_service_account() {
    let observe = "      observe: {serviceAccountRef: {name: ob-kill}}\n      sessionPolicy: Actions\n";
    let manifests = sample("service-account-connection.yaml").replace("      sessionPolicy: Actions\n", observe);
    for kind in KINDS {
        let objects = prefixed("kustomize-service-account", &manifests, kind).await;
        let connection = &named(&objects, kind)[0]["spec"]["alibabaCloud"]["credentials"];
        let referred = [connection, &connection["observe"]].map(|identity| &identity["serviceAccountRef"]["name"]);
        assert_eq!(name(named(&objects, "ServiceAccount")[0]), "bank-ob-kill");
        assert_eq!(referred, [&json!("bank-ob-kill"); 2], "{kind}");
    }
}

/// The Service, the Secret with the login and the Secret with the CA, which are one in the sample.
#[tokio::test(flavor = "multi_thread")]
async fn so_are_those_of_a_database() {
    let tls = "    tls:\n";
    let connection = sample("sql-connection.yaml");
    assert!(connection.contains(tls), "{connection}");
    let connection = connection.replace(tls, &format!("{tls}      caRef: {{name: shop-ob}}\n"));
    let manifests = [connection, sample("sql-credentials.yaml")].join("---\n");
    for kind in KINDS {
        let objects = prefixed("kustomize-database", &manifests, kind).await;
        let [service, secret] = ["Service", "Secret"].map(|kind| name(named(&objects, kind)[0]));
        assert_eq!((service, secret), ("bank-sessionkill-ob", "bank-shop-ob"));
        let sql = &named(&objects, kind)[0]["spec"]["sql"];
        let referred =
            [&sql["credentials"]["secretRef"], &sql["tls"]["caRef"], &sql["service"]].map(|it| text(it, "name"));
        assert_eq!(referred, [secret, secret, service], "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_are_those_of_a_connection_of_no_namespace() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kustomize-shared");
    fs::create_dir_all(&folder).unwrap();
    let request = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill", "metadata": {"name": "inc-4711"},
        "spec": {"connectionRef": {"kind": "ClusterOceanBaseConnection", "name": "shared-ob"}},
    });
    fs::write(folder.join("request.yaml"), request.to_string()).unwrap();
    for (file, from) in [
        ("connection.yaml", "deploy/samples/cluster-connection.yaml"),
        ("name-references.yaml", "deploy/kustomize/name-references.yaml"),
    ] {
        fs::copy(repository(from), folder.join(file)).unwrap();
    }
    fs::write(folder.join("kustomization.yaml"), format!("{KUSTOMIZATION}configurations: [name-references.yaml]"))
        .unwrap();
    let control_plane = &ground().await.control_plane;
    let text = control_plane.run_kubectl(&["kustomize", folder.to_str().unwrap()]).await.unwrap();
    let file = folder.join("rendered.yaml");
    fs::write(&file, text).unwrap();
    let objects = manifests::read(file.to_str().unwrap()).unwrap();
    let [(connection, to_connection), (secret, to_secret)] = references(&objects, "ClusterOceanBaseConnection");
    assert_eq!((connection, to_connection), ("bank-shared-ob", "bank-shared-ob"));
    assert!(to_secret == secret && secret.starts_with("bank-aliyun-ak-"), "{secret} {to_secret}");
}
