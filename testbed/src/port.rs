//! Free loopback ports that stay free, for servers that must restart on the same port.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::Context;
use tokio::net::TcpSocket;

/// Below the range that Linux uses for outgoing connections and for `bind` to port 0 (32768 and up). Otherwise a
/// restarted server could find its port taken by a client that had tried to reach it meanwhile.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port of 127.0.0.1 on which nobody listens. One process does not get the same port twice in a row. Another process
/// may still take the port before it is used: then start again with another port.
pub fn free() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(uuid::Uuid::new_v4().as_u128() % u128::from(COUNT))?;
    // Start at another number in each process, so that two testbeds that start together do not collide.
    let _ = NEXT.compare_exchange(0, start.max(1), Ordering::Relaxed, Ordering::Relaxed);
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| is_free(*port))
        .context("no free port on 127.0.0.1")
}

/// Starts a server on a free port. If another process took the port first, starts again on another port. A server that
/// fails must be gone by then: its port shows who was at fault.
pub async fn start_on_free<T, F>(start: impl Fn(u16) -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let mut attempts = 5;
    loop {
        let port = free()?;
        let outcome = start(port).await;
        attempts -= 1;
        if outcome.is_ok() || attempts == 0 || is_free(port) {
            return outcome;
        }
    }
}

/// Binds, but does not listen. A child that is just being started inherits the socket for a moment, and a listening
/// socket would block the server for that time.
fn is_free(port: u16) -> bool {
    TcpSocket::new_v4()
        .and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind((Ipv4Addr::LOCALHOST, port).into())
        })
        .is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free() {
        let port = free().unwrap();
        assert!(is_free(port));
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port));
    }

    #[tokio::test]
    async fn a_server_whose_port_was_taken_starts_on_another() {
        let others = std::sync::Mutex::new(Vec::new());
        let port = start_on_free(async |port| {
            let mut others = others.lock().unwrap();
            if others.is_empty() {
                others.push(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
                anyhow::bail!("address already in use");
            }
            Ok(port)
        })
        .await
        .unwrap();
        assert!(is_free(port));
    }

    #[tokio::test]
    async fn a_server_that_fails_on_a_free_port_is_not_tried_again() {
        let tried = AtomicU16::new(0);
        let failure = start_on_free(async |_| {
            tried.fetch_add(1, Ordering::Relaxed);
            anyhow::Result::<()>::Err(anyhow::anyhow!("disk is full"))
        });
        assert_eq!(failure.await.unwrap_err().to_string(), "disk is full");
        assert_eq!(tried.into_inner(), 1);
    }
}
