//! What to do about each reason: the words of docs/troubleshooting.md, in which a test finds them again.

mod entry;
mod table;

pub use entry::{Advice, SessionAdvice};

/// The advice for a reason of a request's summary, or of a connection that does not work.
pub fn of(reason: &str) -> Option<&'static Advice> {
    table::REQUESTS.iter().find(|advice| advice.reason == reason)
}

/// The advice for the outcome of a session: for each situation in which it comes about.
pub fn of_session(outcome: &str, reason: &str) -> Vec<&'static SessionAdvice> {
    table::SESSIONS.iter().filter(|advice| advice.outcome == outcome && advice.reason == reason).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;
    use std::path::Path;

    use super::*;

    const PAGE: &str = "../../docs/troubleshooting.md";
    const TABLE: &str = "src/advice/table.rs";

    #[test]
    fn it_is_that_of_the_page() {
        let at = |path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let written = of_page(&fs::read_to_string(at(PAGE)).unwrap());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(at(TABLE), &written).unwrap();
        }
        let stored = fs::read_to_string(at(TABLE)).unwrap();
        assert_eq!(stored, written, "run UPDATE_DOCS=1 cargo test -p sessionkill-kubectl");
    }

    #[test]
    fn each_way_to_end_has_advice() {
        for reason in ["SessionsKilled", "KillFailed", "OutcomeUnknown", "DeadlineExceeded", "NotAllowed", "Throttled"]
        {
            assert!(of(reason).is_some(), "{reason}");
        }
        assert!(!of_session("Failed", "KillRefused").is_empty());
        assert_eq!(of_session("Skipped", "PreconditionMismatch").len(), 3);
    }

    /// The table as Rust, from the tables of the page.
    fn of_page(page: &str) -> String {
        let mut requests = String::new();
        for (section, columns) in [("A request that waits", [0, 1, 2]), ("A request that ended", [1, 2, 3])] {
            for row in rows(page, "## ", section) {
                let [reason, meaning, todo] = columns.map(|at| plain(&row[at]));
                write!(
                    requests,
                    "    Advice {{ reason: {reason:?}, meaning: {meaning:?},\n        todo: {todo:?} }},\n"
                )
                .unwrap();
            }
        }
        let mut sessions = String::new();
        let mut last = String::new();
        for section in ["Before the kill", "After a call that was answered", "After a call without a certain answer"] {
            for row in rows(page, "### ", section) {
                let [situation, outcome, reason, todo] = [0, 1, 2, 3].map(|at| plain(&row[at]));
                let todo = if todo == "the same" { last.clone() } else { todo };
                write!(sessions, "    SessionAdvice {{ outcome: {outcome:?}, reason: {reason:?}, situation: {situation:?},\n        todo: {todo:?} }},\n").unwrap();
                last = todo;
            }
        }
        format!(
            "//! Of docs/troubleshooting.md: `UPDATE_DOCS=1 cargo test -p sessionkill-kubectl`\n\n\
             use super::entry::{{Advice, SessionAdvice}};\n\n\
             #[rustfmt::skip]\npub const REQUESTS: &[Advice] = &[\n{requests}];\n\n\
             #[rustfmt::skip]\npub const SESSIONS: &[SessionAdvice] = &[\n{sessions}];\n"
        )
    }

    /// The rows of the first table below a heading.
    fn rows(page: &str, level: &str, heading: &str) -> Vec<Vec<String>> {
        let (_, below) = page.split_once(&format!("\n{level}{heading}\n")).unwrap();
        let lines = below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        lines.skip(2).map(cells).collect()
    }

    /// Markdown as it is read on a terminal: the words of links alone.
    fn plain(cell: &str) -> String {
        let mut text = String::new();
        let mut rest = cell;
        while let Some((before, after)) = rest.split_once("](") {
            let (before, words) = before.rsplit_once('[').unwrap();
            text += before;
            text += words;
            rest = after.split_once(')').unwrap().1;
        }
        // An aside that was a link alone says nothing here.
        (text + rest).replace('`', "").replace(" (why)", "").trim().to_owned()
    }
}
