//! No circle of imports: a file is understood, and changed, with no more than those below it.
//!
//! A `mod x;` is no import; a `pub use` is one, of the file that it names, and whoever names what it hands on imports its file.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    paths::{absolute, module_of, paths},
    repository::rust_files,
};

/// By the file that imports, and the file that is imported: the names.
type Imports<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>;

#[test]
fn no_circle_of_imports() {
    for root in ["crates/api/src", "crates/core/src", "crates/backends/src", "src", "testbed/src"] {
        let circles = circles(root);
        assert!(circles.is_empty(), "move what both sides need to a file below both: {circles:#?}");
    }
}

#[test]
fn a_circle_is_found_however_it_is_tied() {
    let two = circles_of(&[("a.rs", "use crate::{b::{B, C}, c};"), ("b.rs", "use super::a;"), ("c.rs", "")]);
    assert_eq!(two, [["x/src/a.rs imports x/src/b.rs: B, C", "x/src/b.rs imports x/src/a.rs: a"]]);
    for files in [
        // By the longest part of a path that is a file.
        [
            ("a.rs", "fn f() { crate::b::g::<T>() }"),
            ("b/mod.rs", "use crate::b::c::C;"),
            ("b/c.rs", "use crate::a::A;"),
        ],
        // A child by its bare name, its parent by a glob.
        [("lib.rs", ""), ("a/mod.rs", "mod b; fn f() { b::g() }"), ("a/b.rs", "use super::*;")],
        // What a parent hands on is the parent's.
        [("a/mod.rs", "pub use self::{b::B, c::C};"), ("a/b.rs", ""), ("a/c.rs", "use super::B;")],
        // The root of the crate.
        [("lib.rs", "pub use a::A;"), ("main.rs", ""), ("a.rs", "use crate::X;")],
        [("main.rs", "mod a; fn f() { a::g() }"), ("a.rs", "use crate::X;"), ("b.rs", "")],
    ] {
        assert_eq!(circles_of(&files).len(), 1, "{files:?}");
    }
}

#[test]
fn what_is_no_import_ties_nothing() {
    for files in [
        // A declaration.
        [("a/mod.rs", "mod b; pub mod c;"), ("a/b.rs", "use super::{c::C, X};"), ("a/c.rs", "use super::X;")],
        // A test, a comment, a text.
        [("a.rs", "use crate::b::B;"), ("b.rs", "// crate::a\nconst A: &str = \"crate::a\";"), ("c.rs", "")],
        [("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }"), ("c.rs", "")],
        // Where something may be seen.
        [("a/mod.rs", "use self::b::B;"), ("a/b.rs", "pub(in crate::a) struct B;"), ("c.rs", "")],
        // The parent of siblings, after which a comma stands.
        [("a/mod.rs", "use self::b::B;"), ("a/b.rs", "use super::{\n    c::C,\n};"), ("a/c.rs", "")],
        // A crate with the name of a file elsewhere.
        [("tokio.rs", "use crate::b::B;"), ("b.rs", "use tokio::time;"), ("c.rs", "")],
        // The program takes from the library whatever it wants.
        [("lib.rs", "pub mod a;"), ("main.rs", "mod b; fn f() { b::g() }"), ("a.rs", "use crate::X;")],
    ] {
        assert_eq!(circles_of(&files), [[""; 0]; 0], "{files:?}");
    }
}

fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let files: Vec<_> = files.iter().map(|(file, text)| (format!("x/src/{file}"), (*text).to_owned())).collect();
    circles_among("x/src", &files)
}

/// The circles of the Rust files below `root`, each as its arrows: which file imports which, and what from it.
fn circles(root: &str) -> Vec<Vec<String>> {
    let files = rust_files(root);
    assert!(files.len() > 3, "{root} is not where it was");
    circles_among(root, &files)
}

fn circles_among(root: &str, files: &[(String, String)]) -> Vec<Vec<String>> {
    let imports = imports(root, files);
    let below: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|file| (*file, below(file, &imports))).collect();
    let is_below = |file: &str, other: &str| below.get(other).is_some_and(|below| below.contains(file));
    // Files of one circle are each below all of them, themselves too.
    let circle = |file: &&str| -> Vec<&str> {
        below.keys().copied().filter(|other| is_below(file, other) && is_below(other, file)).collect()
    };
    let circles: BTreeSet<Vec<&str>> = below.keys().map(circle).filter(|circle| !circle.is_empty()).collect();
    circles.iter().map(|circle| arrows(circle, &imports)).collect()
}

/// The files that `file` imports, that these import, and so on.
fn below<'a>(file: &'a str, imports: &Imports<'a>) -> BTreeSet<&'a str> {
    let mut below = BTreeSet::new();
    let mut next = vec![file];
    while let Some(file) = next.pop() {
        let imported = imports.get(file).into_iter().flat_map(BTreeMap::keys).copied();
        next.extend(imported.filter(|other| below.insert(*other)));
    }
    below
}

fn arrows<'a>(circle: &[&'a str], imports: &Imports<'a>) -> Vec<String> {
    let mut arrows = vec![];
    for file in circle {
        for (other, names) in imports[file].iter().filter(|(other, _)| circle.contains(other)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            arrows.push(format!("{file} imports {other}: {}", names.join(", ")));
        }
    }
    arrows
}

fn imports<'a>(root: &str, files: &'a [(String, String)]) -> Imports<'a> {
    let modules = modules(root, files);
    let mut imports = Imports::new();
    for (file, text) in files {
        let module = module_of(root, file);
        for path in paths(text) {
            if let Some((other, name)) = target(&path, &module, &modules)
                && other != file.as_str()
            {
                imports.entry(file.as_str()).or_default().entry(other).or_default().insert(name);
            }
        }
    }
    imports
}

/// The files by their modules.
fn modules<'a>(root: &str, files: &'a [(String, String)]) -> BTreeMap<String, &'a str> {
    let mut modules = BTreeMap::new();
    for (file, _) in files {
        let known = modules.entry(module_of(root, file).join("::")).or_insert(file.as_str());
        // `crate` is the library where there is one, else the program.
        if file.ends_with("/lib.rs") {
            *known = file.as_str();
        }
    }
    modules
}

/// The file that a path of `module` leads to, which is the longest part of it that is one, and the name that it takes from it.
fn target<'a>(path: &str, module: &[String], modules: &BTreeMap<String, &'a str>) -> Option<(&'a str, String)> {
    // Any other path may start with a child of the module. If it is that of another crate, the module itself is found.
    let path = if path.starts_with("crate::") { path.to_owned() } else { absolute(&format!("self::{path}"), module) };
    let mut found = path.as_str();
    while !modules.contains_key(found) {
        found = found.rsplit_once("::")?.0;
    }
    let name = path[found.len()..].trim_start_matches("::");
    let name = if name.is_empty() { path.rsplit("::").next()? } else { name };
    Some((modules[found], name.to_owned()))
}
