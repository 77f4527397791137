//! Reads the paths in a Rust text from its tokens.

use proc_macro2::{Group, Spacing, TokenStream, TokenTree};

use crate::repository::without_tests;

/// The module path of a file: with the root `src`, `src/domain/plan.rs` is `crate::domain::plan`, and `src/lib.rs` is
/// `crate`.
pub fn module_of(root: &str, file: &str) -> Vec<String> {
    let file = file.trim_start_matches(root).trim_start_matches('/').trim_end_matches(".rs");
    let names = file.trim_end_matches("/mod").split('/').filter(|_| !matches!(file, "lib" | "main"));
    ["crate"].into_iter().chain(names).map(str::to_owned).collect()
}

/// A path that starts with `self` or `super`, as a path from the root of the crate. Other paths are not changed.
pub fn absolute(path: &str, module: &[String]) -> String {
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

/// All paths with `::` in the text, and single names in a `use`. Tests are left out. Braces are expanded.
pub fn paths(text: &str) -> Vec<String> {
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
                    // Skip the new name after `as`.
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
                TokenTree::Group(scope) if is_visibility(&scope) => self.end(importing),
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
        // A trailing comma in braces is followed by no name.
        if importing && path.ends_with("::") {
            return;
        }
        let path = path.trim_end_matches("::");
        if path.contains("::") || importing && !path.is_empty() {
            self.found.push(path.to_owned());
        }
    }
}

/// Whether it is the path in `pub(in …)`, which is not an import.
fn is_visibility(group: &Group) -> bool {
    matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(name)) if name == "in")
}
