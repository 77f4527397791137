//! Things that take minutes to make. They are made once per machine, outside `target/`.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::Context;

/// The directory `name` in the cache. If it is missing, `make` fills an empty directory beside it, which gets the name
/// when it is complete. Other callers wait meanwhile. It blocks for that time.
pub fn directory(name: &str, make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let root = root()?;
    let wanted = root.join(name);
    if wanted.is_dir() {
        return Ok(wanted);
    }
    fs::create_dir_all(&root).with_context(|| format!("cannot create the cache {}", root.display()))?;
    let lock = root.join(format!("{name}.lock"));
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    lock.lock().context("cannot lock the cache")?;
    if !wanted.is_dir() {
        let partial = root.join(format!("{name}.partial"));
        // Remove what an interrupted run has left behind.
        if partial.is_dir() {
            fs::remove_dir_all(&partial).with_context(|| format!("cannot remove {}", partial.display()))?;
        }
        fs::create_dir(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
        make(&partial)?;
        fs::rename(&partial, &wanted).with_context(|| format!("cannot complete {}", wanted.display()))?;
    }
    Ok(wanted)
}

/// `${XDG_CACHE_HOME:-$HOME/.cache}/sessionkill-testbed`.
pub fn root() -> anyhow::Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: no place for the testbed's cache")?;
    Ok(base.join("sessionkill-testbed"))
}
