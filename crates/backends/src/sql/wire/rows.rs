//! Columns and rows. Pure, and total: no input makes it panic.

use super::cursor::Cursor;
use super::error::{Broken, readable};

/// The most rows of an answer.
const MAX_ROWS: usize = 200_000;
/// The most bytes of an answer (64 MiB).
const MAX_BYTES: usize = 64 << 20;

/// A row of an answer, with its values as text.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: &'a [Option<&'a [u8]>],
}

#[allow(clippy::option_option, reason = "the outer one is whether there is such a column, and the inner one its value")]
impl<'a> Row<'a> {
    /// The value of the column with this name in any case: `None` if there is no such column, `Some(None)` for NULL.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<Option<&'a [u8]>> {
        self.at(self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?)
    }

    /// The value of the column with this index: `None` if there is no such column, `Some(None)` for NULL.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Option<&'a [u8]>> {
        self.values.get(index).copied()
    }

    /// The names of the columns, in order.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.columns.iter().map(String::as_str)
    }
}

/// The name in the packet of one column.
pub(super) fn column(packet: &[u8]) -> Result<String, Broken> {
    let name = || {
        let mut cursor = Cursor::new(packet);
        // Catalog, schema, table, and the table's name of its own.
        (0..4).try_for_each(|_| cursor.text().map(drop))?;
        let name = cursor.text()?;
        // The column's name of its own, then its type.
        cursor.text()?;
        cursor.text()?;
        Some(readable(name))
    };
    name().ok_or(Broken::Malformed("a malformed column"))
}

/// Reads the rows of one answer, and counts them.
pub(super) struct Rows<F> {
    columns: Vec<String>,
    each: F,
    count: usize,
    bytes: usize,
}

impl<F: FnMut(&Row<'_>)> Rows<F> {
    /// Calls `each` for every row.
    pub(super) fn new(columns: Vec<String>, each: F) -> Self {
        Self { columns, each, count: 0, bytes: 0 }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Reads the packet of one row.
    pub(super) fn read(&mut self, packet: &[u8]) -> Result<(), Broken> {
        self.count = self.count.saturating_add(1);
        self.bytes = self.bytes.saturating_add(packet.len());
        if self.count > MAX_ROWS || self.bytes > MAX_BYTES {
            return Err(Broken::Malformed("more than 200000 rows or 64 MiB"));
        }
        let mut cursor = Cursor::new(packet);
        let values: Option<Vec<_>> = self.columns.iter().map(|_| cursor.value()).collect();
        let values = values.filter(|_| cursor.is_empty()).ok_or(Broken::Malformed("a malformed row"))?;
        (self.each)(&Row { columns: &self.columns, values: &values });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(packets: &[&[u8]]) -> Result<Vec<String>, Broken> {
        let mut read = vec![];
        let mut rows = Rows::new(vec!["ID".to_owned(), "User".to_owned()], |row| {
            read.push(format!("{:?} {:?} {:?}", row.get("id"), row.get("USER"), row.get("host")));
            assert_eq!((row.at(0), row.at(1), row.at(2)), (row.get("ID"), row.get("user"), None));
        });
        packets.iter().try_for_each(|packet| rows.read(packet))?;
        assert_eq!(rows.count(), packets.len());
        Ok(read)
    }

    #[test]
    fn a_value_is_found_by_its_columns_name_in_any_case() {
        let read = rows(&[b"\x017\x01u", b"\xfb\0"]).unwrap();
        assert_eq!(read, ["Some(Some([55])) Some(Some([117])) None", "Some(None) Some(Some([])) None"]);
    }

    #[test]
    fn a_row_with_more_or_fewer_values_than_columns_is_refused() {
        for packet in [&b""[..], b"\x017", b"\x017\x01u\x01x", b"\x017\x02u", b"\xff\xff"] {
            assert!(rows(&[packet]).is_err(), "{packet:?}");
        }
    }

    #[test]
    fn a_column_has_the_name_that_the_statement_gives_it() {
        let mut packet = b"\x03def\x09oceanbase\x01p\x01P\x01K\x02ID\x0c".to_vec();
        packet.extend([0; 12]);
        assert_eq!(column(&packet).unwrap(), "K");
        for length in 0..packet.len() {
            assert!(column(&packet[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn an_answer_has_a_bounded_number_of_rows_and_bytes() {
        let mut seen = 0_usize;
        let mut rows = Rows::new(vec!["a".to_owned()], |_| seen += 1);
        for _ in 0..MAX_ROWS {
            rows.read(b"\x01x").unwrap();
        }
        assert!(rows.read(b"\x01x").is_err());
        assert_eq!(seen, MAX_ROWS);
        let large = [b"\xfd\0\0\x08".to_vec(), vec![b'x'; 1 << 19]].concat();
        let mut rows = Rows::new(vec!["a".to_owned()], |_| ());
        assert_eq!((0..1000).take_while(|_| rows.read(&large).is_ok()).count(), 127);
    }
}
