//! A large body, read by a thread of its own while it is being received: it is never whole in memory, and nobody else's work
//! waits for its parsing. Blocks; no async code may read from it.

use std::io::{self, BufReader, Read};

use serde::de::DeserializeSeed;
use tokio::sync::mpsc;

use super::answer::Body;

/// The most bytes between two quotes: a text must fit into memory to be read. The engine gives out a quarter of a mebibyte of
/// a statement at most, and each of its bytes may be escaped.
const MAX_TEXT: usize = 512 * 1024;

/// A body that comes in pieces. It ends where no more can come: whether that was the end of the answer, only the one who
/// sends the pieces can tell.
pub struct Pieces {
    more: mpsc::Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
    quoted: Quoted,
}

impl Pieces {
    /// A body that begins with `first`, and the way to send the rest of it. One piece at most waits to be read.
    pub fn new(first: Vec<u8>) -> (mpsc::Sender<Vec<u8>>, Self) {
        let (sender, more) = mpsc::channel(1);
        (sender, Self { more, piece: io::Cursor::new(first), quoted: Quoted::default() })
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 {
                self.quoted.goes_on(&buffer[..read])?;
                return Ok(read);
            }
            match self.more.blocking_recv() {
                Some(piece) => self.piece = io::Cursor::new(piece),
                None => return Ok(0),
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

/// Where a JSON text stands: within quotes or not.
#[derive(Default)]
struct Quoted {
    /// The bytes since the opening quote.
    length: Option<usize>,
    is_escaped: bool,
}

impl Quoted {
    /// Fails if there are more bytes between quotes than may be read.
    fn goes_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            match (&mut self.length, byte) {
                (None, b'"') => self.length = Some(0),
                (None, _) => {}
                (Some(_), b'"') if !self.is_escaped => self.length = None,
                (Some(length), _) => {
                    *length += 1;
                    if *length > MAX_TEXT {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, "a text that is too long"));
                    }
                    self.is_escaped = !self.is_escaped && *byte == b'\\';
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oceanbase::answer::RawAnswer;
    use crate::oceanbase::{AccessKey, CallError, ProcessList, Sieve};

    /// Reads `body` in pieces of `size` bytes.
    fn read(body: &[u8], size: usize) -> Result<ProcessList, CallError> {
        let key = AccessKey { id: "id".to_owned(), secret: "canary".into(), security_token: None };
        let (sender, pieces) = Pieces::new(vec![]);
        std::thread::scope(|scope| {
            scope.spawn(move || body.chunks(size).try_for_each(|piece| sender.blocking_send(piece.to_vec())));
            let raw = RawAnswer { status: 200, retry_after: None, gateway_time: None, body: pieces };
            ProcessList::read(raw, Sieve::new(&key, &|_| true))
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
    fn a_text_without_end_is_not_read_to_its_end() {
        for unit in ["x", "\\\"", "\\\\"] {
            let fits = read(list(&unit.repeat(MAX_TEXT / unit.len())).as_bytes(), 10_000).unwrap();
            assert!(fits.complete, "{unit}");
            assert!(read(list(&unit.repeat(MAX_TEXT + 1)).as_bytes(), 10_000).is_err(), "{unit}");
        }
    }
}
