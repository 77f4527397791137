//! Decides what is kept of an answer: the wanted rows, a limited part of each text, and nothing that contains the
//! access key. Pure.
//!
//! So the memory that an answer leaves behind depends on the request, not on what a gateway lists.

use sessionkill_core::session::Seen;

use super::redact::told;
use super::session_row::{MAX_STATEMENT, texts};
use crate::access_key::AccessKey;

/// The most bytes kept of all rows of one answer: 500 rows with the longest statements.
const MAX_KEPT: usize = 6 * 1024 * 1024;

/// The filter for one answer.
pub struct Sieve<'a> {
    key: &'a AccessKey,
    wanted: &'a dyn Fn(i64) -> bool,
    room: usize,
}

/// The result for one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sifted {
    Kept,
    /// No request asked for it.
    Unwanted,
    /// The wanted rows exceed [`MAX_KEPT`].
    NoRoom,
}

impl<'a> Sieve<'a> {
    /// For the answer to a call signed with `key`; keeps the sessions with `wanted` IDs.
    #[must_use]
    pub fn new(key: &'a AccessKey, wanted: &'a dyn Fn(i64) -> bool) -> Self {
        Self { key, wanted, room: MAX_KEPT }
    }

    /// The key that signed the call.
    pub(super) const fn key(&self) -> &AccessKey {
        self.key
    }

    /// Whether `row` and the text `beside` it are kept; if so, it redacts and cuts them.
    pub(super) fn sift(&mut self, row: &mut Seen, beside: &mut String) -> Sifted {
        if !(self.wanted)(row.session_id) {
            return Sifted::Unwanted;
        }
        let mut size = size_of::<Seen>();
        for (text, max) in texts(row).chain([(beside, MAX_STATEMENT)]) {
            told(self.key, text, max);
            size += text.len();
        }
        let Some(room) = self.room.checked_sub(size) else { return Sifted::NoRoom };
        self.room = room;
        Sifted::Kept
    }
}

impl Sieve<'_> {
    /// What may be kept of a row that was selected: redacted and cut as any other.
    pub(super) fn storable(&self, row: &Seen) -> Seen {
        let mut row = row.clone();
        for (text, max) in texts(&mut row) {
            told(self.key, text, max);
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alibaba::redact::WITHHELD;
    use crate::alibaba::session_row::MAX_WORD;

    fn key() -> AccessKey {
        AccessKey { id: "LTAI5tCanaryKeyID0000001".into(), secret: "s3cret".into(), security_token: None }
    }

    #[test]
    fn texts_are_cut_and_a_key_at_the_cut_is_withheld_whole() {
        let mut row = Seen {
            session_id: 7,
            user: "数".repeat(MAX_WORD),
            database: format!("{}LTAI5tCanaryKeyID0000001", "x".repeat(MAX_WORD - 10)),
            sql_text: "x".repeat(100_000),
            ..Seen::default()
        };
        let key = key();
        assert_eq!(Sieve::new(&key, &|_| true).sift(&mut row, &mut String::new()), Sifted::Kept);
        assert_eq!(row.user.len(), MAX_WORD - MAX_WORD % 3);
        assert_eq!((row.database.as_str(), row.sql_text.len()), (WITHHELD, MAX_STATEMENT));
        assert!(row.sql_text.capacity() < 2 * MAX_STATEMENT);
    }

    #[test]
    fn rows_that_nobody_asked_for_take_no_room_and_there_is_no_room_without_end() {
        let key = key();
        let wanted = |id: i64| id == 7;
        let mut sieve = Sieve::new(&key, &wanted);
        let mut sift = |session_id| {
            let mut row = Seen { session_id, sql_text: "x".repeat(MAX_STATEMENT), ..Seen::default() };
            sieve.sift(&mut row, &mut String::new())
        };
        assert!((0..2000).all(|_| sift(8) == Sifted::Unwanted));
        let kept = (0..2000).filter(|_| sift(7) == Sifted::Kept).count();
        assert!((500..=MAX_KEPT / MAX_STATEMENT).contains(&kept), "{kept}");
        assert_eq!(sift(7), Sifted::NoRoom);
    }
}
