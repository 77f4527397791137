//! A server that follows the script of a test, over real sockets.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::sql::wire::auth::NATIVE;
use crate::sql::wire::{Address, Connection, Login, OpenError, Tls};

/// A success.
pub const OK: &[u8] = b"\0\0\0\x02\0\0\0";
/// The end of columns or rows.
pub const END: &[u8] = b"\xfe\0\0\x02\0";
/// A column with the name `a`.
pub const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\x01a\x0c\0\0\0\0\0\0\0\0\0\0\0\0";
/// The nonce of the handshake that [`Peer::greet`] sends.
pub const NONCE: &[u8; 20] = b"abcdefghijklmnopqrst";

/// All capabilities.
pub const ALL: u32 = u32::MAX;

/// A handshake as OceanBase sends it, with these capabilities and this plugin.
pub fn handshake(capabilities: u32, plugin: &[u8]) -> Vec<u8> {
    let [first, second, third, fourth] = capabilities.to_le_bytes();
    let mut packet = b"\x0a5.7.25-OceanBase-v4.3.5.3\0\x07\x01\0\0abcdefgh\0".to_vec();
    packet.extend([first, second, 45, 2, 0, third, fourth, 21]);
    packet.extend([0; 10]);
    packet.extend(b"ijklmnopqrst\0");
    packet.extend(plugin);
    packet.push(0);
    packet
}

/// The server's side of a connection.
pub struct Peer<S = TcpStream> {
    pub stream: S,
    sequence: u8,
}

/// Starts a server for one connection. The handle ends when the script does, and fails if it fails.
pub async fn serve<F>(tls: Tls, script: impl FnOnce(Peer) -> F + Send + 'static) -> (Address, JoinHandle<()>)
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        script(Peer { stream, sequence: 0 }).await;
    });
    (Address { addresses: vec![address], tls }, server)
}

/// A time that nothing takes.
pub fn later() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

pub fn login() -> Login {
    Login { user: "killer".to_owned(), password: "correct horse".into() }
}

/// Opens a connection without TLS to a server that follows `script`, and waits until both have ended.
pub async fn opened<F>(script: impl FnOnce(Peer) -> F + Send + 'static) -> Result<Connection, OpenError>
where
    F: Future<Output = ()> + Send,
{
    let (address, server) = serve(Tls::Disabled, script).await;
    let opened = Connection::open(&address, &login(), later()).await;
    server.await.unwrap();
    opened
}

/// Opens a connection to a server that follows `script` after the login.
pub async fn connected<F>(script: impl FnOnce(Peer) -> F + Send + 'static) -> (Connection, JoinHandle<()>)
where
    F: Future<Output = ()> + Send,
{
    let (address, server) = serve(Tls::Disabled, async move |mut peer| {
        peer.admit().await;
        script(peer).await;
    })
    .await;
    (Connection::open(&address, &login(), later()).await.unwrap(), server)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub async fn send(&mut self, payload: &[u8]) {
        let packet = self.packet(payload);
        self.stream.write_all(&packet).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next packet, for a piece that has several.
    pub fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let [first, second, third, _] = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let packet = [&[first, second, third, self.sequence], payload].concat();
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }

    pub async fn receive(&mut self) -> Vec<u8> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await.unwrap();
        let [first, second, third, sequence] = header;
        self.sequence = sequence.wrapping_add(1);
        let mut payload = vec![0; u32::from_le_bytes([first, second, third, 0]) as usize];
        self.stream.read_exact(&mut payload).await.unwrap();
        payload
    }

    /// The statement that the client sends.
    pub async fn statement(&mut self) -> String {
        let packet = self.receive().await;
        assert_eq!((packet[0], self.sequence), (3, 1));
        String::from_utf8(packet[1..].to_vec()).unwrap()
    }

    /// Sends columns and rows.
    pub async fn send_rows(&mut self, columns: &[&str], rows: &[&[Option<&str>]]) {
        self.send(&[u8::try_from(columns.len()).unwrap()]).await;
        for name in columns {
            let name = text(name);
            let names = [&b"\x03def\0\0\0"[..], &name, &name, b"\x0c"].concat();
            self.send(&[&names[..], &[0; 12]].concat()).await;
        }
        self.send(END).await;
        for row in rows {
            let values = row.iter().map(|value| value.map_or_else(|| vec![0xfb], text)).collect::<Vec<_>>();
            self.send(&values.concat()).await;
        }
        self.send(END).await;
    }

    pub async fn greet(&mut self) {
        self.send(&handshake(ALL, NATIVE)).await;
    }

    /// Lets the client log in.
    pub async fn admit(&mut self) {
        self.greet().await;
        self.receive().await;
        self.send(OK).await;
    }

    /// Waits until the client has closed the connection, without having sent anything more.
    pub async fn hears_nothing_more(mut self) {
        let mut rest = vec![];
        let _ = self.stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
}

impl Peer {
    /// The same over TLS.
    pub async fn secured(
        self,
        config: std::sync::Arc<rustls::ServerConfig>,
    ) -> std::io::Result<Peer<tokio_rustls::server::TlsStream<TcpStream>>> {
        let stream = tokio_rustls::TlsAcceptor::from(config).accept(self.stream).await?;
        Ok(Peer { stream, sequence: self.sequence })
    }
}

fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}
