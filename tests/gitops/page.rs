//! The output in the documentation is real output: `UPDATE_DOCS=1` with the test that prints it writes it.
//!
//! It is between `<!-- printed: NAME -->` and `<!-- end -->`.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

/// Only one test at a time may write to a page.
static WRITING: Mutex<()> = Mutex::new(());

/// Asserts that the part `name` of `docs/PAGE` is `printed`. Both are compared after `same` has removed what may
/// differ.
pub fn shows(page: &str, name: &str, printed: &str, same: fn(&str) -> String) {
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (before, shown, after) = part(&text, name).unwrap_or_else(|| panic!("docs/{page} has no part {name}"));
    if env::var_os("UPDATE_DOCS").is_some() {
        return fs::write(&path, format!("{before}{printed}{after}")).unwrap();
    }
    assert!(
        same(shown) == same(printed),
        "docs/{page} does not show what was printed: run UPDATE_DOCS=1 cargo test --test {} and commit the result\n\
         --- shown\n{shown}--- printed\n{printed}",
        env!("CARGO_CRATE_NAME"),
    );
}

/// The text before a part, the part, and the text after it.
fn part<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let begin = format!("<!-- printed: {name} -->\n");
    let start = text.find(&begin)? + begin.len();
    let end = start + text[start..].find("<!-- end -->")?;
    Some((&text[..start], &text[start..end], &text[end..]))
}

/// Removes nothing: the text must be equal.
pub fn exactly(printed: &str) -> String {
    printed.to_owned()
}

/// Removes what may differ: words with digits (times, ages, IDs, ports), the widths of columns, and Events, which are
/// written only when there is time for them.
pub fn but_for_numbers(printed: &str) -> String {
    let of_now = |word: &str| word.contains(|c: char| c.is_ascii_digit());
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| if of_now(word) { "#" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    let lines = printed.lines().map(line).take_while(|line| line != "Events:");
    lines.filter(|line| line.chars().any(|c| c != '-' && c != ' ')).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_part_that_differs_is_noticed_and_ages_are_not() {
    let page = "a\n<!-- printed: x -->\nAGE  NAME\n5s   inc\n<!-- end -->\nb\n";
    let (before, shown, after) = part(page, "x").unwrap();
    assert_eq!(format!("{before}{shown}{after}"), page);
    assert_eq!(part(page, "y"), None);
    assert_eq!(but_for_numbers(shown), but_for_numbers("AGE NAME\n12m inc\n"));
    assert_ne!(but_for_numbers(shown), but_for_numbers("AGE NAME\n12m other\n"));
}
