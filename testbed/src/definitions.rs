//! Checks custom resource definitions as the API server of each supported Kubernetes version does, without running it.
//! `testbed/definitions` makes one program per minor version from its own library.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, ensure};

use crate::{cache, go};

/// The minor versions of Kubernetes 1 that there is a program for, in order.
pub fn minors() -> anyhow::Result<Vec<u32>> {
    let sources = go::module("definitions");
    let mut minors = vec![];
    for entry in fs::read_dir(&sources).with_context(|| format!("cannot read {}", sources.display()))? {
        let name = entry?.file_name();
        let minor = name.to_str().and_then(|name| name.strip_prefix("1.")?.strip_suffix(".mod"));
        minors.extend(minor.and_then(|minor| minor.parse::<u32>().ok()));
    }
    minors.sort_unstable();
    Ok(minors)
}

/// The objections of the API server of Kubernetes 1.`minor` to the definitions in `files`, one line each. Empty if it
/// accepts them. Blocks: the first use on a machine builds the program, which takes about a minute.
pub fn faults(minor: u32, files: &[PathBuf]) -> anyhow::Result<String> {
    let program = program(minor)?;
    let said = Command::new(&program).args(files).output();
    let said = said.with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(said.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&said.stderr).trim());
    Ok(String::from_utf8(said.stdout)?)
}

fn program(minor: u32) -> anyhow::Result<PathBuf> {
    let sources = go::module("definitions");
    let name = format!("definitions-1.{minor}-{}", go::fingerprint(&sources)?);
    let built = cache::directory(&name, |directory| {
        eprintln!("building {name} (once, a minute or so) ...");
        let modules = format!("-modfile=1.{minor}.mod");
        go::compile(&sources, &[&modules], &["."], &directory.join("definitions"))
    })?;
    Ok(built.join("definitions"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_file_pins_the_library_of_its_version() {
        let minors = minors().unwrap();
        assert!(minors.len() > 1, "{minors:?}");
        for minor in minors {
            let text = fs::read_to_string(go::module("definitions").join(format!("1.{minor}.mod"))).unwrap();
            let pins = text.lines().filter_map(|line| line.trim().strip_prefix("k8s.io/")?.split_once(' '));
            let of_the_version = pins.filter(|(_, version)| version.starts_with(&format!("v0.{minor}.")));
            let named: Vec<_> = of_the_version.map(|(name, _)| name).collect();
            assert!(named.contains(&"apiextensions-apiserver") && named.contains(&"apiserver"), "1.{minor}: {named:?}");
        }
    }
}
