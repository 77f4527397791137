//! docs/metrics.md names every metric, every label, and every value of a label.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sessionkill::backends::LIST_ACTIONS;
use sessionkill::metrics::Metrics;

use super::{assert_says, repository};

#[derive(Default)]
struct Described {
    kind: String,
    help: String,
    /// In the order in which they are written.
    labels: Vec<(String, BTreeSet<String>)>,
}

impl Described {
    fn add(&mut self, label: &str, value: &str) {
        if !self.labels.iter().any(|(name, _)| name == label) {
            self.labels.push((label.to_owned(), BTreeSet::new()));
        }
        let known = self.labels.iter_mut().find(|(name, _)| name == label).unwrap();
        known.1.insert(value.to_owned());
    }
}

/// The description of each metric in the text of a scrape.
fn described(text: &str) -> BTreeMap<String, Described> {
    let mut found: BTreeMap<String, Described> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            name.clone_into(&mut current);
            help.clone_into(&mut found.entry(current.clone()).or_default().help);
        } else if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kind.clone_into(&mut found.entry(current.clone()).or_default().kind);
        } else if let Some((_, labels)) = line.split_once('{') {
            let labels = labels.split_once('}').unwrap().0;
            for (label, value) in labels.split(',').filter_map(|label| label.split_once('=')) {
                if label != "le" {
                    found.get_mut(&current).unwrap().add(label, value.trim_matches('"'));
                }
            }
        }
    }
    found
}

/// The name that a query uses.
fn name(metric: &str, kind: &str) -> String {
    match kind {
        "counter" => format!("{metric}_total"),
        "info" => format!("{metric}_info"),
        _ => metric.to_owned(),
    }
}

fn reference(text: &str) -> String {
    let mut page = String::from("\n| metric | type | labels | what it says |\n|---|---|---|---|\n");
    for (metric, Described { kind, help, labels }) in described(text) {
        let values = |(label, values): &(String, BTreeSet<String>)| {
            if label == "version" {
                return "`version`".to_owned();
            }
            let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
            format!("`{label}`: {}", values.join(", "))
        };
        let labels: Vec<_> = labels.iter().map(values).collect();
        let name = name(&metric, &kind);
        let help = help.trim_end_matches('.');
        writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join("; ")).unwrap();
    }
    page.push('\n');
    page
}

fn every_series() -> String {
    let metrics = Metrics::default();
    metrics.make_every_series(&LIST_ACTIONS);
    metrics.encode().unwrap()
}

#[test]
fn the_page_is_made_of_what_is_registered() {
    assert_says("metrics.md", &reference(&every_series()));
}

#[test]
fn a_metric_that_is_missing_from_the_page_is_noticed() {
    let more = every_series().replace("# EOF\n", "# HELP sessionkill_new New.\n# TYPE sessionkill_new gauge\n");
    assert_ne!(reference(&more), reference(&every_series()));
}

#[test]
fn names_follow_the_conventions() {
    for (metric, described) in described(&every_series()) {
        assert!(metric.starts_with("sessionkill_"), "{metric}");
        assert!(described.help.ends_with('.') && described.help.len() > 20, "{metric}: {}", described.help);
        assert!(!metric.ends_with("_total"), "the format adds it: {metric}");
        assert!(["counter", "gauge", "histogram", "info"].contains(&described.kind.as_str()), "{metric}");
        let is_time = metric.contains("_age") || metric.contains("_oldest") || metric.contains("completion");
        assert!(!is_time || metric.ends_with("_seconds"), "times are seconds: {metric}");
    }
}

#[test]
fn every_metric_that_a_page_names_exists() {
    let metrics = described(&every_series());
    let page = std::fs::read_to_string(repository("docs/metrics.md")).unwrap();
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    for word in page.split(|c: char| !is_name(c)).filter(|word| word.starts_with("sessionkill_")) {
        let base = ["_total", "_bucket", "_sum", "_count", "_info"]
            .iter()
            .find_map(|suffix| word.strip_suffix(suffix).filter(|base| metrics.contains_key(*base)))
            .unwrap_or(word);
        assert!(metrics.contains_key(base), "docs/metrics.md names {word}");
    }
}
