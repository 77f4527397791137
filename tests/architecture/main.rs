//! Which module may import which, and rules for the files of the repository. Each check is also tried on a
//! counter-example.
//!
//! ```text
//! main → run → kill → connections → queue → kubernetes → metrics, traces, health
//!                └─────────┴→ backends → core → api
//! ```

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod circles;
mod paths;
mod repository;
mod rooms;

use std::fs;

use repository::{is_rust, repository, repository_files, rust_files, without_tests};

const LONGEST_FILE: usize = 300;

/// Names that do not say what is inside.
const VAGUE_NAMES: [&str; 5] = ["common", "helper", "helpers", "util", "utils"];

#[test]
fn no_source_file_is_too_long_to_read_at_once() {
    let files = ["crates", "src", "testbed/src"].into_iter().flat_map(rust_files);
    let long: Vec<_> = files.filter(|(_, text)| is_too_long(text)).map(|(file, _)| file).collect();
    assert!(long.is_empty(), "split these: they have over {LONGEST_FILE} lines without their tests: {long:?}");

    assert!(is_too_long(&"x\n".repeat(LONGEST_FILE + 1)));
    assert!(!is_too_long(&format!(
        "{}#[cfg(test)]\nmod tests {{\n{}}}",
        "x\n".repeat(LONGEST_FILE),
        "y\n".repeat(500)
    )));
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    let vague: Vec<_> = repository_files().into_iter().filter(|file| has_vague_name(file)).collect();
    assert!(vague.is_empty(), "name these after what they do: {vague:?}");

    assert!(has_vague_name("src/utils.rs") && has_vague_name("testbed/src/common/mod.rs"));
    assert!(!has_vague_name("src/domain/commons.rs") && !has_vague_name("docs/common/text.md"));
}

#[test]
fn everything_in_the_repository_is_text() {
    let read = |file: &String| fs::read(repository(file)).unwrap();
    let binary: Vec<_> = repository_files().into_iter().filter(|file| is_binary(&read(file))).collect();
    assert!(binary.is_empty(), "binaries belong outside the repository: {binary:?}");

    assert!(is_binary(b"\x7fELF\x02\x01\x01\0\0") && is_binary(&[0xff, 0xfe]));
    assert!(!is_binary("Größe: 数\n".as_bytes()));
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let mut found = vec![];
    for file in repository_files() {
        let text = fs::read_to_string(repository(&file)).unwrap();
        found.extend(private_places(&text).map(|line| format!("{file}: {line}")));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));

    for private in ["home/someone/x", "root/.cargo", "Users/someone", "work/main"] {
        assert_eq!(private_places(&format!("see /{private}\n")).count(), 1, "{private}");
    }
    assert_eq!(private_places("mysql://root@127.0.0.1 https://a.b/home/ src/home/x ./work/x\n").count(), 0);
}

#[test]
fn dependencies_come_from_crates_io_only() {
    let lock = fs::read_to_string(repository("Cargo.lock")).unwrap();
    assert!(lock.contains(CRATES_IO));
    assert_eq!(other_sources(&lock), [""; 0]);
    assert_eq!(other_sources("source = \"registry+https://mirror.example/index\"\n").len(), 1);
}

const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

fn other_sources(lock: &str) -> Vec<&str> {
    lock.lines().filter(|line| line.starts_with("source = ") && *line != CRATES_IO).collect()
}

fn is_too_long(text: &str) -> bool {
    without_tests(text).lines().count() > LONGEST_FILE
}

fn has_vague_name(file: &str) -> bool {
    is_rust(file) && file.trim_end_matches(".rs").split('/').any(|name| VAGUE_NAMES.contains(&name))
}

fn is_binary(content: &[u8]) -> bool {
    content.contains(&0) || std::str::from_utf8(content).is_err()
}

/// The lines with a directory that exists only on one machine or for one person.
fn private_places(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| {
        ["home", "root", "Users", "work"].iter().any(|place| {
            let place = format!("/{place}/");
            line.match_indices(&place)
                .any(|(index, _)| !line[..index].ends_with(|c: char| c.is_alphanumeric() || "._-}/)>".contains(c)))
        })
    })
}
