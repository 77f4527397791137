//! Reference pages in `docs/` are generated from the code, so that they are true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]

mod audit;
mod logs;
mod metrics;

use std::{env, fs, path::PathBuf};

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Asserts that the generated part of the page `docs/name` is `wanted`. With `UPDATE_DOCS` it is written instead.
fn assert_says(name: &str, wanted: &str) {
    const BEGIN: &str = "<!-- made by `UPDATE_DOCS=1 cargo test --test reference` -->\n";
    const END: &str = "<!-- end -->";
    let path = repository("docs").join(name);
    let page = fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("docs/{name} has no line {BEGIN}"));
    let (said, tail) = rest.split_once(END).unwrap_or_else(|| panic!("docs/{name} has no line {END}"));
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{wanted}{END}{tail}")).unwrap();
        return;
    }
    assert!(
        said == wanted,
        "docs/{name} is not what the code says: run UPDATE_DOCS=1 cargo test --test reference and commit the result"
    );
}
