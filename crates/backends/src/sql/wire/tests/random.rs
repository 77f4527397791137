//! Random and cut bytes from the server. No input makes the client panic, and a part is never taken for the whole.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::peer::{ALL, COLUMN, END, OK, handshake, later, login};
use crate::sql::wire::auth::{NATIVE, switched};
use crate::sql::wire::error::ServerError;
use crate::sql::wire::handshake::Handshake;
use crate::sql::wire::rows::{Rows, column};
use crate::sql::wire::{Connection, Tls, answer};

/// A small generator of numbers, the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }

    fn byte(&mut self) -> u8 {
        // Half of the bytes are those with a meaning of their own.
        const SPECIAL: [u8; 14] = [0, 1, 2, 3, 5, 9, 10, 20, 21, 0xfb, 0xfc, 0xfd, 0xfe, 0xff];
        if self.next(2) == 0 { SPECIAL[self.next(SPECIAL.len())] } else { u8::try_from(self.next(256)).unwrap() }
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.next(64)).map(|_| self.byte()).collect()
    }

    /// `bytes` with some of them changed, and perhaps cut.
    fn changed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..self.next(4) {
            let at = self.next(bytes.len());
            bytes[at] = self.byte();
        }
        if self.next(3) == 0 {
            bytes.truncate(self.next(bytes.len()));
        }
        bytes
    }
}

#[test]
fn no_packet_makes_a_parser_panic() {
    let mut random = Random(1);
    let samples = [handshake(ALL, NATIVE), OK.to_vec(), END.to_vec(), COLUMN.to_vec()];
    for _ in 0..100_000 {
        let packet = if random.next(2) == 0 {
            random.bytes()
        } else {
            let sample = random.next(samples.len());
            random.changed(&samples[sample])
        };
        let _ = Handshake::read(&packet);
        let _ = switched(&packet);
        let _ = (answer::begin(&packet), answer::end(&packet), answer::is_end(&packet), answer::done(&packet));
        let _ = column(&packet);
        let columns = vec!["a".to_owned(); random.next(4)];
        let _ = Rows::new(columns, |row| assert!(row.at(0).is_none_or(|_| row.get("A").is_some()))).read(&packet);
        if let Some(error) = ServerError::read(&packet) {
            assert!(!error.to_string().contains(char::is_control));
        }
    }
}

/// What a server sends to let a client log in and to answer a statement.
fn conversation() -> Vec<u8> {
    let packets: [(u8, &[u8]); 8] = [
        (0, &handshake(ALL, NATIVE)),
        (2, OK),
        (1, b"\x01"),
        (2, COLUMN),
        (3, END),
        (4, b"\x017"),
        (5, b"\xfb"),
        (6, END),
    ];
    let framed = packets
        .iter()
        .map(|(sequence, payload)| [&[u8::try_from(payload.len()).unwrap(), 0, 0, *sequence], *payload].concat());
    framed.collect::<Vec<_>>().concat()
}

/// Sends three pieces, the later ones each when the client has said something, and counts the rows of a statement.
async fn rows(bytes: &[u8]) -> Option<usize> {
    let greeting = handshake(ALL, NATIVE).len() + 4;
    let (greeting, rest) = bytes.split_at(greeting.min(bytes.len()));
    let (logged_in, answer) = rest.split_at((OK.len() + 4).min(rest.len()));
    let pieces = [greeting.to_vec(), logged_in.to_vec(), answer.to_vec()];
    let (mut server, client) = duplex(1 << 16);
    let server = tokio::spawn(async move {
        for piece in pieces {
            let _ = server.write_all(&piece).await;
            let _ = server.read(&mut [0; 1024]).await;
        }
    });
    let mut counted = 0;
    let result = match Connection::over(client, &Tls::Disabled, &login(), later()).await {
        Ok(mut connection) => connection.query("select 1", later(), |_| counted += 1).await.ok(),
        Err(_) => None,
    };
    server.abort();
    assert!(result.is_none_or(|rows| rows == counted));
    result
}

// The clock stands still: where both sides wait for each other, the deadline passes at once.
#[tokio::test(start_paused = true)]
async fn a_conversation_that_is_cut_anywhere_has_no_rows() {
    let whole = conversation();
    assert_eq!(rows(&whole).await, Some(2));
    for length in 0..whole.len() {
        assert_eq!(rows(&whole[..length]).await, None, "{length}");
    }
}

// The clock stands still: where both sides wait for each other, the deadline passes at once.
#[tokio::test(start_paused = true)]
async fn a_conversation_that_is_changed_anywhere_does_not_hurt() {
    let (mut random, whole) = (Random(2), conversation());
    for _ in 0..2000 {
        let changed = random.changed(&whole);
        let _ = rows(&changed).await;
    }
}
