//! A server that answers as the test says, and keeps what it was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use testbed::gateway::request::decode_pairs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything takes.
pub const LIMIT: Duration = Duration::from_mins(1);

/// A request as it came. No `Debug`: it holds tokens.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// An answer: status, headers and body.
pub struct Answer(pub u16, pub &'static [(&'static str, &'static str)], pub String);

/// The server. It ends with the runtime of the test.
#[derive(Clone)]
pub struct Server {
    /// Its URL.
    pub url: String,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers the request with this number, from 0, as `answer` says.
    pub async fn answering(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start(move |number, request| {
            let answer = answer(number, request);
            Box::pin(async move { answer })
        })
        .await
    }

    /// The same, and the answer may take its time.
    pub async fn start(answer: impl Fn(usize, &Request) -> BoxFuture<'static, Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, answer) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(answer));
        let shared = asked.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (asked, answer) = (shared.clone(), answer.clone());
                tokio::spawn(async move {
                    let Some(request) = read(&mut stream).await else { return };
                    let number = {
                        let mut asked = asked.lock().unwrap();
                        asked.push(request.clone());
                        asked.len() - 1
                    };
                    let Answer(status, headers, body) = answer(number, &request).await;
                    let headers: String =
                        headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
                    let _ = stream.write_all((head + &body).as_bytes()).await;
                });
            }
        });
        Self { url, asked }
    }

    /// One that does not exist.
    pub fn nowhere() -> Self {
        Self { url: format!("http://127.0.0.1:{}", testbed::port::free().unwrap()), asked: Arc::default() }
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// How often it was asked so far.
    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

/// Reads one whole request; `None` if the client went away.
async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = vec![];
    loop {
        if let Some(request) = whole(&bytes) {
            return Some(request);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn whole(bytes: &[u8]) -> Option<Request> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let request = Request { method, target, headers, body: body.to_owned() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    (body.len() >= length).then_some(request)
}

impl Request {
    /// The value of this header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The parameters of the query.
    pub fn query(&self) -> Vec<(String, String)> {
        decode_pairs(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    /// The parameters of the body.
    pub fn form(&self) -> Vec<(String, String)> {
        decode_pairs(&self.body)
    }

    /// All parameters, wherever they are.
    pub fn params(&self) -> BTreeMap<String, String> {
        self.query().into_iter().chain(self.form()).collect()
    }

    /// The action of a call of STS.
    pub fn action(&self) -> String {
        let action = self.header("x-acs-action").map(str::to_owned);
        action.or_else(|| self.params().remove("Action")).unwrap_or_default()
    }
}
