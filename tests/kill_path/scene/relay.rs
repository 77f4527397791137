//! A stop on the way to a server: forwards HTTP requests, and holds those that a test asks for, before they reach the
//! server or on the way back. So a test can act at an exact point of the kill path instead of guessing a moment.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request};
use testbed::port;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::eventually;

/// Which way a message is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The server has not seen the request.
    Request,
    /// The server has answered, and the client does not know it.
    Answer,
}

/// A running relay; it ends when dropped, and so do the messages it holds.
pub struct Relay {
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    upstream: String,
    http: reqwest::Client,
    holds: Mutex<Vec<Arc<Hold>>>,
}

/// Holds all messages of a kind until it is released.
pub struct Hold {
    at: At,
    method: Method,
    path_part: &'static str,
    body_part: &'static str,
    action: Option<&'static str>,
    count: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Relay {
    /// Starts in front of the server at `upstream`, whose certificate must be signed by `authority` if it has one.
    pub async fn start(upstream: &str, authority: Option<&[u8]>) -> Self {
        let mut http = reqwest::Client::builder().no_proxy().http1_only().retry(reqwest::retry::never());
        if let Some(authority) = authority {
            http = http.tls_certs_only([reqwest::Certificate::from_pem(authority).unwrap()]);
        }
        let shared = Arc::new(Shared {
            upstream: upstream.trim_end_matches('/').to_owned(),
            http: http.build().unwrap(),
            holds: Mutex::default(),
        });
        let port = port::free().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url: format!("http://127.0.0.1:{port}"), shared, serving }
    }

    /// The base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on holds the messages of `method` whose path holds `path_part`.
    pub fn hold(&self, at: At, method: Method, path_part: &'static str) -> Arc<Hold> {
        self.add(at, method, path_part, "", None)
    }

    /// From now on holds the messages of `method` whose body holds `body_part`.
    pub fn hold_body(&self, at: At, method: Method, body_part: &'static str) -> Arc<Hold> {
        self.add(at, method, "", body_part, None)
    }

    /// From now on holds the calls of this action of the API.
    pub fn hold_action(&self, at: At, action: &'static str) -> Arc<Hold> {
        self.add(at, Method::POST, "", "", Some(action))
    }

    fn add(
        &self,
        at: At,
        method: Method,
        path_part: &'static str,
        body_part: &'static str,
        action: Option<&'static str>,
    ) -> Arc<Hold> {
        let (count, released) = (watch::Sender::new(0), watch::Sender::new(false));
        let hold = Arc::new(Hold { at, method, path_part, body_part, action, count, released });
        self.shared.holds.lock().unwrap().push(hold.clone());
        hold
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Hold {
    /// Waits until a message is held.
    pub async fn reached(&self) {
        let what = format!("a {} of {}{}{:?}", self.method, self.path_part, self.body_part, self.action);
        eventually(&what, async || if self.count() > 0 { Ok(()) } else { Err("none came".into()) }).await;
    }

    /// How many messages were held, in all.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Lets all of them go on, and later ones pass.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    fn is_for(&self, request: &request::Parts, body: &[u8]) -> bool {
        let part = self.body_part.as_bytes();
        let action = request.headers.get("x-acs-action").map(HeaderValue::as_bytes);
        self.method == request.method
            && request.uri.path().contains(self.path_part)
            && self.action.is_none_or(|wanted| action == Some(wanted.as_bytes()))
            && (part.is_empty() || body.windows(part.len()).any(|window| window == part))
            && !*self.released.borrow()
    }

    async fn wait(&self) {
        self.count.send_modify(|count| *count += 1);
        // The sender lives as long as `self`.
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }
}

/// Ends with the client's connection: what is held for a client that died never reaches the server.
async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else { return bad_gateway() };
    let holds = shared.holds.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let hold = holds.into_iter().find(|hold| hold.is_for(&parts, &body));
    if let Some(hold) = hold.as_ref().filter(|hold| hold.at == At::Request) {
        hold.wait().await;
    }
    let answer = forward(&shared, &parts, body).await;
    if let Some(hold) = hold.filter(|hold| hold.at == At::Answer) {
        hold.wait().await;
    }
    answer.map_or_else(|_| bad_gateway(), backward)
}

async fn forward(shared: &Shared, parts: &request::Parts, body: Bytes) -> Result<reqwest::Response, reqwest::Error> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let url = format!("{}{target}", shared.upstream);
    // With the client's Host, which signatures cover.
    shared.http.request(parts.method.clone(), url).headers(end_to_end(&parts.headers)).body(body).send().await
}

fn backward(answer: reqwest::Response) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = end_to_end(answer.headers());
    // Piece by piece: a watch never ends.
    let pieces =
        stream::unfold(answer, |mut answer| async { answer.chunk().await.transpose().map(|piece| (piece, answer)) });
    *response.body_mut() = Body::from_stream(pieces);
    response
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP_BY_HOP: [HeaderName; 2] = [header::CONNECTION, header::TRANSFER_ENCODING];
    let kept = headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn bad_gateway() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
