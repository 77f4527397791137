//! The rooms: which paths each folder or file may name. Everything that is not listed is forbidden.

use std::{collections::BTreeSet, fs, sync::LazyLock};

use proc_macro2::TokenStream;

use crate::{
    paths::{absolute, module_of, paths},
    repository::{repository, rust_files, without_tests},
};

/// A folder or a file, and the paths that it may name: of its own crate, of the standard library, and of other crates.
struct Room {
    /// The folder or the file.
    at: &'static str,
    /// The root of its crate.
    root: &'static str,
    why: &'static str,
    may: &'static [&'static str],
}

const API: &str = "crates/api/src";
const CORE: &str = "crates/core/src";
const BACKENDS: &str = "crates/backends/src";

/// The crates below the operator. Each has the list of all that it may name.
const CRATES: [Room; 3] = [
    Room {
        at: API,
        root: API,
        why: "api is wire types only: no logic, no I/O",
        may: &[
            "crate",
            "jiff",
            "k8s_openapi",
            "kube_core",
            "kube_derive",
            "schemars",
            "serde",
            "serde_json",
            "serde_saphyr",
            "std::borrow",
            "std::collections",
            "std::fmt",
            "std::slice",
            "strum",
        ],
    },
    Room {
        at: CORE,
        root: CORE,
        why: "core is pure: no client, no clock, no randomness, no async; time is an argument",
        may: &[
            "crate",
            "hex",
            "ipnet",
            "jiff",
            "k8s_openapi",
            "kube_core",
            "regex",
            "regex_syntax",
            "serde",
            "serde_json",
            "sessionkill_api",
            "sha2",
            "std::borrow",
            "std::collections",
            "std::error",
            "std::fmt",
            "std::mem",
            "std::net::IpAddr",
            "std::slice",
            "std::str::FromStr",
            "std::sync::Arc",
            "std::time::Duration",
        ],
    },
    Room {
        at: BACKENDS,
        root: BACKENDS,
        why: "backends speak to clouds and databases: they know nothing of Kubernetes",
        may: &[
            "base64",
            "crate",
            "futures",
            "hex",
            "hmac",
            "http",
            "ipnet",
            "jiff",
            "percent_encoding",
            "reqwest",
            "rustls",
            "secrecy",
            "serde",
            "serde_json",
            "sessionkill_api::AlibabaCloud",
            "sessionkill_api::BackendSpec",
            "sessionkill_api::ConnectionReason",
            "sessionkill_api::CredentialSource",
            "sessionkill_api::Expect",
            "sessionkill_api::IdentitySpec",
            "sessionkill_api::KillOperation",
            "sessionkill_api::Network",
            "sessionkill_api::ObservedSession",
            "sessionkill_api::Operation",
            "sessionkill_api::OperatorIdentity",
            "sessionkill_api::SYS_TENANT",
            "sessionkill_api::Scope",
            "sessionkill_api::ServiceAccountRef",
            "sessionkill_api::SessionPolicy",
            "sessionkill_api::SessionReason",
            "sessionkill_api::SessionState",
            "sessionkill_api::SignatureMethod",
            "sessionkill_api::TransactionState",
            "sessionkill_api::WaitReason",
            "sessionkill_core::backend",
            "sessionkill_core::clock",
            "sessionkill_core::credentials",
            "sessionkill_core::kill::expect",
            "sessionkill_core::selection",
            "sessionkill_core::session",
            "sessionkill_core::snapshot",
            "sha1",
            "sha2",
            "std",
            "thiserror",
            "tokio",
            "tokio_rustls",
            "tower",
            "tracing",
            "uuid",
            "zeroize",
        ],
    },
];

/// The wings of the operator, from the lowest to the highest. Each has the list of what it may name in the operator and
/// its crates. It may name anything in other crates.
const WINGS: [Room; 7] = [
    Room {
        at: "src/metrics",
        root: "src",
        why: WING,
        may: &["crate::api", "crate::domain", "crate::health", "crate::metrics"],
    },
    Room { at: "src/traces", root: "src", why: WING, may: &["crate::api", "crate::traces"] },
    Room { at: "src/health.rs", root: "src", why: WING, may: &["crate::health"] },
    Room {
        at: "src/kubernetes",
        root: "src",
        why: WING,
        may: &["crate::api", "crate::clock", "crate::domain", "crate::health", "crate::kubernetes", "crate::metrics"],
    },
    Room {
        at: "src/queue",
        root: "src",
        why: WING,
        may: &["crate::api", "crate::domain", "crate::kubernetes", "crate::metrics", "crate::queue"],
    },
    Room {
        at: "src/connections",
        root: "src",
        why: WING,
        may: &[
            "crate::api",
            "crate::backends",
            "crate::clock",
            "crate::config",
            "crate::connections",
            "crate::domain",
            "crate::kubernetes",
            "crate::metrics",
            "crate::oceanbase",
            "crate::queue",
        ],
    },
    Room {
        at: "src/kill",
        root: "src",
        why: WING,
        may: &[
            "crate::api",
            "crate::clock",
            "crate::config",
            "crate::connections",
            "crate::domain",
            "crate::kill",
            "crate::kubernetes",
            "crate::metrics",
            "crate::output",
            "crate::queue",
            "crate::traces",
        ],
    },
];

/// The single files beside the wings.
const BESIDE: [Room; 13] = [
    Room {
        at: "src/check",
        root: "src",
        why: BESIDE_THE_WINGS,
        may: &[
            "crate::api",
            "crate::check",
            "crate::clock",
            "crate::config",
            "crate::connections::service_account_tokens",
            "crate::domain",
            "crate::key_options",
            "crate::kubernetes",
            "crate::rights",
        ],
    },
    Room { at: "src/rights.rs", root: "src", why: BESIDE_THE_WINGS, may: &["crate::api"] },
    Room { at: "src/clock.rs", root: "src", why: BESIDE_THE_WINGS, may: &["crate::domain"] },
    Room {
        at: "src/config.rs",
        root: "src",
        why: BESIDE_THE_WINGS,
        may: &[
            "crate::backends::sql::AllowedHost",
            "crate::domain",
            "crate::key_options",
            "crate::kubernetes",
            "crate::oceanbase",
        ],
    },
    Room {
        at: "src/key_options.rs",
        root: "src",
        why: BESIDE_THE_WINGS,
        may: &["crate::backends::credentials::OperatorToken", "crate::domain", "crate::oceanbase"],
    },
    Room { at: "src/core_dumps.rs", root: "src", why: BESIDE_THE_WINGS, may: &[] },
    Room { at: "src/descriptors.rs", root: "src", why: BESIDE_THE_WINGS, may: &[] },
    Room {
        at: "src/health_port.rs",
        root: "src",
        why: BESIDE_THE_WINGS,
        may: &["crate::health", "crate::http", "crate::metrics", "crate::output", "crate::pulse"],
    },
    Room { at: "src/http.rs", root: "src", why: BESIDE_THE_WINGS, may: &[] },
    Room { at: "src/output.rs", root: "src", why: BESIDE_THE_WINGS, may: &[] },
    Room { at: "src/pulse.rs", root: "src", why: BESIDE_THE_WINGS, may: &[] },
    Room { at: "src/signals.rs", root: "src", why: BESIDE_THE_WINGS, may: &[] },
    Room { at: "src/telemetry.rs", root: "src", why: BESIDE_THE_WINGS, may: &["crate::output"] },
];

/// The files that put everything together. They may name anything.
const ABOVE_ALL: [&str; 3] = ["src/lib.rs", "src/main.rs", "src/run.rs"];

const BESIDE_THE_WINGS: &str = "a file beside the wings names what is listed for it";

const WING: &str =
    "main → run → kill → connections → queue → kubernetes → metrics, traces, health: each names what is right of it";

/// The last part of a path to a clock.
const CLOCKS: [&str; 3] = ["Instant", "SystemTime", "now"];

#[test]
fn rooms_name_only_what_they_may() {
    let mut found = vec![];
    for room in CRATES.iter().chain(&WINGS).chain(&BESIDE) {
        let sources: Vec<_> = rust_files(room.root).into_iter().filter(|(file, _)| file.starts_with(room.at)).collect();
        assert!(!sources.is_empty(), "{} is not where it was", room.at);
        for (file, text) in sources {
            found.extend(room.violations(&file, &text));
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn each_file_of_the_operator_is_in_a_room() {
    let rooms: Vec<&str> = WINGS.iter().chain(&BESIDE).map(|room| room.at).chain(ABOVE_ALL).collect();
    let in_none = |file: &String| !rooms.iter().any(|room| file.starts_with(room));
    let outside: Vec<_> = rust_files("src").into_iter().map(|(file, _)| file).filter(in_none).collect();
    assert!(outside.is_empty(), "say what these may name: {outside:?}");
}

/// Parts of the names of Alibaba Cloud's actions, signatures, time stamps and error codes.
const WORDS_OF_ALIBABA: [&str; 10] = [
    "KillProcessList",
    "ProcessStats",
    "Signature",
    "HMAC",
    "x-acs",
    "TimeSource",
    "gateway_lead",
    "Throttling",
    "InvalidTimeStamp",
    "Forbidden",
];

#[test]
fn only_the_backend_of_alibaba_knows_its_words() {
    let mut found = vec![];
    for (file, text) in [CORE, "src"].into_iter().flat_map(rust_files) {
        // This file has the objects that tests start from.
        if file != "crates/core/src/test_objects.rs" {
            found.extend(words_of_alibaba(&text).into_iter().map(|word| format!("{file} names {word}")));
        }
    }
    assert!(found.is_empty(), "ask the backend for what it guarantees, or for its words: {found:#?}");

    for text in [
        "Operation::KillProcessList",
        "let a = \"x-acs-date\";",
        "f(TimeSource::Now)",
        "KillOperation::BatchKillProcessList",
    ] {
        assert_eq!(words_of_alibaba(text).len(), 1, "{text}");
    }
    assert_eq!(
        words_of_alibaba("/// KillProcessList\nfn f() {}\n#[cfg(test)]\nmod tests { KillProcessList }"),
        [""; 0]
    );
}

/// The words of Alibaba Cloud in the code and string literals of a file. Tests and comments are left out.
fn words_of_alibaba(text: &str) -> Vec<String> {
    // Leave out comments, as the parser turns doc comments into attributes.
    let lines: Vec<_> = without_tests(text).lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = lines.join("\n").parse::<TokenStream>().unwrap().to_string();
    let is_of_alibaba = |token: &&str| WORDS_OF_ALIBABA.iter().any(|word| token.contains(word));
    code.split_whitespace().filter(is_of_alibaba).map(str::to_owned).collect()
}

#[test]
fn what_a_room_must_not_name_is_found_however_it_is_written() {
    let [api, core, backends] = &CRATES;
    let [_, _, _, kubernetes, queue, connections, kill] = &WINGS;
    for (room, text) in [
        (api, "use kube::Client;"),
        (api, "use std::fs;"),
        (api, "use sessionkill_core::kill::plan::plan;"),
        (core, "use kube_client::{ResourceExt, Api};"),
        (core, "let t = jiff::Timestamp::now();"),
        (core, "let t = Timestamp\n    ::now();"),
        (core, "use std::time::{Duration, Instant};"),
        (core, "use std::{time as t};"),
        (core, "#[tokio::main] async fn f() {}"),
        (core, "let id = uuid::Uuid::new_v4();"),
        (core, "let pick = fastrand::u8(..);"),
        (core, "use core::sync::atomic::AtomicU64;"),
        (core, "use sessionkill_backends::alibaba::Client;"),
        (backends, "use sessionkill_api::Session;"),
        (backends, "use kube;"),
        (backends, "type T = ::kube::Client;"),
        (backends, "use sessionkill_core::kill::plan::Step;"),
        (kubernetes, "use crate::queue::lanes::Queue;"),
        (queue, "use super::super::kill::context::Context;"),
        (queue, "use crate::{connections::states::ConnectionStates, metrics};"),
        (connections, "fn f(context: &crate::kill::context::Context) {}"),
        (kill, "use crate::run::run;"),
        (kill, "use crate::oceanbase::Client;"),
        (kill, "use crate::*;"),
        (queue, "use sessionkill_backends::alibaba::Client;"),
    ] {
        let file = format!("{}/x.rs", room.at);
        assert!(!room.violations(&file, text).is_empty(), "{text}");
    }
    for (room, text) in [
        (core, "// tokio::spawn would be wrong here\n"),
        (core, "let text = \"tracing::info\"; let c = '\"'; let l: &'static str = r#\"tokio::x\"#;"),
        (core, "use kube_core::ResourceExt as _; use sessionkill_api::Session; let now = request.now();"),
        (core, "fn f() {}\n#[cfg(test)]\nmod tests { use tokio::time; }"),
        (core, "use super::session::Seen; let all = Vec::new(); fn g() { text::clamp(x) }"),
        (backends, "use super::endpoint::Endpoint; use sessionkill_core::backend::CallError;"),
        (kill, "use crate::connections::route::Route; use super::request::Request;"),
    ] {
        let file = format!("{}/x.rs", room.at);
        assert_eq!(room.violations(&file, text), [""; 0], "{text}");
    }
}

impl Room {
    fn violations(&self, file: &str, text: &str) -> Vec<String> {
        let module = module_of(self.root, file);
        let paths = paths(text).into_iter().map(|path| absolute(&path, &module));
        let mut found: Vec<_> = paths
            .filter(|path| {
                self.is_foreign(path) && !self.may.iter().any(|may| is_below(path, may)) || self.is_clock(path)
            })
            .map(|path| format!("{file} names {path}: {}", self.why))
            .collect();
        found.dedup();
        found
    }

    /// Whether `path` leads out of its module. A path that starts with a type, a child or an imported name does not.
    fn is_foreign(&self, path: &str) -> bool {
        let first = path.split("::").next().unwrap_or_default();
        // The names of our own crates start with `sessionkill`. The operator may name anything in other crates.
        let is_own = first == "crate" || first.starts_with("sessionkill");
        is_own || self.root != "src" && (OF_RUST.contains(&first) || dependencies().contains(first))
    }

    /// Only core must not read a clock.
    fn is_clock(&self, path: &str) -> bool {
        let last = path.rsplit("::").next().unwrap_or_default();
        self.at == CORE && path.contains("::") && CLOCKS.contains(&last)
    }
}

const OF_RUST: [&str; 3] = ["alloc", "core", "std"];

/// The names of all crates in `Cargo.lock`, as code writes them.
fn dependencies() -> &'static BTreeSet<String> {
    static DEPENDENCIES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
        let lock = fs::read_to_string(repository("Cargo.lock")).unwrap();
        let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        names.map(|name| name.replace('-', "_")).collect()
    });
    &DEPENDENCIES
}

fn is_below(path: &str, parent: &str) -> bool {
    path == parent || path.strip_prefix(parent).is_some_and(|rest| rest.starts_with("::"))
}
