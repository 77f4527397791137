//! What may know what, and how the repository is kept. Each check is itself tried on a counter-example.
//!
//! ```text
//! api ←── domain ←── controller ──→ oceanbase
//! ```

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::{fs, path::Path, process::Command};

use proc_macro2::{Spacing, TokenStream, TokenTree};

/// What a folder must not name: a path, or everything below it; `*::x` is the last part of any path.
struct Folder {
    name: &'static str,
    why: &'static str,
    forbidden: &'static [&'static str],
}

const FOLDERS: [Folder; 3] = [
    Folder {
        name: "src/api",
        why: "api is wire types only: no logic, no I/O",
        forbidden: &[
            "crate::api_server",
            "crate::config",
            "crate::controller",
            "crate::domain",
            "crate::health",
            "crate::oceanbase",
            "kube::Api",
            "kube::Client",
            "kube::api",
            "kube::client",
            "kube::config",
            "kube::runtime",
            "reqwest",
            "std::fs",
            "std::net",
            "tokio",
        ],
    },
    Folder {
        name: "src/domain",
        why: "domain is pure: no client, no clock, no randomness, no async; time is an argument",
        forbidden: &[
            "*::Instant",
            "*::SystemTime",
            "*::now",
            "axum",
            "crate::api_server",
            "crate::config",
            "crate::controller",
            "crate::health",
            "crate::oceanbase",
            "futures",
            "kube::Api",
            "kube::Client",
            "kube::api",
            "kube::client",
            "kube::config",
            "kube::runtime",
            "reqwest",
            "std::env",
            "std::fs",
            "std::process",
            "std::thread",
            "std::time",
            "tokio",
            "tokio_util",
            "tracing",
            "uuid",
        ],
    },
    Folder {
        name: "src/oceanbase",
        why: "oceanbase is the API client: it knows nothing of Kubernetes",
        forbidden: &[
            "crate::api",
            "crate::api_server",
            "crate::config",
            "crate::controller",
            "crate::domain",
            "crate::health",
            "k8s_openapi",
            "kube",
        ],
    },
];

const LONGEST_FILE: usize = 300;

/// Names that say nothing of what is inside.
const VAGUE_NAMES: [&str; 5] = ["common", "helper", "helpers", "util", "utils"];

#[test]
fn folders_name_only_what_they_may() {
    let mut found = vec![];
    for folder in &FOLDERS {
        let sources = rust_files(folder.name);
        assert!(sources.len() > 3, "{} is not where it was", folder.name);
        for (file, text) in sources {
            found.extend(folder.violations(&file, &text));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_forbidden_name_is_found_however_it_is_written() {
    let [api, domain, oceanbase] = &FOLDERS;
    for (folder, text) in [
        (api, "use crate::domain::plan::plan;"),
        (api, "use super::super::domain;"),
        (api, "use crate::{config::Config, x};"),
        (api, "fn f(client: kube::Client) {}"),
        (api, "use kube::*;"),
        (domain, "use kube::{ResourceExt, runtime::{watcher, Controller}};"),
        (domain, "let t = jiff::Timestamp::now();"),
        (domain, "let t = Timestamp\n    ::now();"),
        (domain, "use std::time::{Duration, Instant};"),
        (domain, "use std::{time as t};"),
        (domain, "#[tokio::main] async fn f() {}"),
        (domain, "let id = uuid::Uuid::new_v4();"),
        (domain, "use crate::oceanbase::client::Client;"),
        (oceanbase, "use crate::api::Session;"),
        (oceanbase, "use kube;"),
        (oceanbase, "type T = ::kube::Client;"),
    ] {
        let file = format!("{}/x.rs", folder.name);
        assert!(!folder.violations(&file, text).is_empty(), "{text}");
    }
    for (folder, text) in [
        (domain, "// tokio::spawn would be wrong here\n"),
        (domain, "let text = \"tracing::info\"; let c = '\"'; let l: &'static str = r#\"tokio::x\"#;"),
        (domain, "use kube::ResourceExt as _; use crate::api::Session; let now = request.now();"),
        (domain, "fn f() {}\n#[cfg(test)]\nmod tests { use tokio::time; }"),
        (oceanbase, "use kubernetes; use super::error::CallError;"),
    ] {
        let file = format!("{}/x.rs", folder.name);
        assert_eq!(folder.violations(&file, text), [""; 0], "{text}");
    }
}

#[test]
fn no_source_file_is_too_long_to_read_at_once() {
    let files = ["src", "testbed/src"].into_iter().flat_map(rust_files);
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

impl Folder {
    fn violations(&self, file: &str, text: &str) -> Vec<String> {
        let module = module_of(file);
        let paths = paths(text);
        let absolute = paths.iter().map(|path| absolute(path, &module));
        let mut found: Vec<_> = absolute
            .filter(|path| self.forbidden.iter().any(|forbidden| names(path, forbidden)))
            .map(|path| format!("{file} names {path}: {}", self.why))
            .collect();
        found.dedup();
        found
    }
}

/// Whether `path` is `forbidden`, is below it, or is a glob that has it among its names.
fn names(path: &str, forbidden: &str) -> bool {
    if let Some(last) = forbidden.strip_prefix("*::") {
        return path.contains("::") && path.rsplit("::").next() == Some(last);
    }
    let below = |path: &str, parent: &str| {
        path == parent || path.strip_prefix(parent).is_some_and(|rest| rest.starts_with("::"))
    };
    below(path, forbidden) || path.strip_suffix("::*").is_some_and(|glob| below(forbidden, glob))
}

/// `src/domain/plan.rs` is `crate::domain::plan`.
fn module_of(file: &str) -> Vec<String> {
    let names = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod").split('/');
    ["crate"].into_iter().chain(names).map(str::to_owned).collect()
}

/// The same path from the root of the crate, where it starts with `self` or `super`.
fn absolute(path: &str, module: &[String]) -> String {
    let mut names: Vec<&str> = path.split("::").filter(|name| !name.is_empty()).collect();
    if !matches!(names.first(), Some(&("self" | "super"))) {
        return names.join("::");
    }
    let mut base = module.to_vec();
    while let Some(&first @ ("self" | "super")) = names.first() {
        if first == "super" {
            base.pop();
        }
        names.remove(0);
    }
    base.iter().map(String::as_str).chain(names).collect::<Vec<_>>().join("::")
}

/// All paths with `::` in the text without its tests, and the single names that `use` brings in; braces are written out.
fn paths(text: &str) -> Vec<String> {
    let mut paths = Paths::default();
    paths.read(without_tests(text).parse().unwrap(), "", false);
    paths.found
}

#[derive(Default)]
struct Paths {
    current: String,
    found: Vec<String>,
}

impl Paths {
    fn read(&mut self, tokens: TokenStream, prefix: &str, mut importing: bool) {
        prefix.clone_into(&mut self.current);
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let goes_on = self.current.ends_with("::");
            match token {
                TokenTree::Ident(name) if name == "as" && importing => {
                    self.end(importing);
                    // The new name.
                    tokens.next();
                }
                TokenTree::Ident(name) => {
                    if !goes_on {
                        self.end(importing);
                    }
                    importing |= name == "use";
                    if name != "use" {
                        self.current.push_str(&name.to_string());
                    }
                }
                TokenTree::Punct(first) if first.as_char() == ':' && first.spacing() == Spacing::Joint => {
                    tokens.next();
                    self.current.push_str("::");
                }
                TokenTree::Punct(star) if star.as_char() == '*' && goes_on => self.current.push('*'),
                TokenTree::Group(names) if goes_on => {
                    let prefix = std::mem::take(&mut self.current);
                    self.read(names.stream(), &prefix, importing);
                }
                TokenTree::Group(inside) => {
                    self.end(importing);
                    self.read(inside.stream(), "", false);
                }
                TokenTree::Punct(other) => {
                    self.end(importing);
                    if other.as_char() == ',' {
                        prefix.clone_into(&mut self.current);
                    }
                    importing &= other.as_char() != ';';
                }
                TokenTree::Literal(_) => self.end(importing),
            }
        }
        self.end(importing);
    }

    fn end(&mut self, importing: bool) {
        let path = std::mem::take(&mut self.current);
        let path = path.trim_end_matches("::");
        if path.contains("::") || importing && !path.is_empty() {
            self.found.push(path.to_owned());
        }
    }
}

fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests").map_or(text, |tests| &text[..tests])
}

fn is_too_long(text: &str) -> bool {
    without_tests(text).lines().count() > LONGEST_FILE
}

fn has_vague_name(file: &str) -> bool {
    is_rust(file) && file.trim_end_matches(".rs").split('/').any(|name| VAGUE_NAMES.contains(&name))
}

fn is_rust(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "rs")
}

fn is_binary(content: &[u8]) -> bool {
    content.contains(&0) || std::str::from_utf8(content).is_err()
}

/// The lines that name a directory of one machine or one person.
fn private_places(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| {
        ["home", "root", "Users", "work"].iter().any(|place| {
            let place = format!("/{place}/");
            line.match_indices(&place)
                .any(|(index, _)| !line[..index].ends_with(|c: char| c.is_alphanumeric() || "._-}/)>".contains(c)))
        })
    })
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every file that is or would be committed.
fn repository_files() -> Vec<String> {
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

/// The Rust files in `folder`, with their text.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    let below = format!("{folder}/");
    let files = repository_files().into_iter().filter(|file| file.starts_with(&below) && is_rust(file));
    files.map(|file| (file.clone(), fs::read_to_string(repository(&file)).unwrap())).collect()
}
