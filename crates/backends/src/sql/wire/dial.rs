//! Connects to one of the addresses of a server. Does I/O.

use std::net::SocketAddr;

use sessionkill_core::backend::bounded;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::error::OpenError;
use super::tls::Tls;

/// Where to connect. The caller has resolved and checked the addresses: no others are called.
#[derive(Clone, Debug)]
pub struct Address {
    /// The addresses, in the order in which they are tried.
    pub addresses: Vec<SocketAddr>,
    /// Whether the connection is encrypted.
    pub tls: Tls,
}

/// Connects to the first address that accepts. Each gets an equal share of the time that is left.
pub(super) async fn dial(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, OpenError> {
    let mut failed = vec![];
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let share = remaining.checked_div(u32::try_from(left).unwrap_or(u32::MAX)).unwrap_or_default();
        let until = Instant::now().checked_add(share).unwrap_or(deadline);
        match timeout_at(until, connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed.push(format!("{address}: {error}")),
            Err(_) => failed.push(format!("{address}: no connection within {} ms", share.as_millis())),
        }
    }
    let text = if failed.is_empty() { "no address".to_owned() } else { failed.join("; ") };
    Err(OpenError::Unreachable(bounded(&text)))
}

async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
