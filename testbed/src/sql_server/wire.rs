//! Packets of the `MySQL` protocol, from the server's side.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::reply::{SqlError, Table};

/// The capabilities by which a client asks for TLS, and for what its login has.
pub(super) mod capability {
    pub(crate) const CONNECT_WITH_DB: u32 = 0x8;
    pub(crate) const SSL: u32 = 0x800;
    pub(crate) const PLUGIN_AUTH: u32 = 0x8_0000;
    /// Long password, long flag, database, local files, protocol 4.1, transactions, secure connection, plug-in.
    pub(super) const OFFERED: u32 = 0x1 | 0x4 | 0x8 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x8_0000;
}

const LONGEST: usize = 0xff_ffff;
const UTF8MB4: u8 = 45;
const VAR_STRING: u8 = 0xfd;
const AUTOCOMMIT: u16 = 2;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, with the number of the next packet.
pub(super) struct Wire {
    pub(super) stream: Box<dyn Stream>,
    pub(super) sequence: u8,
}

impl Wire {
    pub(super) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), sequence: 0 }
    }

    /// The next packet, without its header. The answer has the next number.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let [low, middle, high, sequence] = self.stream.read_u32_le().await?.to_le_bytes();
        let mut payload = vec![0; usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16];
        self.stream.read_exact(&mut payload).await?;
        self.sequence = sequence.wrapping_add(1);
        Ok(payload)
    }

    /// The packets with their headers.
    pub(super) fn framed(&mut self, packets: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![];
        for part in packets.iter().flat_map(|packet| packet.chunks(LONGEST)) {
            bytes.extend(header(part.len(), self.sequence));
            bytes.extend(part);
            self.sequence = self.sequence.wrapping_add(1);
        }
        bytes
    }

    /// The bytes of an answer. `None` is OK.
    pub(super) fn encoded(&mut self, answer: &Result<Option<Table>, SqlError>) -> Vec<u8> {
        let packets = match answer {
            Ok(Some(rows)) => table(rows),
            Ok(None) => vec![ok()],
            Err(refusal) => vec![error(refusal)],
        };
        self.framed(&packets)
    }

    pub(super) async fn answer(&mut self, answer: &Result<Option<Table>, SqlError>) -> io::Result<()> {
        let bytes = self.encoded(answer);
        self.send_raw(&bytes).await
    }

    pub(super) async fn send(&mut self, packet: Vec<u8>) -> io::Result<()> {
        let bytes = self.framed(&[packet]);
        self.send_raw(&bytes).await
    }

    pub(super) async fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }
}

/// The header of a packet of this length.
pub(super) fn header(length: usize, sequence: u8) -> [u8; 4] {
    let [low, middle, high, ..] = length.to_le_bytes();
    [low, middle, high, sequence]
}

/// The first packet.
pub(super) fn greeting(version: &str, id: u32, nonce: &[u8; 20], plugin: &str, with_tls: bool) -> Vec<u8> {
    let capabilities = capability::OFFERED | if with_tls { capability::SSL } else { 0 };
    let [first, second, third, fourth] = capabilities.to_le_bytes();
    let (start, rest) = nonce.split_at(8);
    let mut packet = vec![10];
    packet.extend(text(version));
    packet.extend(id.to_le_bytes());
    packet.extend(start);
    packet.extend([0, first, second, UTF8MB4]);
    packet.extend(AUTOCOMMIT.to_le_bytes());
    packet.extend([third, fourth, 21]);
    packet.extend([0; 10]);
    packet.extend(rest);
    packet.push(0);
    packet.extend(text(plugin));
    packet
}

/// Asks for another way to log in.
pub(super) fn auth_switch(plugin: &str, nonce: &[u8; 20]) -> Vec<u8> {
    [&[0xfe], text(plugin).as_slice(), nonce, &[0]].concat()
}

pub(super) fn ok() -> Vec<u8> {
    vec![0, 0, 0, 2, 0, 0, 0]
}

pub(super) fn error(error: &SqlError) -> Vec<u8> {
    let mut packet = vec![0xff];
    packet.extend(error.code.to_le_bytes());
    if !error.state.is_empty() {
        packet.push(b'#');
        packet.extend(error.state.as_bytes());
    }
    packet.extend(error.message.as_bytes());
    packet
}

/// The packets of an answer with rows.
pub(super) fn table(table: &Table) -> Vec<Vec<u8>> {
    let mut packets = vec![integer(table.columns.len())];
    packets.extend(table.columns.iter().map(|name| column(name)));
    packets.push(end());
    packets.extend(table.rows.iter().map(|row| row.iter().flat_map(|value| cell(value.as_deref())).collect()));
    packets.push(end());
    packets
}

fn column(name: &str) -> Vec<u8> {
    let mut packet = string(b"def");
    packet.extend([0, 0, 0]);
    packet.extend(string(name.as_bytes()));
    packet.extend([0, 0x0c, UTF8MB4, 0]);
    packet.extend(u32::MAX.to_le_bytes());
    packet.extend([VAR_STRING, 0, 0, 0, 0, 0]);
    packet
}

fn cell(value: Option<&str>) -> Vec<u8> {
    value.map_or_else(|| vec![0xfb], |value| string(value.as_bytes()))
}

fn end() -> Vec<u8> {
    vec![0xfe, 0, 0, 2, 0]
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [integer(bytes.len()).as_slice(), bytes].concat()
}

/// An integer whose first byte tells its length.
fn integer(value: usize) -> Vec<u8> {
    let bytes = value.to_le_bytes();
    match value {
        0..=250 => vec![bytes[0]],
        251..=0xffff => [&[0xfc], &bytes[..2]].concat(),
        0x1_0000..=LONGEST => [&[0xfd], &bytes[..3]].concat(),
        _ => [&[0xfe], &bytes[..8]].concat(),
    }
}
