//! Free loopback ports that stay free: for servers that must come back on the same one.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::Context;

/// Below the range from which Linux serves outgoing connections and `bind` to port 0 (32768 and up): a server that is
/// restarted would otherwise find its port taken by a client that had tried to reach it meanwhile.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port of 127.0.0.1 that nobody listens on; one process is not given the same port twice in a row. Another process
/// may still take it before it is used: start again with another one then.
pub fn free() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(uuid::Uuid::new_v4().as_u128() % u128::from(COUNT))?;
    // Each process begins at a place of its own, so that two testbeds that start together do not collide.
    let _ = NEXT.compare_exchange(0, start.max(1), Ordering::Relaxed, Ordering::Relaxed);
    (0..COUNT)
        .map(|_| FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| is_free(*port).unwrap_or(false))
        .context("no free port on 127.0.0.1")
}

fn is_free(port: u16) -> io::Result<bool> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(error),
    }
}

/// Starts a server on a free port, and again on another one if that was taken before the server had it.
pub async fn start_on_free<T, F>(start: impl Fn(u16) -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let mut attempts = 5;
    loop {
        let outcome = start(free()?).await;
        attempts -= 1;
        match outcome {
            Err(error) if attempts > 0 && taken(&error) => {}
            outcome => return outcome,
        }
    }
}

/// The message quotes the end of the server's log.
fn taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").to_lowercase().contains("address already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_somebody_listens_on_is_not_free() {
        let port = free().unwrap();
        assert!(is_free(port).unwrap());
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(!is_free(port).unwrap());
    }

    #[tokio::test]
    async fn a_server_whose_port_was_taken_starts_on_another() {
        let tried = std::sync::Mutex::new(Vec::new());
        let port = start_on_free(async |port| {
            let mut tried = tried.lock().unwrap();
            tried.push(port);
            anyhow::ensure!(tried.len() > 1, "listen tcp: bind: address already in use");
            Ok(port)
        })
        .await
        .unwrap();
        let tried = tried.into_inner().unwrap();
        assert_eq!(tried.len(), 2);
        assert_eq!(tried.last(), Some(&port));
        assert_ne!(tried.first(), Some(&port));
    }
}
