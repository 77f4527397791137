//! A TCP relay in front of a server. It counts connections, and can make them hang silently, like a host that lost
//! power or a firewall that forgot its connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testbed::port;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running relay. When it is dropped, it and its connections end.
pub struct Relay {
    port: u16,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

struct Shared {
    upstream: String,
    open: AtomicUsize,
    deaths: watch::Sender<()>,
}

impl Relay {
    /// Starts a relay in front of `upstream`, an `https://HOST:PORT`.
    pub async fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("https://").to_owned();
        let shared = Arc::new(Shared { upstream, open: AtomicUsize::new(0), deaths: watch::Sender::new(()) });
        let port = port::free().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, shared.clone()));
        Self { port, shared, _serving: serving }
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The number of open connections.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// From now on, the open connections pass nothing, and neither side is told. New connections work.
    pub fn let_all_die(&self) {
        self.shared.deaths.send_replace(());
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        shared.open.fetch_add(1, Ordering::SeqCst);
        let (shared, death) = (shared.clone(), shared.deaths.subscribe());
        connections.spawn(async move {
            forward(client, &shared.upstream, death).await;
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn forward(mut client: TcpStream, upstream: &str, mut death: watch::Receiver<()>) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    tokio::select! {
        // The connection has ended, with or without an error.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        // Both sockets stay open, but nothing reads them.
        _ = death.changed() => std::future::pending().await,
    }
}
