//! The documentation promises versions of Kubernetes in several places. They must be those that the operator requires
//! and the tests run on. Versions of GitOps tools must be those that the tests use.

use std::{collections::BTreeSet, fs, path::Path};

use sessionkill::kubernetes::server_version::OLDEST_MINOR;
use testbed::{control_plane::Kubernetes, flux::Flux, go};

/// Where users read the versions.
const PLACES: [&str; 3] = ["README.md", "docs/install.md", "deploy/helm/sessionkill-operator/Chart.yaml"];

/// The oldest minor versions that `text` promises: `1.33 or newer`, and in a chart `>=1.33.0-0`.
fn promised(text: &str) -> BTreeSet<u32> {
    let before = text.match_indices(" or newer").filter_map(|(end, _)| text[..end].rsplit([' ', '\n', '"']).next());
    let after = text.match_indices(">=").filter_map(|(at, sign)| text[at + sign.len()..].split('"').next());
    before.chain(after).filter_map(minor).collect()
}

/// The minor version in `1.33` or `1.33.0-0`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("1.")?.split('.').next()?.parse().ok()
}

#[test]
fn the_oldest_version_is_the_same_wherever_it_is_said() {
    let oldest = BTreeSet::from([OLDEST_MINOR]);
    for place in PLACES {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(place)).unwrap();
        assert_eq!(promised(&text), oldest, "{place}");
    }
    assert_eq!(Kubernetes::Oldest.minor().unwrap(), OLDEST_MINOR, "testbed/control-plane-oldest/go.mod");
}

#[test]
fn the_versions_that_the_tests_run_on_are_those_that_the_page_names() {
    let page = include_str!("../../docs/install.md");
    let [oldest, newest] = [Kubernetes::Oldest, Kubernetes::Newest].map(|it| it.version().unwrap());
    for (version, what) in [(oldest, "the oldest"), (newest, "the newest")] {
        let version = version.trim_start_matches('v');
        assert!(page.contains(&format!("{what} ({version})")), "docs/install.md does not name {what}: {version}");
    }
}

/// The versions of `program` in `text`, such as `3.5.7` for `Argo CD 3.5.7` or `Argo CD v3.5.7,`.
fn given<'a>(text: &'a str, program: &str) -> BTreeSet<&'a str> {
    let after = text.match_indices(program).filter_map(|(at, _)| text[at + program.len()..].strip_prefix(' '));
    let words = after.filter_map(|rest| rest.split_whitespace().next());
    let is_digit = |c: char| c.is_ascii_digit();
    let versions = words.map(|word| word.trim_start_matches('v').trim_end_matches(|c: char| !is_digit(c)));
    versions.filter(|version| version.starts_with(is_digit)).collect()
}

#[test]
fn the_versions_of_the_gitops_tools_that_are_tried_are_those_that_the_page_names() {
    let page = include_str!("../../docs/gitops.md");
    let [source, kustomize] = Flux::versions().unwrap();
    let argo_cd = go::pinned(&go::module("argocd"), "github.com/argoproj/argo-cd/v3").unwrap();
    for (program, version) in [
        ("source-controller", source),
        ("kustomize-controller", kustomize),
        ("Argo CD", argo_cd),
        ("kube-apiserver", Kubernetes::Newest.version().unwrap()),
    ] {
        let version = version.trim_start_matches('v');
        assert_eq!(given(page, program), BTreeSet::from([version]), "{program} in docs/gitops.md");
    }
}

#[test]
fn a_version_is_found_however_it_is_written() {
    let text = "Argo CD's way: Argo CD 3.5.7, or Argo CD v3.6.1.\nArgo CD tries 5 times";
    assert_eq!(given(text, "Argo CD"), BTreeSet::from(["3.5.7", "3.6.1"]));
}

#[test]
fn a_promise_is_found_however_it_is_written() {
    assert_eq!(promised("Needs Kubernetes 1.33 or newer. Go 1.26\n"), BTreeSet::from([33]));
    assert_eq!(promised("kubeVersion: \">=1.32.0-0\"\n"), BTreeSet::from([32]));
    assert_eq!(promised("1.33 or newer, >=1.32.0\n").len(), 2);
    assert_eq!(promised("Python 3.11 or newer, 1.33\n"), BTreeSet::new());
}
