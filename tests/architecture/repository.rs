//! Reads the files of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The full path of `path` on this machine.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every file that git tracks, or would add.
pub fn repository_files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(listed.status.success(), "needs a git checkout: {}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    let files = listed.split('\0').filter(|file| !file.is_empty() && repository(file).is_file());
    files.map(str::to_owned).collect()
}

/// The Rust files in `folder` that are no tests, with their texts.
pub fn rust_files(folder: &str) -> Vec<(String, String)> {
    let below = format!("{folder}/");
    let files = repository_files().into_iter().filter(|file| file.starts_with(&below) && is_rust(file));
    let files = files.filter(|file| !file.contains("/tests/"));
    files.map(|file| (file.clone(), fs::read_to_string(repository(&file)).unwrap())).collect()
}

pub fn is_rust(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "rs")
}

/// The part of a text before its tests.
pub fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests").map_or(text, |tests| &text[..tests])
}
