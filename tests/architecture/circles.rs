//! Files must not import each other in a circle. Then one can understand and change a file with only the files below
//! it.
//!
//! A `mod x;` is not an import. A `pub use` is an import of the file that it names. A file that uses a re-exported name
//! imports the file that re-exports it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    paths::{absolute, module_of, paths},
    repository::rust_files,
};

/// For each importing file and each imported file: the imported names.
type Imports<'a> = BTreeMap<&'a str, BTreeMap<&'a str, BTreeSet<String>>>;

#[test]
fn no_circle_of_imports() {
    for root in ["crates/api/src", "crates/core/src", "crates/backends/src", "crates/kubectl/src", "src", "testbed/src"]
    {
        let circles = circles(root);
        assert!(circles.is_empty(), "move what both sides need to a file below both: {circles:#?}");
    }
}

#[test]
fn a_circle_is_found_however_it_is_tied() {
    let two = circles_of(&[("a.rs", "use crate::{b::{B, C}, c};"), ("b.rs", "use super::a;"), ("c.rs", "")]);
    assert_eq!(two, [["x/src/a.rs imports x/src/b.rs: B, C", "x/src/b.rs imports x/src/a.rs: a"]]);
    for files in [
        // A path leads to the longest part of it that is a file.
        [
            ("a.rs", "fn f() { crate::b::g::<T>() }"),
            ("b/mod.rs", "use crate::b::c::C;"),
            ("b/c.rs", "use crate::a::A;"),
        ],
        // A child is imported by its name alone, and the parent by a glob.
        [("lib.rs", ""), ("a/mod.rs", "mod b; fn f() { b::g() }"), ("a/b.rs", "use super::*;")],
        // A re-exported name belongs to the parent that re-exports it.
        [("a/mod.rs", "pub use self::{b::B, c::C};"), ("a/b.rs", ""), ("a/c.rs", "use super::B;")],
        // An import of the crate's root.
        [("lib.rs", "pub use a::A;"), ("main.rs", ""), ("a.rs", "use crate::X;")],
        [("main.rs", "mod a; fn f() { a::g() }"), ("a.rs", "use crate::X;"), ("b.rs", "")],
    ] {
        assert_eq!(circles_of(&files).len(), 1, "{files:?}");
    }
}

#[test]
fn what_is_no_import_ties_nothing() {
    for files in [
        // A declaration of a module.
        [("a/mod.rs", "mod b; pub mod c;"), ("a/b.rs", "use super::{c::C, X};"), ("a/c.rs", "use super::X;")],
        // Tests, comments and string literals.
        [("a.rs", "use crate::b::B;"), ("b.rs", "// crate::a\nconst A: &str = \"crate::a\";"), ("c.rs", "")],
        [("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a::A; }"), ("c.rs", "")],
        // A visibility such as `pub(in path)`.
        [("a/mod.rs", "use self::b::B;"), ("a/b.rs", "pub(in crate::a) struct B;"), ("c.rs", "")],
        // A trailing comma in braces is no import of the parent.
        [("a/mod.rs", "use self::b::B;"), ("a/b.rs", "use super::{\n    c::C,\n};"), ("a/c.rs", "")],
        // An external crate with the same name as a file.
        [("tokio.rs", "use crate::b::B;"), ("b.rs", "use tokio::time;"), ("c.rs", "")],
        // The binary may import from the library.
        [("lib.rs", "pub mod a;"), ("main.rs", "mod b; fn f() { b::g() }"), ("a.rs", "use crate::X;")],
    ] {
        assert_eq!(circles_of(&files), [[""; 0]; 0], "{files:?}");
    }
}

fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let files: Vec<_> = files.iter().map(|(file, text)| (format!("x/src/{file}"), (*text).to_owned())).collect();
    circles_among("x/src", &files)
}

/// The circles of the Rust files in `root`. Each is a list of arrows: which file imports which, and what.
fn circles(root: &str) -> Vec<Vec<String>> {
    let files = rust_files(root);
    assert!(files.len() > 3, "{root} is not where it was");
    circles_among(root, &files)
}

fn circles_among(root: &str, files: &[(String, String)]) -> Vec<Vec<String>> {
    let imports = imports(root, files);
    let below: BTreeMap<&str, BTreeSet<&str>> = imports.keys().map(|file| (*file, below(file, &imports))).collect();
    let is_below = |file: &str, other: &str| below.get(other).is_some_and(|below| below.contains(file));
    // In a circle, each file is below each other one and below itself.
    let circle = |file: &&str| -> Vec<&str> {
        below.keys().copied().filter(|other| is_below(file, other) && is_below(other, file)).collect()
    };
    let circles: BTreeSet<Vec<&str>> = below.keys().map(circle).filter(|circle| !circle.is_empty()).collect();
    circles.iter().map(|circle| arrows(circle, &imports)).collect()
}

/// The files that `file` imports, directly or indirectly.
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

/// The files by module path.
fn modules<'a>(root: &str, files: &'a [(String, String)]) -> BTreeMap<String, &'a str> {
    let mut modules = BTreeMap::new();
    for (file, _) in files {
        let known = modules.entry(module_of(root, file).join("::")).or_insert(file.as_str());
        // `crate` means the library if there is one, otherwise the binary.
        if file.ends_with("/lib.rs") {
            *known = file.as_str();
        }
    }
    modules
}

/// The file that a path in `module` leads to, which is the longest part of it that is a file, and the imported name.
fn target<'a>(path: &str, module: &[String], modules: &BTreeMap<String, &'a str>) -> Option<(&'a str, String)> {
    // Any other path may start with a child of the module. For a path into another crate, the result is the module
    // itself.
    let path = if path.starts_with("crate::") { path.to_owned() } else { absolute(&format!("self::{path}"), module) };
    let mut found = path.as_str();
    while !modules.contains_key(found) {
        found = found.rsplit_once("::")?.0;
    }
    let name = path[found.len()..].trim_start_matches("::");
    let name = if name.is_empty() { path.rsplit("::").next()? } else { name };
    Some((modules[found], name.to_owned()))
}
