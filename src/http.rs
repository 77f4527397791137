//! The HTTP server of the health port. Does I/O, in a thread and an event loop of its own: it answers while the loop of
//! the kills stands still, and a thousand connections to it take none of that loop's time.
//!
//! Everybody in the cluster may reach the port. Each connection serves one request, which must come soon and be small.
//! A new connection replaces the oldest one, so that a probe is answered however many others stay idle.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use std::{io, thread};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// The most connections that are open at once.
pub const MOST_CONNECTIONS: usize = 64;
/// Even with few descriptors: a probe, a scrape, and one or two others that delay nobody.
const LEAST_CONNECTIONS: usize = 4;
/// The longest that the head of a request may take.
const HEAD_LIMIT: Duration = Duration::from_secs(2);
/// The longest that a whole connection, such as a scrape, may take.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// Bytes buffered of a request's head and of an answer: the least that the library accepts.
const BUFFER_BYTES: usize = 8 * 1024;
/// Bytes that the kernel buffers of an unread request; it takes twice that.
const RECEIVE_BUFFER_BYTES: u32 = 8 * 1024;
/// The most connections that wait to be accepted, which happens at once.
const BACKLOG: u32 = 1024;
/// The pause after a failed accept, as when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);
/// The stack of the thread; most of it is never touched.
const STACK_BYTES: usize = 256 * 1024;

/// Serves `router` at `address` until the process ends, with `most` connections at once, clamped to 4 to 64. Returns
/// the local address. Fails if it cannot listen there.
pub fn serve(router: Router, address: SocketAddr, most: usize) -> io::Result<SocketAddr> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let listener = {
        let _its_own = runtime.enter();
        listen(address)?
    };
    let local = listener.local_addr()?;
    let most = most.clamp(LEAST_CONNECTIONS, MOST_CONNECTIONS);
    let serving = move || runtime.block_on(accept(&listener, &router, most));
    thread::Builder::new().name("health".to_owned()).stack_size(STACK_BYTES).spawn(serving)?;
    Ok(local)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it.
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: &TcpListener, router: &Router, most: usize) -> Infallible {
    let mut open = VecDeque::<JoinHandle<()>>::with_capacity(most);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= most
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
            // Wait until its descriptor is free.
            let _ = oldest.await;
        }
        open.push_back(tokio::spawn(answer(stream, router.clone())));
    }
}

/// Answers one request, or ends the connection in time. Ignores errors, which are the client's own matter.
async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _ = timeout(CONNECTION_LIMIT, pin!(connection)).await;
}
