//! Checks that `crds/` has exactly what is generated from the types.

use std::{collections::BTreeMap, env, fs};

use crate::control_plane::repository;

#[test]
fn the_definitions_in_crds_are_those_of_the_types() {
    let generated: BTreeMap<String, String> = sessionkill::api::definitions()
        .iter()
        .zip(sessionkill::api::manifests().unwrap())
        .map(|(definition, manifest)| (format!("{}.yaml", definition.spec.names.plural), manifest))
        .collect();
    let directory = repository("crds");
    if env::var_os("UPDATE_CRDS").is_some() {
        for (name, manifest) in &generated {
            fs::write(directory.join(name), manifest).unwrap();
        }
    }
    let committed: BTreeMap<String, String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&committed), names(&generated), "crds/ holds exactly one file for each kind");
    for (name, manifest) in generated {
        assert!(
            committed[&name] == manifest,
            "crds/{name} is not what crates/api/src defines: run UPDATE_CRDS=1 cargo test --test crds drift and commit the result"
        );
    }
}
