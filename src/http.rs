//! The HTTP server of the health port, in a thread and an event loop of its own: it answers while that of the kills stands
//! still, and whoever comes with a thousand connections takes none of its time.
//!
//! Everybody in the cluster may reach the port. A connection is for one request, which must come soon and be small; and the one
//! that is open for longest makes room for a new one, so that a probe is answered however many others do nothing.

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
/// Also where there are few descriptors: a probe, a scrape, and one or two that are in nobody's way.
const LEAST_CONNECTIONS: usize = 4;
/// For the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(2);
/// For a whole connection: as long as a scrape may take.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// For the head of a request, and for what of an answer is on its way: the least that the library can do with.
const BUFFER_BYTES: usize = 8 * 1024;
/// What the kernel keeps of a request that nobody reads; it takes twice that.
const RECEIVE_BUFFER_BYTES: u32 = 8 * 1024;
/// Connections that wait to be accepted, which happens at once.
const BACKLOG: u32 = 1024;
/// After a connection could not be accepted, as when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);
/// Most of it is never touched.
const STACK_BYTES: usize = 256 * 1024;

/// Listens at `address`, and answers there as `router` says until the process ends; with `most` connections at once, within
/// bounds. Returns the address. Fails if nothing can listen there.
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
    // Those that are accepted have the same.
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
            // Until its descriptor is free.
            let _ = oldest.await;
        }
        open.push_back(tokio::spawn(answer(stream, router.clone())));
    }
}

/// Answers one request, or ends the connection in time. What goes wrong is the client's own matter.
async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(BUFFER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _ = timeout(CONNECTION_LIMIT, pin!(connection)).await;
}
