//! `deploy/base` is exactly what the chart renders with its default values. The definitions and the version in the
//! chart are those of the repository. So each has one source.

use std::{collections::BTreeMap, env, fs};

use serde_json::{Value, json};
use sessionkill::rights;
use testbed::chart;

use crate::{admitted, control_plane::repository, furnished, render, render_of};

const HEADER: &str = "# The chart in deploy/helm with its default values: UPDATE_BASE=1 cargo test --test chart base\n";
/// The file that only the base has.
const KUSTOMIZATION: &str = "kustomization.yaml";
/// The labels that only Helm needs.
const HELMS_LABELS: [&str; 2] = ["app.kubernetes.io/managed-by", "helm.sh/chart"];

/// The objects that the templates make by default, as files of the base.
async fn generated() -> BTreeMap<String, String> {
    let values = json!({"crds": {"install": false}});
    let rendered = render_of(&chart::directory(), &values, &["--skip-tests"]).await.unwrap();
    let mut files = BTreeMap::<String, String>::new();
    for document in rendered.split("---\n# Source: ").skip(1) {
        let (source, manifest) = document.split_once('\n').unwrap();
        let name = source.rsplit('/').next().unwrap();
        let kept = manifest.lines().filter(|line| !HELMS_LABELS.iter().any(|label| line.trim().starts_with(label)));
        let manifest = kept.collect::<Vec<_>>().join("\n");
        let file = files.entry(name.to_owned()).or_insert_with(|| HEADER.to_owned());
        if file.len() > HEADER.len() {
            file.push_str("---\n");
        }
        file.push_str(manifest.trim());
        file.push('\n');
    }
    files
}

#[tokio::test]
async fn the_base_is_what_the_chart_renders() {
    let generated = generated().await;
    let directory = repository("deploy/base");
    if env::var_os("UPDATE_BASE").is_some() {
        for (name, text) in &generated {
            fs::write(directory.join(name), text).unwrap();
        }
    }
    let read = |name: String| (name.clone(), fs::read_to_string(directory.join(&name)).unwrap());
    let names = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let committed: BTreeMap<_, _> = names.filter(|name| name != KUSTOMIZATION).map(read).collect();
    let kustomization = fs::read_to_string(directory.join(KUSTOMIZATION)).unwrap();
    for name in generated.keys() {
        assert!(kustomization.contains(&format!("- {name}")), "deploy/base/kustomization.yaml does not name {name}");
    }
    assert!(
        committed == generated,
        "deploy/base is not what the chart renders: run UPDATE_BASE=1 cargo test --test chart base and commit the result"
    );
}

/// Compared as the API server would store them, with kustomize for the base, and not as text.
#[tokio::test]
async fn the_chart_and_the_base_install_the_same_objects() {
    let cluster = furnished().await;
    let base = cluster.kubectl(&["kustomize", repository("deploy/base").to_str().unwrap()]).await;
    assert!(base.success, "{}", base.stderr);
    let base = comparable(admitted(cluster, "deploy/base", &base.stdout).await);
    let chart = comparable(admitted(cluster, "the chart", &render(&json!({})).await).await);
    assert_eq!(base.keys().collect::<Vec<_>>(), chart.keys().collect::<Vec<_>>());
    assert!(base.len() > 6, "{:?}", base.keys());
    for (name, object) in &base {
        assert_eq!(object, &chart[name], "{name}");
    }
}

/// The objects by kind and name. Left out: what only Helm or only kustomize needs, and what differs each time.
fn comparable(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let kinds = ["CustomResourceDefinition", "Pod"];
    let kept = objects.into_iter().filter(|object| !kinds.contains(&object["kind"].as_str().unwrap()));
    let cleaned = kept.map(|mut object| {
        let metadata = object["metadata"].as_object_mut().unwrap();
        for changing in ["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"] {
            metadata.remove(changing);
        }
        let labels = metadata["labels"].as_object_mut().unwrap();
        labels.retain(|label, _| !HELMS_LABELS.contains(&label.as_str()));
        // The API server chooses these.
        for address in ["clusterIP", "clusterIPs"] {
            object["spec"].as_object_mut().map(|spec| spec.remove(address));
        }
        object
    });
    cleaned.map(|object| (format!("{}/{}", object["kind"], object["metadata"]["name"]), object)).collect()
}

#[test]
fn the_charts_definitions_are_those_in_crds() {
    let copies = chart::directory().join("files/crds");
    let names = |directory| {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    for name in names(repository("crds")) {
        let definition = fs::read_to_string(repository("crds").join(&name)).unwrap();
        if env::var_os("UPDATE_BASE").is_some() {
            fs::write(copies.join(&name), &definition).unwrap();
        }
        let copy = fs::read_to_string(copies.join(&name)).unwrap_or_default();
        assert!(
            copy == definition,
            "files/crds/{name} of the chart is old: UPDATE_BASE=1 cargo test --test chart base"
        );
    }
    assert_eq!(names(copies), names(repository("crds")));
}

#[test]
fn the_chart_is_of_this_version() {
    let chart = fs::read_to_string(chart::directory().join("Chart.yaml")).unwrap();
    for field in ["version", "appVersion"] {
        let line = format!("{field}: {}", env!("CARGO_PKG_VERSION"));
        assert!(chart.lines().any(|it| it == line), "Chart.yaml lacks {line}");
    }
}

/// The list of rights that the operator checks is exactly what its roles grant.
#[tokio::test]
async fn the_check_asks_for_exactly_the_rights_that_are_granted() {
    let objects = admitted(furnished().await, "the chart", &render(&json!({})).await).await;
    let named =
        |object: &&Value| object["kind"] == "ClusterRole" && object["metadata"]["name"] == "sessionkill-operator";
    let rules = objects.iter().find(named).unwrap()["rules"].as_array().unwrap().clone();
    let needed = rights::NEEDED.iter().chain([&rights::NEEDED_OF_NAMESPACES]).chain(&rights::NEEDED_OF_CLUSTER);
    let needed = needed.map(|(group, resource, subresource, verbs)| {
        let resource =
            if subresource.is_empty() { (*resource).to_owned() } else { format!("{resource}/{subresource}") };
        json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
    });
    assert_eq!(rules, needed.collect::<Vec<_>>());

    let of_lease =
        |object: &&Value| object["metadata"]["name"] == "sessionkill-operator-leases" && object["kind"] == "Role";
    let rules = &objects.iter().find(of_lease).unwrap()["rules"];
    let verbs = |named: bool| {
        let asked = rights::NEEDED_OF_LEASE.into_iter().filter(|(_, by_name)| *by_name == named);
        json!(asked.map(|(verb, _)| verb).collect::<Vec<_>>())
    };
    assert_eq!([&rules[0]["verbs"], &rules[1]["verbs"]], [&verbs(true), &verbs(false)]);
}
