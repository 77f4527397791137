//! One request through the proxy, with its faults.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    response::Response,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;
use tokio::sync::watch::Sender;

use super::{
    asked::Asked,
    fault::{At, Fault, Order, Page},
    trace::{Entry, Trace},
    watch::with_fault,
};
use crate::gateway::reply::HungUp;

/// What all doors share.
pub(super) struct Shared {
    pub(super) upstream: String,
    pub(super) http: reqwest::Client,
    pub(super) orders: Mutex<Vec<Arc<Order>>>,
    pub(super) trace: Trace,
    /// The first answer to each list.
    pub(super) lists: Mutex<HashMap<String, Bytes>>,
    pub(super) is_shut: Sender<bool>,
    /// How many doors are open.
    pub(super) listening: Sender<usize>,
}

/// The server's answer before its body is read, so that a watch can be forwarded.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
}

/// Ends with the client's connection, unless the request is delayed.
pub(super) async fn pass(shared: Arc<Shared>, client: String, request: Request) -> Result<Response, HungUp> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.map_err(|_| HungUp)?;
    let asked = Asked::of(&client, &parts, &body);
    let orders = shared.orders.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let met = orders.into_iter().find_map(|order| order.meet(&asked).map(|fault| (order, fault)));
    let (order, fault) = met.unzip();
    let entry = shared.trace.enter(&asked, fault.clone());
    let on_its_way = OnItsWay { shared, asked, parts, body };
    let answer = on_its_way.through(order.as_deref(), fault.as_ref(), &entry).await;
    entry.told(answer.as_ref().ok().map(|answer| answer.status().as_u16()));
    answer
}

struct OnItsWay {
    shared: Arc<Shared>,
    asked: Asked,
    parts: Parts,
    body: Bytes,
}

impl OnItsWay {
    async fn through(self, order: Option<&Order>, fault: Option<&Fault>, entry: &Entry) -> Result<Response, HungUp> {
        match (order, fault) {
            (_, Some(Fault::Close)) => Err(HungUp),
            (_, Some(Fault::Answer { status, retry_after })) => Ok(refusal(*status, *retry_after)),
            (_, Some(Fault::Say(json))) => Ok(success(json.clone().into())),
            (_, Some(Fault::NotFoundPage(page))) => Ok(not_found(*page)),
            (_, Some(Fault::OlderList)) => match self.older_list() {
                Some(list) => Ok(list),
                None => self.forward(entry).await.map(Answer::whole),
            },
            (Some(order), Some(Fault::Hold(At::Request))) => {
                order.hold(&self.asked).await;
                self.forward(entry).await.map(Answer::whole)
            }
            (Some(order), Some(Fault::Hold(At::Answer))) => {
                let answer = self.forward(entry).await?;
                order.hold(&self.asked).await;
                Ok(answer.whole())
            }
            (_, Some(Fault::Delay(at, pause))) => {
                let (at, pause, seen) = (*at, *pause, entry.server_side());
                // Run it in a task of its own, so that it goes on if the client gives up.
                let delayed = tokio::spawn(async move {
                    if at == At::Request {
                        tokio::time::sleep(pause).await;
                    }
                    let answer = self.forward_seen(seen).await;
                    if at == At::Answer {
                        tokio::time::sleep(pause).await;
                    }
                    answer
                });
                delayed.await.map_err(|_| HungUp)?.map(Answer::whole)
            }
            (_, Some(fault)) => {
                let answer = self.forward(entry).await?;
                afterwards(answer, fault).await
            }
            (_, None) => self.forward(entry).await.map(Answer::whole),
        }
    }

    async fn forward(&self, entry: &Entry) -> Result<Answer, HungUp> {
        self.forward_seen(entry.server_side()).await
    }

    async fn forward_seen(&self, seen: impl Fn(u16) + Send) -> Result<Answer, HungUp> {
        let url = format!("{}{}", self.shared.upstream, self.asked.target);
        // Keep the client's Host, which signatures cover.
        let mut headers = end_to_end(&self.parts.headers);
        if self.shared.upstream.starts_with("https:") {
            headers.remove(header::HOST);
        }
        let request = self.shared.http.request(self.parts.method.clone(), url).headers(headers).body(self.body.clone());
        let answer = request.send().await.map_err(|_| HungUp)?;
        seen(answer.status().as_u16());
        let (status, headers) = (answer.status(), end_to_end(answer.headers()));
        if self.asked.kind.starts_with("list ") && status.is_success() {
            let bytes = answer.bytes().await.map_err(|_| HungUp)?;
            let mut lists = self.shared.lists.lock().unwrap_or_else(PoisonError::into_inner);
            lists.entry(self.asked.kind.clone()).or_insert_with(|| bytes.clone());
            return Ok(Answer { status, headers, body: bytes.into() });
        }
        // Forward it in pieces, as a watch never ends.
        let pieces =
            stream::unfold(answer, |mut answer| async { answer.chunk().await.transpose().map(|it| (it, answer)) });
        Ok(Answer { status, headers, body: Body::from_stream(pieces) })
    }

    fn older_list(&self) -> Option<Response> {
        let lists = self.shared.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.get(&self.asked.kind).map(|list| success(list.clone().into()))
    }
}

/// Applies a fault after the server has answered.
async fn afterwards(mut answer: Answer, fault: &Fault) -> Result<Response, HungUp> {
    match fault {
        Fault::LoseAnswer => {
            // Read it to its end, so that the server has finished the request.
            let _ = to_bytes(answer.body, usize::MAX).await;
            return Err(HungUp);
        }
        Fault::AnswerAfter { status } => {
            let _ = to_bytes(answer.body, usize::MAX).await;
            return Ok(refusal(*status, None));
        }
        Fault::CutBody => {
            let whole = to_bytes(answer.body, usize::MAX).await.map_err(|_| HungUp)?;
            let half = whole.slice(..whole.len() / 2);
            let pieces = [Ok(half), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
            answer.body = Body::from_stream(stream::iter(pieces));
        }
        Fault::Stream(fault) => {
            let pieces = answer.body.into_data_stream().map_err(io::Error::other).boxed();
            answer.body = Body::from_stream(with_fault(pieces, *fault));
            answer.headers.remove(header::CONTENT_LENGTH);
        }
        Fault::DateSkew(skew) => {
            let date = (Timestamp::now() + *skew).to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT");
            if let Ok(date) = HeaderValue::try_from(date.to_string()) {
                answer.headers.insert(header::DATE, date);
            }
        }
        Fault::Close
        | Fault::Answer { .. }
        | Fault::Say(_)
        | Fault::NotFoundPage(_)
        | Fault::Delay(..)
        | Fault::Hold(_)
        | Fault::OlderList => {}
    }
    Ok(answer.whole())
}

impl Answer {
    fn whole(self) -> Response {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// JSON, like an answer of an API server.
fn success(json: Body) -> Response {
    let mut response = Response::new(json);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error status, like one of the API server.
fn refusal(status: u16, retry_after: Option<u32>) -> Response {
    let reason = match status {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status_of = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": status,
        "message": "refused on purpose",
    });
    let mut response = Response::new(Body::from(status_of.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A 404 in the words of a server that knows no objects.
fn not_found(page: Page) -> Response {
    let (text, kind) = match page {
        Page::Html => ("<html><head><title>404 Not Found</title></head></html>\n", "text/html"),
        Page::Text => ("404 page not found\n", "text/plain; charset=utf-8"),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    const HOP_BY_HOP: [HeaderName; 2] = [header::CONNECTION, header::TRANSFER_ENCODING];
    let kept = headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}
