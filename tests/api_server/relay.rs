//! A stop on the way to a server that knows of TCP only: it counts connections, and can let them die without a word, as a
//! host that lost its power or a firewall that forgot them does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testbed::port;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running relay; it ends when dropped, and so do its connections.
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
    /// Starts in front of `upstream`, an `https://HOST:PORT`.
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

    /// How many connections there are now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// From now on nothing passes on the connections that there are, and nobody is told. New ones work.
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
        // However it ends, it ends.
        _ = copy_bidirectional(&mut client, &mut server) => {}
        // Both ends stay open and are not read any more.
        _ = death.changed() => std::future::pending().await,
    }
}
