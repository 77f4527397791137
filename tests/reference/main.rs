//! Pages of reference in `docs/` are made of the code: what they say is what the operator does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]

mod audit;
mod logs;
mod metrics;

use std::{env, fs, path::PathBuf};

/// A path in the repository.
fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The part of the page `docs/name` that is made of the code says `wanted`; `UPDATE_DOCS` puts it there.
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
