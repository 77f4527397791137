//! What is printed: answers to standard output, all else to standard error.

use std::io::{ErrorKind, Write as _};

use serde::Serialize;

use crate::errors::{Failure, Result, failure};

/// Prints to standard output. Its reader may have gone, such as `head`.
pub fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => failure(format!("cannot write the output: {error}")),
    })
}

/// Tells the user something beside the answer. Nobody may listen.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Any object as YAML.
pub fn yaml(object: &impl Serialize) -> Result<String> {
    // By way of JSON, so that numbers and texts are written as the API server writes them.
    let value = serde_json::to_value(object).map_err(|error| failure(format!("cannot write YAML: {error}")))?;
    serde_saphyr::to_string(&value).map_err(|error| failure(format!("cannot write YAML: {error}")))
}

/// Any object as JSON.
pub fn json(object: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(object).map_err(|error| failure(format!("cannot write JSON: {error}")))?;
    Ok(text + "\n")
}

/// Columns as kubectl prints them: each as wide as its widest cell, three spaces between.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain([header[column].chars().count()]).max().unwrap_or_default()
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}   "));
        padded.collect::<String>().trim_end().to_owned() + "\n"
    };
    let rows = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(header.to_vec())).chain(rows).collect()
}

/// Text as it can be shown: control characters, which move the cursor or colour the screen, are replaced.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The first `most` characters, with … if there are more.
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["10.0.0.1/7".to_owned(), "app".to_owned()], vec!["1".to_owned(), String::new()]];
        assert_eq!(table(&["SESSION", "USER"], &rows), "SESSION      USER\n10.0.0.1/7   app\n1\n");
    }

    #[test]
    fn a_cut_text_says_so() {
        assert_eq!((cut("abc", 3), cut("abcd", 3)), ("abc".to_owned(), "ab…".to_owned()));
        assert_eq!(plain("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }
}
