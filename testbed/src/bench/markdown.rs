//! Markdown for all tables. Pure.

/// In bytes.
pub(super) const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// A table under a heading. Empty if there are no rows.
pub(super) fn table(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head_line = line(head.iter().map(|cell| (*cell).to_owned()).collect());
    let rule = format!("|{}\n", "---|".repeat(head.len()));
    format!("\n### {title}\n\n{head_line}{rule}{}", rows.into_iter().map(line).collect::<String>())
}
