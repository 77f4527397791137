//! Packets: three bytes of length, one of sequence, and the payload. Does I/O.

use futures::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use super::error::Broken;

/// The most bytes of a packet that is read or written (1 MiB). The protocol's own limit, above which a payload has
/// several packets, is 16 MiB.
pub(super) const MAX_PACKET: usize = 1 << 20;

const HEADER: usize = 4;
/// How many bytes are asked of the socket at once.
const READ: usize = 16 << 10;

/// A stream of bytes in both directions.
pub trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Socket for S {}

/// Packets over a socket.
pub(super) struct Packets<S> {
    socket: S,
    /// What was received. It grows with what comes, not with what a header says.
    received: Vec<u8>,
    /// How many bytes of `received` have been read.
    read: usize,
    /// The sequence number of the next packet, in either direction.
    sequence: u8,
}

impl<S: Socket> Packets<S> {
    pub(super) fn new(socket: S) -> Self {
        Self { socket, received: vec![], read: 0, sequence: 0 }
    }

    /// Another socket in place of this one, such as one with TLS over it. The caller sees to it that nothing was
    /// received that is not read yet: it would be lost.
    pub(super) async fn over<T, E>(self, other: impl AsyncFnOnce(S) -> Result<T, E>) -> Result<Packets<T>, E> {
        let Self { socket, sequence, .. } = self;
        Ok(Packets { socket: other(socket).await?, received: vec![], read: 0, sequence })
    }

    /// The payload of the next packet, which may have `max` bytes.
    pub(super) async fn read(&mut self, max: usize) -> Result<&[u8], Broken> {
        self.fill(HEADER).await?;
        let Some([first, second, third, sequence]) = self.unread().first_chunk().copied() else {
            return Err(Broken::Closed);
        };
        let length = u32::from_le_bytes([first, second, third, 0]) as usize;
        if length > max {
            return Err(Broken::TooLarge(length, max));
        }
        if sequence != self.sequence {
            return Err(Broken::OutOfOrder);
        }
        self.sequence = sequence.wrapping_add(1);
        self.fill(length.saturating_add(HEADER)).await?;
        let start = self.read.saturating_add(HEADER);
        self.read = start.saturating_add(length);
        self.received.get(start..self.read).ok_or(Broken::Closed)
    }

    /// Writes a packet. Fails if the server has already sent something: it cannot be the answer.
    pub(super) async fn write(&mut self, payload: &[u8]) -> Result<(), Broken> {
        if self.has_unread() {
            return Err(Broken::Unasked);
        }
        let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_PACKET);
        let [first, second, third, _] = length.ok_or(Broken::TooLarge(payload.len(), MAX_PACKET))?.to_le_bytes();
        // One piece, so that one segment has it whole. A login has a hash of the password.
        let mut packet = Zeroizing::new(Vec::with_capacity(payload.len().saturating_add(HEADER)));
        packet.extend([first, second, third, self.sequence]);
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.write_all(&packet).await?;
        self.socket.flush().await?;
        Ok(())
    }

    /// Begins a command: its first packet has the sequence number 0.
    pub(super) fn begin(&mut self) {
        self.sequence = 0;
    }

    /// Whether something was received that is not read yet.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread().is_empty()
    }

    /// Fails if the server has closed the connection or sent something while nothing was asked. Waits for nothing.
    pub(super) async fn check_idle(&mut self) -> Result<(), Broken> {
        if self.has_unread() {
            return Err(Broken::Unasked);
        }
        // The runtime looks at its sockets before it goes on with this task.
        tokio::task::yield_now().await;
        let mut byte = [0];
        match tokio::task::unconstrained(self.socket.read(&mut byte)).now_or_never() {
            None => Ok(()),
            Some(Ok(0)) => Err(Broken::Closed),
            Some(Ok(_)) => Err(Broken::Unasked),
            Some(Err(error)) => Err(error.into()),
        }
    }

    fn unread(&self) -> &[u8] {
        self.received.get(self.read..).unwrap_or_default()
    }

    /// Receives until `length` bytes are there to be read.
    async fn fill(&mut self, length: usize) -> Result<(), Broken> {
        while self.unread().len() < length {
            self.received.drain(..self.read.min(self.received.len()));
            self.read = 0;
            self.received.reserve(READ);
            if self.socket.read_buf(&mut self.received).await? == 0 {
                return Err(Broken::Closed);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    async fn read(bytes: &[u8], max: usize) -> Vec<Result<Vec<u8>, String>> {
        let (mut server, client) = duplex(1 << 16);
        server.write_all(bytes).await.unwrap();
        drop(server);
        let mut packets = Packets::new(client);
        let mut all = vec![];
        loop {
            let packet = packets.read(max).await.map(<[u8]>::to_vec).map_err(|error| error.to_string());
            let ended = packet.is_err();
            all.push(packet);
            if ended {
                return all;
            }
        }
    }

    #[tokio::test]
    async fn packets_are_read_whole_and_in_order() {
        let closed = || Err("the server closed the connection".to_owned());
        let read_all = read(b"\x02\0\0\0ab\0\0\0\x01\x01\0\0\x02c", 10).await;
        assert_eq!(read_all, [Ok(b"ab".to_vec()), Ok(vec![]), Ok(b"c".to_vec()), closed()]);
        for cut in 0..6 {
            assert_eq!(read(&b"\x02\0\0\0ab"[..cut], 10).await, [closed()]);
        }
    }

    #[tokio::test]
    async fn a_packet_out_of_order_is_refused() {
        let all = read(b"\x01\0\0\0a\x01\0\0\x02b", 10).await;
        assert_eq!(all, [Ok(b"a".to_vec()), Err("the server sent a packet out of order".to_owned())]);
    }

    #[tokio::test]
    async fn a_packet_that_is_too_large_is_refused_by_its_header() {
        let text = "the server sent a packet of 16777215 bytes; at most 1048576 are read";
        assert_eq!(read(b"\xff\xff\xff\0", MAX_PACKET).await, [Err(text.to_owned())]);
    }

    #[tokio::test]
    async fn memory_is_taken_for_what_comes_and_not_for_what_is_said() {
        let (mut server, client) = duplex(64);
        server.write_all(b"\0\0\x10\0abc").await.unwrap();
        let mut packets = Packets::new(client);
        assert!(packets.read(MAX_PACKET).now_or_never().is_none());
        assert!(packets.received.capacity() <= 2 * READ, "{}", packets.received.capacity());
    }

    #[tokio::test]
    async fn sequence_numbers_go_on_after_255() {
        let (mut server, client) = duplex(1 << 16);
        let mut packets = Packets::new(client);
        for sequence in 0..=300_u16 {
            let [low, _] = sequence.to_le_bytes();
            server.write_all(&[1, 0, 0, low, low]).await.unwrap();
            assert_eq!(packets.read(1).await.unwrap(), [low]);
        }
    }

    #[tokio::test]
    async fn nothing_is_written_after_something_that_was_not_asked_for() {
        let (mut server, client) = duplex(64);
        let mut packets = Packets::new(client);
        assert!(packets.check_idle().await.is_ok());
        server.write_all(b"\x01\0\0\0a\x01\0\0\x01b").await.unwrap();
        packets.read(1).await.unwrap();
        assert!(matches!(packets.write(b"x").await, Err(Broken::Unasked)));
        assert!(matches!(packets.check_idle().await, Err(Broken::Unasked)));
        assert_eq!(packets.read(1).await.unwrap(), b"b");
        drop(server);
        assert!(matches!(packets.check_idle().await, Err(Broken::Closed)));
    }
}
