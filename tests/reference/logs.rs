//! docs/logs.md lists every event that the operator logs. The message of an event is constant, and what differs is in
//! fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};

use super::{assert_says, repository};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Fields by level and message.
type Events = BTreeMap<(usize, String), BTreeSet<String>>;

/// Collects the events that `text` logs, and the places that log in another way.
fn events(text: &str, found: &mut Events, wrong: &mut Vec<String>) {
    let code = text.find("#[cfg(test)]\nmod tests").map_or(text, |tests| &text[..tests]);
    read(code.parse().unwrap(), found, wrong);
}

fn read(tokens: TokenStream, found: &mut Events, wrong: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (place, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            // The tokens `tracing :: level ! ( ... )`.
            let before: Vec<String> = tokens[place.saturating_sub(5)..place].iter().map(ToString::to_string).collect();
            if let [tracing, _, _, level, bang] = before.as_slice()
                && (tracing.as_str(), bang.as_str()) == ("tracing", "!")
                && let Some(level) = LEVELS.iter().position(|name| name == level)
            {
                match event(group.stream()) {
                    Some((message, fields)) => found.entry((level, message)).or_default().extend(fields),
                    None => wrong.push(group.to_string()),
                }
            }
            read(group.stream(), found, wrong);
        }
    }
}

/// The constant message, which must be the last argument and have no placeholder, and the names of the fields.
fn event(arguments: TokenStream) -> Option<(String, Vec<String>)> {
    let mut parts = vec![vec![]];
    for token in arguments {
        match token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => parts.push(vec![]),
            token => parts.last_mut()?.push(token),
        }
    }
    parts.retain(|part| !part.is_empty());
    let last = parts.pop()?;
    let [TokenTree::Literal(message)] = last.as_slice() else { return None };
    let message = message.to_string().strip_prefix('"')?.strip_suffix('"')?.to_owned();
    let name =
        |part: &Vec<TokenTree>| part.iter().find(|token| matches!(token, TokenTree::Ident(_))).map(ToString::to_string);
    let fields = parts.iter().map(name).collect::<Option<Vec<_>>>()?;
    (!message.contains(['{', '}'])).then_some((message, fields))
}

fn read_folder(folder: &Path, found: &mut Events, wrong: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, found, wrong);
        } else {
            events(&fs::read_to_string(&path).unwrap(), found, wrong);
        }
    }
}

#[test]
fn every_event_has_a_constant_message_and_a_row() {
    let (mut found, mut wrong) = (Events::new(), vec![]);
    read_folder(&repository("src"), &mut found, &mut wrong);
    assert!(wrong.is_empty(), "a message comes last, is one literal, and what differs stands in fields: {wrong:#?}");
    assert!(found.len() > 20, "{found:?}");
    let mut page = String::from("\n| level | message | fields |\n|---|---|---|\n");
    for ((level, message), fields) in found {
        let fields: Vec<_> = fields.iter().map(|field| format!("`{field}`")).collect();
        writeln!(page, "| {} | {message} | {} |", LEVELS[level], fields.join(", ")).unwrap();
    }
    page.push('\n');
    assert_says("logs.md", &page);
}

#[test]
fn a_message_with_a_value_in_it_is_noticed() {
    let (mut found, mut wrong) = (Events::new(), vec![]);
    events("fn f() { g(|| tracing::warn!(%error, name = object.name(), ?age, \"not done\")) }", &mut found, &mut wrong);
    let fields = ["age", "error", "name"].map(str::to_owned);
    assert_eq!(found, Events::from([((1, "not done".to_owned()), BTreeSet::from(fields))]));
    assert_eq!(wrong, [""; 0]);
    for bad in ["tracing::info!(\"{name} done\")", "tracing::info!(\"done {}\", name)", "tracing::info!(name)"] {
        let mut wrong = vec![];
        events(&format!("fn f() {{ {bad} }}"), &mut found, &mut wrong);
        assert_eq!(wrong.len(), 1, "{bad}");
    }
}
