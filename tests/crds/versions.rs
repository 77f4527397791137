//! Checks that each supported version of Kubernetes accepts the definitions, with the library of that version. The
//! estimated cost of a rule differs between versions. A rule that the newest version accepts may make an older one
//! refuse the definition.

use std::{fs, path::PathBuf};

use serde_json::json;
use sessionkill::kubernetes::server_version::OLDEST_MINOR;
use testbed::{control_plane::Kubernetes, definitions, scratch};

use crate::control_plane::repository;

fn committed() -> Vec<PathBuf> {
    fs::read_dir(repository("crds")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The definition of requests with a rule that costs too much: it compares each session with each other, and that once
/// more.
fn too_costly() -> String {
    let definitions = sessionkill::api::definitions();
    let requests = definitions.into_iter().find(|definition| definition.spec.names.plural == "sessionkills");
    let mut definition = serde_json::to_value(requests.unwrap()).unwrap();
    let sessions = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/sessions";
    let rules = &mut definition.pointer_mut(sessions).unwrap()["x-kubernetes-validations"];
    *rules = json!([{"rule": "self.all(a, self.all(b, self.all(c, a.serverIP + b.serverIP != c.serverIP)))"}]);
    definition.to_string()
}

#[test]
fn every_supported_version_takes_the_definitions_and_refuses_what_is_too_costly() {
    let minors = definitions::minors().unwrap();
    let supported: Vec<u32> = (OLDEST_MINOR..=Kubernetes::Newest.minor().unwrap()).collect();
    assert_eq!(minors, supported, "testbed/definitions has a 1.N.mod for each supported version");
    let directory = scratch::directory().unwrap();
    let costly = directory.path().join("costly.json");
    fs::write(&costly, too_costly()).unwrap();
    for minor in minors {
        assert_eq!(definitions::faults(minor, &committed()).unwrap(), "", "Kubernetes 1.{minor} refuses crds/");
        let faults = definitions::faults(minor, std::slice::from_ref(&costly)).unwrap();
        assert!(faults.contains("estimated rule cost exceeds budget"), "Kubernetes 1.{minor}: {faults}");
    }
}
