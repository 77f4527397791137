//! Parses a large body on a thread of its own while it arrives: the body is never whole in memory, and its parsing
//! delays no other work. Blocks, so do not read it in async code.

use std::io::{self, BufReader, Read};

use serde::de::DeserializeSeed;
use tokio::sync::mpsc;

use super::raw_answer::Body;

/// The most bytes kept of one JSON string, as it must fit into memory to be parsed; the rest is dropped. The engine
/// returns at most 256 KiB of a statement, and each byte may be escaped.
const MAX_TEXT: usize = 512 * 1024;

/// A body that arrives in pieces. It ends when no more pieces can come; only their sender knows whether the answer was
/// complete.
pub struct Pieces {
    more: mpsc::Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
    quoted: Quoted,
}

impl Pieces {
    /// A body that starts with `first`, and the sender for its rest. At most one piece waits.
    pub fn new(first: Vec<u8>) -> (mpsc::Sender<Vec<u8>>, Self) {
        let (sender, more) = mpsc::channel(1);
        (sender, Self { more, piece: io::Cursor::new(first), quoted: Quoted::default() })
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read == 0 {
                match self.more.blocking_recv() {
                    Some(piece) => self.piece = io::Cursor::new(piece),
                    None => return Ok(0),
                }
            }
            let kept = self.quoted.shorten(&mut buffer[..read])?;
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

impl Body for Pieces {
    fn json<S, V>(self, seed: S) -> serde_json::Result<V>
    where
        S: for<'de> DeserializeSeed<'de, Value = V>,
    {
        let mut json = serde_json::Deserializer::from_reader(BufReader::new(self));
        let value = seed.deserialize(&mut json)?;
        json.end().map(|()| value)
    }
}

/// The position in a JSON text: inside or outside a string.
#[derive(Default)]
struct Quoted {
    /// The bytes since the opening quote.
    length: Option<usize>,
    escape: Escape,
    /// Whether the rest of this string is dropped.
    is_cut: bool,
}

/// The position in an escape sequence.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    /// This many hexadecimal digits are missing.
    Unicode(u8),
}

impl Escape {
    const fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::None, b'\\') => Self::Begun,
            (Self::Begun, b'u') => Self::Unicode(4),
            (Self::Unicode(left @ 2..), _) => Self::Unicode(left - 1),
            _ => Self::None,
        }
    }
}

impl Quoted {
    /// Moves the kept bytes to the front of `bytes`, and returns their number.
    fn shorten(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut kept = 0;
        for at in 0..bytes.len() {
            if self.keeps(bytes[at])? {
                bytes[kept] = bytes[at];
                kept += 1;
            }
        }
        Ok(kept)
    }

    /// Whether to keep `byte`. Fails for an overlong string that has no place to cut it.
    fn keeps(&mut self, byte: u8) -> io::Result<bool> {
        let is_quote = byte == b'"' && self.escape == Escape::None;
        let Some(length) = &mut self.length else {
            *self = Self { length: is_quote.then_some(0), ..Self::default() };
            return Ok(true);
        };
        if is_quote {
            *self = Self::default();
            return Ok(true);
        }
        // Never cut inside a character, inside an escape sequence, or between two escapes that form one character.
        let may_be_cut = self.escape == Escape::None && byte != b'\\' && is_first(byte);
        self.is_cut |= may_be_cut && *length >= MAX_TEXT;
        self.escape = self.escape.after(byte);
        *length += 1;
        if *length > 2 * MAX_TEXT && !self.is_cut {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a text that is too long"));
        }
        Ok(!self.is_cut)
    }
}

/// Whether it is the first byte of a UTF-8 character.
const fn is_first(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alibaba::answer::read_answer;
    use crate::alibaba::process_list::read_list;
    use crate::alibaba::raw_answer::RawAnswer;
    use crate::alibaba::{AccessKey, CallError, Operation, ProcessList, Sieve};

    /// Reads `body` in pieces of `size` bytes.
    fn read(body: &[u8], size: usize) -> Result<ProcessList, CallError> {
        let key = AccessKey { id: "id".to_owned(), secret: "canary".into(), security_token: None };
        let (sender, pieces) = Pieces::new(vec![]);
        std::thread::scope(|scope| {
            scope.spawn(move || body.chunks(size).try_for_each(|piece| sender.blocking_send(piece.to_vec())));
            let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body: pieces };
            read_list(raw, Sieve::new(&key, &|_| true), &[])
        })
    }

    fn list(text: &str) -> String {
        let row = format!(r#"{{"SessionId":7,"ServerIp":"::1","SqlText":"{text}"}}"#);
        format!(r#"{{"Data":{{"TotalSessionCount":1,"AllProcessList":[{row}]}},"RequestId":"R"}}"#)
    }

    #[test]
    fn a_body_is_the_same_in_pieces_and_no_part_of_it_is_taken_for_the_whole() {
        let body = list(r#"SELECT \"数\\\" \u6570"#);
        for size in [1, 2, 7, 1000] {
            let list = read(body.as_bytes(), size).unwrap();
            assert_eq!((list.sessions[0].sql_text.as_str(), list.complete), ("SELECT \"数\\\" 数", true), "{size}");
        }
        for end in 0..body.len() {
            assert!(read(&body.as_bytes()[..end], 100).is_err(), "{end}");
        }
        assert!(read(format!("{body}}}").as_bytes(), 100).is_err());
    }

    #[test]
    fn a_text_without_end_is_cut_where_it_is_read() {
        for unit in ["x", "数", "x\\\"", "x\\\\", "x\\u6570", "x\\ud83d\\ude00"] {
            let count = MAX_TEXT / unit.len();
            for more in 0..3 {
                let whole = list(&unit.repeat(count + more));
                let read = read(whole.as_bytes(), 10_000).unwrap();
                assert!(read.complete && read.sessions[0].sql_text.len() > 8000, "{unit} {more}");
            }
            let long = list(&unit.repeat(count * 3));
            assert!(read(long.as_bytes(), 10_000).unwrap().complete, "{unit}");
        }
    }

    #[test]
    fn a_text_of_escapes_alone_is_read_up_to_twice_the_length() {
        for unit in ["\\\"", "\\\\", "\\u6570"] {
            let most = 2 * MAX_TEXT / unit.len();
            assert!(read(list(&unit.repeat(most)).as_bytes(), 10_000).unwrap().complete, "{unit}");
            assert!(read(list(&unit.repeat(most + 1)).as_bytes(), 10_000).is_err(), "{unit}");
        }
    }

    #[test]
    fn a_success_with_a_long_request_id_is_a_success() {
        let (sender, pieces) = Pieces::new(vec![]);
        let key = AccessKey { id: "id".to_owned(), secret: "canary".into(), security_token: None };
        let body = format!(r#"{{"RequestId":"{}","Data":[{{"SessionId":7}}]}}"#, "R".repeat(3_000_000));
        let answer = std::thread::scope(|scope| {
            scope.spawn(move || body.as_bytes().chunks(10_000).try_for_each(|it| sender.blocking_send(it.to_vec())));
            let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body: pieces };
            read_answer(raw, Operation::KillProcessList, Sieve::new(&key, &|_| true)).unwrap()
        });
        assert_eq!((answer.request_id.len(), answer.rows.len()), (128, 1));
    }
}
