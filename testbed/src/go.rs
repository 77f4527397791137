//! Go programs of the testbed. They are built once per machine and change, outside the source tree.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::{cache, process::missing_tool};

/// Builds the module in the folder `sources`, unless the cache has it unchanged, and returns the path of its program
/// `program`. People see `name`, which is also the prefix of the name in the cache. Blocks, possibly for minutes.
pub fn build(sources: &Path, name: &str, program: &str) -> anyhow::Result<PathBuf> {
    let built = cache::directory(&format!("{name}-{}", fingerprint(sources)?), |directory| {
        eprintln!("building {name} (once, several minutes) ...");
        compile(sources, &[], &["."], &directory.join(program))
    })?;
    Ok(built.join(program))
}

/// The folder of the module `testbed/NAME`.
#[must_use]
pub fn module(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The version of another module that the module in the folder `sources` pins.
pub fn pinned(sources: &Path, module: &str) -> anyhow::Result<String> {
    let file = sources.join("go.mod");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut pins = text.lines().filter_map(|line| line.trim().strip_prefix(module)?.split_whitespace().next());
    let version = pins.find(|word| word.starts_with('v'));
    version.map(str::to_owned).with_context(|| format!("{} does not pin {module}", file.display()))
}

/// Copies the manifests in one folder of `module` to the directory `to`, which is made if missing. The module in the
/// folder `sources` uses `module`, and must be built.
pub(crate) fn copy_manifests(sources: &Path, module: &str, folder: &str, to: &Path) -> anyhow::Result<()> {
    let from = folder_of(sources, module)?.join(folder);
    let is_manifest =
        |path: &Path| path.extension().is_some_and(|it| it == "yaml") && !path.ends_with("kustomization.yaml");
    let copy = || -> std::io::Result<usize> {
        fs::create_dir_all(to)?;
        let files = fs::read_dir(&from)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        let manifests = files.iter().filter(|path| is_manifest(path));
        // Do not copy permissions: the module cache is read-only.
        let copied = manifests.map(|path| fs::write(to.join(path.file_name().unwrap_or_default()), fs::read(path)?));
        Ok(copied.collect::<std::io::Result<Vec<()>>>()?.len())
    };
    let copied = copy().with_context(|| format!("cannot copy {}", from.display()))?;
    ensure!(copied > 0, "{} has no manifests", from.display());
    Ok(())
}

/// The folder with a module's sources.
pub(crate) fn folder_of(sources: &Path, module: &str) -> anyhow::Result<PathBuf> {
    let output = Command::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", module])
        .current_dir(sources)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| missing_tool(error, "go", "Go 1.26 or later"))?;
    let folder = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && !folder.trim().is_empty(), "go does not know where {module} is, see above");
    Ok(folder.trim().into())
}

/// Compiles `packages` of the module in the folder `sources` to `output`: a file or, for several packages, a directory.
/// `flags` replace flags that are also set here. Blocks, possibly for minutes.
pub fn compile(sources: &Path, flags: &[&str], packages: &[&str], output: &Path) -> anyhow::Result<()> {
    let status = Command::new("go")
        .args(["build", "-trimpath", "-ldflags", "-s -w"])
        .args(flags)
        .arg("-o")
        .arg(output)
        .args(packages)
        .current_dir(sources)
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .status()
        .map_err(|error| missing_tool(error, "go", "Go 1.26 or later"))?;
    let what = packages.join(" ");
    ensure!(status.success(), "go build {what} in {} failed ({status}), see above", sources.display());
    Ok(())
}

/// A digest of all files in a folder and their names.
pub(crate) fn fingerprint(sources: &Path) -> anyhow::Result<String> {
    let read = || -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut paths = fs::read_dir(sources)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        paths.sort();
        paths.into_iter().map(|path| Ok((path.clone(), fs::read(&path)?))).collect()
    };
    let mut digest = Sha256::new();
    for (path, content) in read().with_context(|| format!("cannot read {}", sources.display()))? {
        digest.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update(Sha256::digest(&content));
    }
    let mut fingerprint = hex::encode(digest.finalize());
    fingerprint.truncate(12);
    Ok(fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    #[test]
    fn the_version_is_the_one_that_go_mod_pins() {
        let pinned = |folder, name| super::pinned(&module(folder), name);
        assert!(pinned("helm", "helm.sh/helm/v4").unwrap().starts_with("v4."));
        assert!(pinned("prometheus", "github.com/prometheus/prometheus").unwrap().starts_with("v0."));
        for control_plane in ["control-plane", "control-plane-oldest"] {
            assert!(pinned(control_plane, "k8s.io/kubernetes").unwrap().starts_with("v1."));
            assert!(pinned(control_plane, "go.etcd.io/etcd/server/v3").unwrap().starts_with("v3."));
        }
        assert!(pinned("control-plane", "k8s.io/kubernetes/cmd/kubectl").is_err());
    }

    #[test]
    fn a_changed_or_renamed_source_is_another_build() {
        let directory = scratch::directory().unwrap();
        let source = directory.path().join("main.go");
        fs::write(&source, "a").unwrap();
        let first = fingerprint(directory.path()).unwrap();
        fs::write(&source, "b").unwrap();
        let second = fingerprint(directory.path()).unwrap();
        fs::rename(&source, directory.path().join("other.go")).unwrap();
        let third = fingerprint(directory.path()).unwrap();
        assert_eq!(first.len(), 12);
        assert!(first != second && second != third, "{first} {second} {third}");
    }
}
