//! The shipped examples for Argo CD and Flux. The real API server accepts the objects whose kinds it knows, and the
//! objects of an example fit together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kube::Resource as _;
use serde_json::{Value, json};
use sessionkill::api::SessionKillReceipt;
use testbed::control_plane::ControlPlane;
use testbed::manifests;

use crate::rules::{Phase, argo_cd_faults, flux_faults, place};
use crate::stage::{ground, repository, text};

/// All files in a folder and its subfolders.
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

/// The objects in a folder. The API server must accept them strictly and without a warning.
async fn applicable(control_plane: &ControlPlane, folder: &str) -> Vec<Value> {
    let mut objects = vec![];
    for file in files(&repository(folder)) {
        let path = file.to_str().unwrap();
        let strictly = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors"];
        control_plane.run_kubectl(&[&strictly[..], &["-f", path]].concat()).await.unwrap();
        objects.extend(manifests::read(path).unwrap());
    }
    objects
}

pub fn named<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

pub fn name(object: &Value) -> &str {
    text(&object["metadata"], "name")
}

/// Checks that each request names an existing connection that allows it.
fn fit_together(objects: &[Value]) {
    let connections = named(objects, "OceanBaseConnection");
    let requests = named(objects, "SessionKill");
    assert!(!connections.is_empty() && !requests.is_empty(), "{objects:?}");
    for request in requests {
        let spec = &request["spec"];
        let connection = connections.iter().find(|it| name(it) == text(&spec["connectionRef"], "name"));
        let allowed = &connection.unwrap_or_else(|| panic!("{request} names no connection"))["spec"];
        for (list, field) in
            [(&allowed["alibabaCloud"]["instanceIDs"], "instanceID"), (&allowed["tenantIDs"], "tenantID")]
        {
            assert!(list.as_array().unwrap().contains(&spec[field]), "{request}");
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
async fn the_example_for_argo_cd_works_on_its_first_sync_and_holds_back_no_later_one() {
    let control_plane = &ground().await.control_plane;
    let objects = applicable(control_plane, "deploy/argocd/example").await;
    fit_together(&objects);
    assert_eq!(argo_cd_faults(&objects), [""; 0]);
    let order: Vec<_> = ["prod-ob", "before-migration-42", "inc-4711"]
        .into_iter()
        .map(|wanted| place(objects.iter().find(|object| name(object) == wanted).unwrap()))
        .collect();
    assert_eq!(order, [(Phase::Sync, 0), (Phase::Sync, 1), (Phase::Sync, 2)]);
    assert_eq!(objects.len(), order.len());
    let hook = objects.iter().find(|object| name(object) == "before-migration-42").unwrap();
    let annotations = &hook["metadata"]["annotations"];
    assert_eq!(annotations["argocd.argoproj.io/hook"], "Sync");
    assert_eq!(annotations["argocd.argoproj.io/hook-delete-policy"], "BeforeHookCreation");

    let application = manifests::read("deploy/argocd/application.yaml").unwrap().remove(0);
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
async fn the_example_for_flux_waits_for_all_in_its_folders_but_not_for_long() {
    let control_plane = &ground().await.control_plane;
    fit_together(&applicable(control_plane, "deploy/flux/example").await);
    let objects = manifests::read("deploy/flux/sync.yaml").unwrap();
    let sources: Vec<_> = named(&objects, "GitRepository").into_iter().map(name).collect();
    let kustomizations = named(&objects, "Kustomization");
    assert_eq!((sources.len(), kustomizations.len(), objects.len()), (1, 2, 3));
    assert_eq!(text(named(&objects, "GitRepository")[0], "apiVersion"), "source.toolkit.fluxcd.io/v1");
    let mut known = BTreeSet::new();
    for kustomization in kustomizations {
        assert_eq!(text(kustomization, "apiVersion"), "kustomize.toolkit.fluxcd.io/v1");
        assert_eq!(flux_faults(kustomization), [""; 0]);
        let spec = &kustomization["spec"];
        assert_eq!(spec["sourceRef"], json!({"kind": "GitRepository", "name": sources[0]}));
        assert_eq!((&spec["prune"], &spec["targetNamespace"]), (&json!(true), &json!("dba")));
        for dependency in spec["dependsOn"].as_array().into_iter().flatten() {
            assert!(known.contains(text(dependency, "name")), "{dependency} is not before {}", name(kustomization));
        }
        known.insert(name(kustomization));
        let folder = text(spec, "path").strip_prefix("./").unwrap();
        assert!(!applicable(control_plane, &format!("deploy/flux/{folder}")).await.is_empty());
    }
}

#[test]
fn receipts_are_named_as_an_app_project_ignores_them() {
    let (group, kind) = (SessionKillReceipt::group(&()), SessionKillReceipt::kind(&()));
    let page = fs::read_to_string(repository("docs/gitops.md")).unwrap();
    assert!(page.contains(&format!("\n  - {{group: {group}, kind: {kind}}}\n")), "docs/gitops.md");
}
