//! Programs of the testbed in Go: built once per machine and change, outside the source tree.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::{cache, process::missing_tool};

/// Builds the module in the folder `sources`, unless it is in the cache as it is now, and returns the path of its program,
/// which is called `program`. `name` is what people are told, and the beginning of its name in the cache. Blocks, for
/// minutes perhaps.
pub fn build(sources: &Path, name: &str, program: &str) -> anyhow::Result<PathBuf> {
    let built = cache::directory(&format!("{name}-{}", fingerprint(sources)?), |directory| {
        eprintln!("building {name} (once, several minutes) ...");
        let status = Command::new("go")
            .args(["build", "-trimpath", "-ldflags", "-s -w", "-o"])
            .arg(directory.join(program))
            .arg(".")
            .current_dir(sources)
            .env("CGO_ENABLED", "0")
            .stdin(Stdio::null())
            .status()
            .map_err(|error| missing_tool(error, "go", "Go 1.26 or later"))?;
        ensure!(status.success(), "go build of {name} failed ({status}), see above");
        Ok(())
    })?;
    Ok(built.join(program))
}

/// Of all files of a folder and their names.
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
