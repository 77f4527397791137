//! What a folder must not name.

use crate::{
    paths::{absolute, module_of, paths},
    repository::rust_files,
};

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

impl Folder {
    fn violations(&self, file: &str, text: &str) -> Vec<String> {
        let module = module_of("src", file);
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
