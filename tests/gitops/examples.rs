//! What is shipped for Argo CD and Flux: taken by the real API server as far as the kinds are there, and of one piece.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Deserializer, Value, json};
use testbed::control_plane::ControlPlane;

use crate::stage::{ground, repository, text};

const OURS: &str = "sessionkill.dev/v1alpha1";

/// The documents of a YAML file, of whatever kinds: kubectl reads it, and asks no server.
pub async fn documents(control_plane: &ControlPlane, file: &Path) -> Vec<Value> {
    let file = file.to_str().unwrap();
    let arguments = ["label", "--local", "--overwrite", "-o", "json", "-f", file, "read=yes"];
    let read = control_plane.run_kubectl(&arguments).await.unwrap();
    let mut documents: Vec<Value> = Deserializer::from_str(&read).into_iter().collect::<Result<_, _>>().unwrap();
    for document in &mut documents {
        let labels = document["metadata"]["labels"].as_object_mut().unwrap();
        labels.remove("read");
        if labels.is_empty() {
            document["metadata"].as_object_mut().unwrap().remove("labels");
        }
    }
    documents
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The objects below a folder, which the API server takes strictly and without a warning.
async fn applicable(control_plane: &ControlPlane, folder: &str) -> Vec<Value> {
    let mut objects = vec![];
    for file in files(&repository(folder)) {
        let path = file.to_str().unwrap();
        let strictly = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors"];
        control_plane.run_kubectl(&[&strictly[..], &["-f", path]].concat()).await.unwrap();
        objects.extend(documents(control_plane, &file).await);
    }
    objects
}

fn named<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn name(object: &Value) -> &str {
    text(&object["metadata"], "name")
}

/// Each request names a connection that is there and allows it.
fn fit_together(objects: &[Value]) {
    let connections = named(objects, "OceanBaseConnection");
    let requests = named(objects, "SessionKill");
    assert!(!connections.is_empty() && !requests.is_empty(), "{objects:?}");
    for request in requests {
        let spec = &request["spec"];
        let connection = connections.iter().find(|it| name(it) == text(&spec["connectionRef"], "name"));
        let allowed = &connection.unwrap_or_else(|| panic!("{request} names no connection"))["spec"];
        for (list, field) in [("instanceIDs", "instanceID"), ("tenantIDs", "tenantID")] {
            assert!(allowed[list].as_array().unwrap().contains(&spec[field]), "{request}");
        }
        for session in spec["sessions"].as_array().unwrap() {
            assert!(
                session["expect"].is_object(),
                "what a new user copies must name the session that is meant: {session}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_argo_cd_has_the_connection_in_an_earlier_wave_than_the_request() {
    let control_plane = &ground().await.control_plane;
    let objects = applicable(control_plane, "deploy/argocd/example").await;
    fit_together(&objects);
    let annotation = |object: &Value, key: &str| {
        object["metadata"]["annotations"][format!("argocd.argoproj.io/{key}")].as_str().map(str::to_owned)
    };
    let wave = |object: &Value| annotation(object, "sync-wave").map(|wave| wave.parse::<i32>().unwrap());
    let connections: Vec<_> = named(&objects, "OceanBaseConnection").into_iter().map(wave).collect();
    let (hooks, requests): (Vec<&Value>, Vec<&Value>) =
        named(&objects, "SessionKill").into_iter().partition(|it| annotation(it, "hook").is_some());
    assert_eq!(connections, [Some(0)]);
    assert_eq!(requests.into_iter().map(wave).collect::<Vec<_>>(), [Some(1)]);
    assert_eq!(annotation(hooks[0], "hook-delete-policy").as_deref(), Some("BeforeHookCreation"));

    let application = documents(control_plane, &repository("deploy/argocd/application.yaml")).await.remove(0);
    assert_eq!((text(&application, "apiVersion"), text(&application, "kind")), ("argoproj.io/v1alpha1", "Application"));
    let spec = &application["spec"];
    assert_eq!(spec["source"]["path"], "example", "the folder beside it");
    for field in
        ["/project", "/source/repoURL", "/source/targetRevision", "/destination/server", "/destination/namespace"]
    {
        assert!(spec.pointer(field).is_some_and(Value::is_string), "{field}");
    }
    let automated = json!({"prune": true, "selfHeal": true});
    let options = ["CreateNamespace=true", "ServerSideApply=true"];
    assert_eq!(spec["syncPolicy"], json!({"automated": automated, "syncOptions": options}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_for_flux_waits_for_what_is_in_its_folders() {
    let control_plane = &ground().await.control_plane;
    fit_together(&applicable(control_plane, "deploy/flux/example").await);
    let objects = documents(control_plane, &repository("deploy/flux/sync.yaml")).await;
    let sources: Vec<_> = named(&objects, "GitRepository").into_iter().map(name).collect();
    let kustomizations = named(&objects, "Kustomization");
    assert_eq!((sources.len(), kustomizations.len(), objects.len()), (1, 2, 3));
    assert_eq!(text(named(&objects, "GitRepository")[0], "apiVersion"), "source.toolkit.fluxcd.io/v1");
    let mut known = BTreeSet::new();
    for kustomization in kustomizations {
        assert_eq!(text(kustomization, "apiVersion"), "kustomize.toolkit.fluxcd.io/v1");
        let spec = &kustomization["spec"];
        assert_eq!(spec["sourceRef"], json!({"kind": "GitRepository", "name": sources[0]}));
        for dependency in spec["dependsOn"].as_array().into_iter().flatten() {
            assert!(known.contains(text(dependency, "name")), "{dependency} is not before {}", name(kustomization));
        }
        known.insert(name(kustomization));
        let folder = text(spec, "path").strip_prefix("./").unwrap();
        let there = applicable(control_plane, &format!("deploy/flux/{folder}")).await;
        let there: Vec<_> = there.iter().map(|it| (text(it, "apiVersion"), text(it, "kind"), name(it))).collect();
        let checks = spec["healthChecks"].as_array().unwrap();
        let waited_for: Vec<_> =
            checks.iter().map(|it| (text(it, "apiVersion"), text(it, "kind"), text(it, "name"))).collect();
        assert_eq!(waited_for, there, "{folder}");
        assert!(waited_for.iter().all(|(version, ..)| *version == OURS));
        assert!(checks.iter().all(|check| check["namespace"] == spec["targetNamespace"]));
        // With it, Flux would delete a request and make another when an immutable field changed.
        assert_ne!(spec["force"], true);
    }
}
