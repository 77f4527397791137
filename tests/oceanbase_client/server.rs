//! A server that treats each connection as the test says, and counts connections.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// Longer than anything takes.
pub const LIMIT: Duration = Duration::from_mins(1);

/// The server. It ends with the runtime of the test.
pub struct Server {
    /// Its host and port.
    pub authority: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
    ended: AtomicUsize,
    changed: Notify,
}

/// One connection.
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    seen: Arc<Seen>,
}

impl Server {
    /// Starts a server that calls `behave` for every connection.
    pub async fn start<F>(behave: impl Fn(Connection) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let conversation = behave(Connection { stream, seen: Arc::clone(&shared) });
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    conversation.await;
                    shared.ended.fetch_add(1, Ordering::SeqCst);
                    shared.changed.notify_waiters();
                });
            }
        });
        Self { authority, seen }
    }

    /// Reads each request, answers with these bytes, and closes the connection.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = Arc::new(answer.into());
        Self::start(move |mut connection| {
            let answer = Arc::clone(&answer);
            async move {
                connection.read_request().await;
                connection.stream.write_all(&answer).await.unwrap();
            }
        })
        .await
    }

    /// Its URL without TLS.
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Waits until `count` connections have been handled.
    pub async fn ended(&self, count: usize) {
        let ended = async {
            loop {
                let changed = self.seen.changed.notified();
                if self.seen.ended.load(Ordering::SeqCst) >= count {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(LIMIT, ended).await.expect("the client keeps the connection open");
    }
}

impl Connection {
    /// Reads one whole request.
    pub async fn read_request(&mut self) {
        let mut request = vec![];
        while !is_whole(&request) {
            assert_ne!(self.stream.read_buf(&mut request).await.unwrap(), 0, "the request is not whole");
        }
        self.seen.requests.lock().unwrap().push(String::from_utf8(request).unwrap());
    }

    /// Writes `piece` repeatedly until the client has closed the connection.
    pub async fn write_for_ever(&mut self, piece: &[u8], pause: Duration) {
        while self.stream.write_all(piece).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until the client has closed the connection.
    pub async fn wait_for_the_end(&mut self) {
        let mut rest = vec![];
        let _ = self.stream.read_to_end(&mut rest).await;
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// The parameters in the body of a request.
pub fn form(request: &str) -> Vec<(String, String)> {
    testbed::gateway::request::decode_pairs(request.split_once("\r\n\r\n").unwrap().1)
}

/// A whole HTTP answer.
pub fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}
