//! Python environments for the parts of the testbed that are published as Python packages.
//!
//! Built once per set of requirements, outside the build directory, so that a clean build does not fetch them again.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::cache;

/// Returns the directory of a virtual environment with exactly the pinned `requirements` (each `package==version`) and
/// their dependencies. Its interpreter is `bin/python` in that directory.
///
/// The environment is created at the first use, in the user's cache directory. Many processes may ask at the same time:
/// one builds, and the others wait. An interrupted build starts anew. It blocks: call it from `spawn_blocking` in async
/// code.
pub fn environment(name: &str, requirements: &[&str]) -> Result<PathBuf> {
    let cache = cache::root()?;
    let directory = cache.join(format!("python-{name}-{}", fingerprint(requirements)));
    fs::create_dir_all(&cache).with_context(|| format!("cannot create the cache directory {}", cache.display()))?;
    let lock_path = directory.with_extension("lock");
    let lock = File::create(&lock_path).with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;

    // Write it last: if it is missing, an earlier build did not finish.
    let complete = directory.join(".complete");
    if !complete.exists() {
        build(&directory, requirements)?;
        File::create(&complete).with_context(|| format!("cannot create {}", complete.display()))?;
    }
    Ok(directory)
}

fn build(directory: &Path, requirements: &[&str]) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove the half-built environment {}", directory.display()))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
    let mut pip = Command::new(directory.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]).args(requirements);
    run(&mut pip)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| {
        let program = command.get_program().display();
        format!("cannot run {program}; install Python 3 with its venv module")
    })?;
    if !output.status.success() {
        bail!("{command:?} failed with {}:\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// The order of requirements does not matter.
fn fingerprint(requirements: &[&str]) -> String {
    let mut requirements = requirements.to_vec();
    requirements.sort_unstable();
    let mut digest = hex::encode(Sha256::digest(requirements.join("\n")));
    digest.truncate(12);
    digest
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn the_environment_depends_on_the_requirements_not_on_their_order() {
        assert_eq!(fingerprint(&["a==1", "b==2"]), fingerprint(&["b==2", "a==1"]));
        assert_ne!(fingerprint(&["a==1", "b==2"]), fingerprint(&["a==1", "b==3"]));
    }
}
