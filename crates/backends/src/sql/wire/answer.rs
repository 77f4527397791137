//! The packets that begin or end an answer. Pure, and total: no input makes it panic.

use super::cursor::Cursor;
use super::error::Broken;

/// The most columns of an answer.
const MAX_COLUMNS: u64 = 256;
/// The status of an answer that another one follows.
const MORE_RESULTS: u16 = 8;

/// How an answer that is no error begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// It has no rows, and is complete.
    Done,
    /// It has this many columns: at least 1.
    Columns(usize),
}

/// The beginning of an answer that is no error.
pub(super) fn begin(packet: &[u8]) -> Result<Begin, Broken> {
    match packet {
        [0, ..] => done(packet).map(|()| Begin::Done),
        // The server asks for a file of the client's.
        [0xfb, ..] => Err(Broken::Malformed("a request for a file")),
        _ => {
            let mut cursor = Cursor::new(packet);
            let count = cursor.integer().filter(|_| cursor.is_empty()).ok_or(Broken::Malformed("no answer"))?;
            let allowed = usize::try_from(count).ok().filter(|_| (1..=MAX_COLUMNS).contains(&count));
            allowed.map(Begin::Columns).ok_or(Broken::Malformed("more than 256 columns"))
        }
    }
}

/// Checks the packet of a success without rows.
pub(super) fn done(packet: &[u8]) -> Result<(), Broken> {
    let status = || {
        let mut cursor = Cursor::new(packet);
        cursor.u8().filter(|first| *first == 0)?;
        // Changed rows, and the last inserted ID.
        cursor.integer()?;
        cursor.integer()?;
        let status = cursor.u16()?;
        // Warnings; a message may follow.
        cursor.u16()?;
        Some(status)
    };
    last(status().ok_or(Broken::Malformed("a malformed success"))?)
}

/// Whether a packet ends the columns or the rows. A row that begins with the same byte is longer.
pub(super) fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

/// Checks the packet that ends columns or rows.
pub(super) fn end(packet: &[u8]) -> Result<(), Broken> {
    match packet {
        [0xfe, _, _, low, high] => last(u16::from_le_bytes([*low, *high])),
        _ => Err(Broken::Malformed("a malformed end")),
    }
}

/// Refuses an answer that another one follows: none was asked for.
fn last(status: u16) -> Result<(), Broken> {
    if status & MORE_RESULTS == 0 { Ok(()) } else { Err(Broken::Malformed("more than one answer")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_begins_with_a_success_or_a_count_of_columns() {
        assert_eq!(begin(b"\0\0\0\x02\0\0\0").unwrap(), Begin::Done);
        assert_eq!(begin(b"\0\0\0\x02\0\0\0a message").unwrap(), Begin::Done);
        assert_eq!(begin(b"\x20").unwrap(), Begin::Columns(32));
        assert_eq!(begin(b"\xfc\0\x01").unwrap(), Begin::Columns(256));
    }

    #[test]
    fn anything_else_is_no_answer() {
        let refused: [&[u8]; 10] = [
            b"",
            b"\0",
            b"\0\0\0\x02\0\0",
            b"\0\0\0\x0a\0\0\0",
            b"\xfb/etc/passwd",
            b"\xfc\x01\x01",
            b"\x02\0",
            b"\xfe\0\0\x02\0",
            b"\xff",
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
        ];
        for packet in refused {
            assert!(begin(packet).is_err(), "{packet:?}");
        }
    }

    #[test]
    fn an_end_is_told_from_a_row_by_its_length() {
        assert!(is_end(b"\xfe\0\0\x02\0") && is_end(b"\xfe"));
        assert!(!is_end(b"\xfe\0\0\0\0\0\0\0\0") && !is_end(b"\0") && !is_end(b""));
        assert!(end(b"\xfe\0\0\x02\0").is_ok());
        for wrong in [&b"\xfe"[..], b"\xfe\0\0\x0a\0", b"\xfe\0\0\x02\0\0", b"\0\0\0\0\0"] {
            assert!(end(wrong).is_err(), "{wrong:?}");
        }
    }
}
