//! The commit of an image. What is not committed is not in the image.

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use jiff::Timestamp;

use crate::process::missing_tool;

/// The current commit of this repository.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) id: String,
    /// When it was committed, in seconds since 1970. Everything in the image has this time.
    pub(super) seconds: u64,
}

impl Commit {
    pub(super) fn current() -> anyhow::Result<Self> {
        let said = String::from_utf8(git(&["log", "-1", "--format=%H %ct"])?)?;
        let (id, seconds) = said.trim().split_once(' ').context("git names no commit")?;
        if !git(&["status", "--porcelain"])?.is_empty() {
            eprintln!("warning: what is not committed will not be in the image");
        }
        Ok(Self { id: id.into(), seconds: seconds.parse()? })
    }

    /// The time in the form of RFC 3339.
    pub(super) fn time(&self) -> anyhow::Result<String> {
        Ok(Timestamp::from_second(self.seconds.try_into()?)?.to_string())
    }

    /// Makes `directory` contain exactly the files of the commit. An unchanged file keeps its time: otherwise cargo
    /// would build it again, and a release build takes minutes.
    pub(super) fn export(&self, directory: &Path) -> anyhow::Result<()> {
        let files = git(&["archive", "--format=tar", &self.id])?;
        let mut wanted = BTreeSet::new();
        for entry in tar::Archive::new(files.as_slice()).entries()? {
            let mut entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = directory.join(entry.path()?);
            let mut content = vec![];
            entry.read_to_end(&mut content)?;
            if fs::read(&path).ok().as_ref() != Some(&content) {
                let parent = path.parent().context("a file without a directory")?;
                fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
                fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            }
            wanted.insert(path);
        }
        remove_others(directory, &wanted)
    }
}

fn remove_others(directory: &Path, wanted: &BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, wanted)?;
        } else if !wanted.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn git(arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new("git")
        .args(arguments)
        // All of the repository, not only the testbed.
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .map_err(|error| missing_tool(error, "git", "git"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), said.trim());
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_has_the_files_of_the_commit_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let commit = Commit::current().unwrap();
        commit.export(directory.path()).unwrap();
        let manifest = directory.path().join("Cargo.toml");
        let (text, time) = (fs::read(&manifest).unwrap(), fs::metadata(&manifest).unwrap().modified().unwrap());
        assert_eq!(text, git(&["show", &format!("{}:Cargo.toml", commit.id)]).unwrap());

        fs::write(directory.path().join("src/more.rs"), "").unwrap();
        fs::write(directory.path().join("src/lib.rs"), "").unwrap();
        commit.export(directory.path()).unwrap();
        assert!(!directory.path().join("src/more.rs").exists());
        assert_ne!(fs::read(directory.path().join("src/lib.rs")).unwrap(), b"");
        assert_eq!(
            fs::metadata(&manifest).unwrap().modified().unwrap(),
            time,
            "a file that is as it should be was written"
        );
    }
}
