//! None of our manifests is for an object that others create: an apply would remove everything that our manifest does
//! not have.

use std::fs;
use std::path::{Path, PathBuf};

use crate::control_plane::repository;

/// The folders with everything that users apply.
const FOLDERS: [&str; 2] = ["crds", "deploy"];
/// Templates of Helm, which render the same objects as `deploy/base`.
const TEMPLATES: &str = "deploy/helm";

/// The YAML files in a folder.
fn manifests(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path != repository(TEMPLATES) {
            found.extend(manifests(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found
}

/// The rest of the line that starts with `key`.
fn value<'a>(document: &'a str, key: &str) -> Option<&'a str> {
    document.lines().find_map(|line| line.strip_prefix(key)).map(str::trim)
}

/// Why an apply of this document would change another owner's object. `None` if it would not, or if the document is not
/// an object.
fn fault(document: &str) -> Option<String> {
    let (kind, version) = (value(document, "kind:")?, value(document, "apiVersion:")?);
    let metadata = document.split_once("\nmetadata:\n").map_or("", |(_, rest)| rest);
    let name = value(metadata, "  name:").unwrap_or_default();
    let is_for_kustomize = version.starts_with("kustomize.config.k8s.io/");
    let is_of_our_kinds = version.starts_with("sessionkill.dev/");
    let is_named_for_us = ["sessionkill", "session-kill"].iter().any(|ours| name.contains(ours)) && kind != "Namespace";
    let is_for_us = metadata.contains("sessionkill.dev/credentials: ");
    let is_ours = is_for_kustomize || is_of_our_kinds || is_named_for_us || is_for_us;
    (!is_ours).then(|| format!("{kind} {name} may be somebody else's: let users patch it"))
}

#[test]
fn no_manifest_is_of_an_object_that_others_make() {
    let (mut objects, mut faults) = (0, vec![]);
    for file in FOLDERS.into_iter().flat_map(|folder| manifests(&repository(folder))) {
        let text = fs::read_to_string(&file).unwrap();
        for document in text.split("\n---\n") {
            objects += usize::from(value(document, "kind:").is_some());
            faults.extend(fault(document).map(|fault| format!("{}: {fault}", file.display())));
        }
    }
    assert!(objects > 20, "{objects} objects are not all of them");
    assert_eq!(faults, [""; 0]);
}

#[test]
fn an_object_of_somebody_else_is_noticed() {
    let document = |version: &str, kind: &str, name: &str| {
        format!(
            "# Why.\napiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: sessionkill-system\n"
        )
    };
    for (version, kind, name) in [
        ("v1", "ConfigMap", "argocd-cm"),
        ("v1", "Namespace", "sessionkill-system"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", "edit"),
        ("argoproj.io/v1alpha1", "AppProject", "default"),
    ] {
        assert!(fault(&document(version, kind, name)).is_some(), "{kind} {name}");
    }
    for (version, kind, name) in [
        ("v1", "ServiceAccount", "sessionkill-operator"),
        ("sessionkill.dev/v1alpha1", "SessionKill", "inc-4711"),
        ("argoproj.io/v1alpha1", "Application", "session-kills"),
    ] {
        assert_eq!(fault(&document(version, kind, name)), None);
    }
    assert_eq!(fault("data:\n  a: b\n"), None, "no object");
}
