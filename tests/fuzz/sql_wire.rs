//! What a server of the MySQL protocol sends. Whoever writes a connection may name the server.

use std::time::Duration;

use bolero::{TypeGenerator, check};
use sessionkill::backends::sql::wire::{Connection, Login, OpenError, QueryError, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::tally::{ITERATIONS, Tally};

const PASSWORD: &str = "CanaryPasswordThatIsNeverSent";
const STATEMENT: &str = "select 1";
const GREETING: &[u8] = b"\x0a5.7.25-OceanBase\0\x07\0\0\0abcdefgh\0\xff\xff\x2d\x02\0\xff\xff\x15\0\0\0\0\0\0\0\0\0\0\
    ijklmnopqrst\0mysql_native_password\0";
const OK: &[u8] = b"\0\0\0\x02\0\0\0";
const END: &[u8] = b"\xfe\0\0\x02\0";
const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\x01a\x0c\0\0\0\0\0\0\0\0\0\0\0\0";
/// The bytes that have a meaning of their own.
const BYTES: [u8; 12] = [0, 1, 8, 9, 10, 20, 21, 0xfb, 0xfc, 0xfd, 0xfe, 0xff];
/// Packets in which a server asks for something.
const ASKING: [&[u8]; 6] = [
    b"\xfb/etc/passwd",
    b"\xfemysql_native_password\0ABCDEFGHIJKLMNOPQRST\0",
    b"\xfemysql_clear_password\0\0",
    b"\xfecaching_sha2_password\0ABCDEFGHIJKLMNOPQRST\0",
    b"\x01\x04",
    b"\xff\x15\x04#28000Access denied",
];

/// What a server sends.
#[derive(Debug, TypeGenerator)]
struct Plan {
    /// How many rows it has.
    rows: u8,
    /// Whether it switches to the native plugin.
    switches: bool,
    /// Where another packet stands in place of one, and which.
    instead: Option<(u8, u8)>,
    /// Bytes that are changed: where, and to what.
    changed: Vec<(u16, u8)>,
    /// Where what it sends is cut.
    cut: Option<u16>,
}

impl Plan {
    /// Half of the inputs keep their bytes.
    fn has_other_bytes(&self) -> bool {
        self.rows >= 128
    }
}

/// What a server sends: a piece when the connection is made, and one after each packet of the client.
fn pieces(plan: &Plan) -> Vec<Vec<u8>> {
    let mut packets = vec![vec![GREETING.to_vec()]];
    if plan.switches {
        packets.push(vec![ASKING[1].to_vec()]);
    }
    packets.push(vec![OK.to_vec()]);
    let rows = (0..plan.rows % 8).map(|row| if row % 2 == 0 { b"\x017".to_vec() } else { b"\xfb".to_vec() });
    let head = [b"\x01".to_vec(), COLUMN.to_vec(), END.to_vec()];
    packets.push(head.into_iter().chain(rows).chain([END.to_vec()]).collect());
    if let Some((at, by)) = plan.instead {
        let piece = usize::from(at) % packets.len();
        let packet = usize::from(by) % packets[piece].len();
        packets[piece][packet] = ASKING[usize::from(by / 8) % ASKING.len()].to_vec();
    }
    let last = packets.len() - 1;
    let framed = packets.iter().enumerate().map(|(piece, packets)| {
        // The client's packets come between, and a statement begins again.
        let first = if piece == last { 1 } else { 2 * piece };
        let framed = packets.iter().zip(first..).flat_map(|(packet, sequence)| {
            let header = [packet.len(), 0, 0, sequence].map(|byte| u8::try_from(byte).unwrap());
            [&header[..], packet].concat()
        });
        framed.collect()
    });
    let mut pieces: Vec<Vec<u8>> = framed.collect();
    change(plan, &mut pieces);
    pieces
}

fn change(plan: &Plan, pieces: &mut [Vec<u8>]) {
    let total = pieces.iter().map(Vec::len).sum::<usize>();
    for (at, to) in plan.changed.iter().take(3).filter(|_| plan.has_other_bytes()) {
        let byte = pieces.iter_mut().flatten().nth(usize::from(*at) % total).unwrap();
        *byte = if to % 2 == 0 { BYTES[usize::from(*to) % BYTES.len()] } else { *to };
    }
    if let Some(cut) = plan.cut {
        let mut left = usize::from(cut) % total;
        for piece in pieces {
            piece.truncate(left);
            left -= piece.len();
        }
    }
}

/// What came of a connection and a statement, how many rows were read, and all that the client sent.
async fn converse(pieces: Vec<Vec<u8>>) -> (Result<usize, String>, usize, Vec<u8>) {
    let (mut server, client) = duplex(1 << 16);
    let server = tokio::spawn(async move {
        let mut heard: Vec<u8> = vec![];
        for piece in pieces {
            let _ = server.write_all(&piece).await;
            heard.reserve(1024);
            let _ = server.read_buf(&mut heard).await;
        }
        let _ = server.read_to_end(&mut heard).await;
        heard
    });
    let login = Login { user: "killer".to_owned(), password: PASSWORD.into() };
    let deadline = Instant::now() + Duration::from_secs(1);
    let mut counted = 0;
    let result = match Connection::over(client, &Tls::Disabled, &login, deadline).await {
        Err(error) => Err(opening(&error)),
        Ok(mut connection) => {
            assert!(!format!("{connection:?}").contains(char::is_control));
            let result = connection.query(STATEMENT, deadline, |row| {
                counted += 1;
                let named = row.get("A");
                assert!(named.is_none() || (0..256).any(|index| row.at(index) == named));
                assert!(row.at(0).is_some() && row.at(256).is_none());
            });
            let result = result.await;
            assert!(!matches!(result, Err(QueryError::Lost(_))) || !connection.is_usable());
            result.map_err(|error| error.to_string())
        }
    };
    (result, counted, server.await.unwrap())
}

fn opening(error: &OpenError) -> String {
    assert!(!matches!(error, OpenError::Certificate(_)));
    error.to_string()
}

fn runtime() -> Runtime {
    // The clock stands still: where both sides wait for each other, the deadline passes at once.
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[test]
fn conversations() {
    let (tally, runtime) = (Tally::of("conversations"), runtime());
    check!().with_iterations(ITERATIONS).with_type::<Plan>().for_each(|plan| {
        let pieces = pieces(plan);
        let greeting = pieces[0].clone();
        let (result, counted, heard) = runtime.block_on(converse(pieces));
        tally.count(result.is_ok());
        assert!(!heard.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()));
        let is_greeted = plan.has_other_bytes() || greeting.len() == GREETING.len() + 4;
        assert!(is_greeted || heard.is_empty(), "the client spoke first");
        let is_part = plan.cut.is_some() && !plan.has_other_bytes();
        assert!(!is_part || result.is_err(), "a part was taken for the whole");
        match result {
            Ok(rows) => assert!(rows == counted && heard.ends_with(STATEMENT.as_bytes()), "{rows} {counted}"),
            Err(text) => {
                assert!(text.chars().count() < 512 && !text.contains(char::is_control), "{text}");
                assert!(!text.contains(PASSWORD));
            }
        }
    });
    tally.assert_both();
}
