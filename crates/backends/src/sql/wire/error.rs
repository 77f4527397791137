//! What can go wrong with a connection. No text has more than 256 characters of what the server sent. Pure.

use sessionkill_core::backend::bounded;

use super::cursor::Cursor;

/// An error that the server answered with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}{}{state}: {message}", if state.is_empty() { "" } else { " " })]
pub struct ServerError {
    /// Its number, such as 1045.
    pub code: u16,
    /// The SQLSTATE of five characters; empty if the server gave none.
    pub state: String,
    /// Its text: 256 printable characters at most.
    pub message: String,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No usable socket: connecting failed, TLS failed, the server closed the connection, or the deadline passed.
    #[error("{0}")]
    Unreachable(String),
    /// The server's certificate was refused: neither user name nor password was sent.
    #[error("the server's certificate is refused: {0}")]
    Certificate(String),
    /// The server refused the connection or the login.
    #[error("{0}")]
    Refused(ServerError),
    /// The server wants something that this client does not do, or sent something malformed.
    #[error("{0}")]
    Unsupported(String),
}

/// Why a statement has no complete answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Provably no byte of the statement was handed to the socket.
    #[error("not sent: {0}")]
    NotWritten(String),
    /// The server's complete answer is an error.
    #[error("{0}")]
    Server(ServerError),
    /// The statement was written, perhaps in part, and no complete answer came.
    #[error("{0}")]
    Lost(String),
}

/// What a stream of packets broke by.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the server closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the server sent something that was not asked for")]
    Unasked,
    #[error("the server sent a packet of {0} bytes; at most {1} are read")]
    TooLarge(usize, usize),
    #[error("the server sent a packet out of order")]
    OutOfOrder,
    #[error("the server sent {0}")]
    Malformed(&'static str),
}

impl Broken {
    /// The same as a reason not to have a connection.
    pub(super) fn while_opening(self) -> OpenError {
        let text = self.to_string();
        match self {
            Self::Closed | Self::Io(_) => OpenError::Unreachable(bounded(&text)),
            _ => OpenError::Unsupported(text),
        }
    }
}

/// The first byte of an error.
const ERROR: u8 = 0xff;

impl ServerError {
    /// The error in a packet; `None` if it has none.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(packet);
        if cursor.u8()? != ERROR {
            return None;
        }
        let code = cursor.u16()?;
        // Before the capabilities are agreed upon, there is no state.
        let (state, message) = match cursor.rest() {
            [b'#', rest @ ..] => rest.split_at_checked(5).unwrap_or((b"", rest)),
            rest => (&b""[..], rest),
        };
        Some(Self { code, state: readable(state), message: readable(message) })
    }
}

/// A text of the server for people.
pub(super) fn readable(text: &[u8]) -> String {
    // At most four bytes for each of the characters that are kept, so that a long text is not copied whole.
    bounded(&String::from_utf8_lossy(text.get(..1024).unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_with_and_without_a_state() {
        let with = ServerError::read(b"\xff\x15\x04#28000Access denied").unwrap();
        assert_eq!(with.to_string(), "1045 28000: Access denied");
        let without = ServerError::read(b"\xff\x10\x04Too many connections").unwrap();
        assert_eq!(without.to_string(), "1040: Too many connections");
        assert_eq!(ServerError::read(b"\xff\x10\x04").unwrap().to_string(), "1040: ");
        assert_eq!(ServerError::read(b"\xff\x10\x04#ab").unwrap().message, "ab");
    }

    #[test]
    fn what_is_no_error_is_not_read_as_one() {
        for packet in [&b""[..], b"\xff", b"\xff\x10", b"\x00\x10\x04", b"\x0a\xff\xff"] {
            assert_eq!(ServerError::read(packet), None, "{packet:?}");
        }
    }

    #[test]
    fn a_message_is_bounded_and_printable() {
        let mut packet = b"\xff\x10\x04#\x1b[31m".to_vec();
        packet.extend("\u{202e}\u{7}数\u{0}".repeat(100_000).bytes());
        packet.extend([0xff, 0xfe]);
        let error = ServerError::read(&packet).unwrap();
        assert_eq!((error.state.as_str(), error.code), ("[31m", 1040));
        assert!(error.message.chars().count() <= 256 && error.message.starts_with("数数"), "{error:?}");
        assert!(!error.to_string().contains(char::is_control));
    }
}
