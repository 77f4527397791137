//! A receiver of OTLP (http/protobuf).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A running receiver. It ends when it is dropped.
pub struct Receiver {
    url: String,
    bodies: Arc<Mutex<Vec<Bytes>>>,
    serving: AbortHandle,
}

/// A received span.
#[derive(Clone, Debug)]
pub struct Received {
    pub trace_id: String,
    pub span_id: String,
    /// Empty if it has no parent.
    pub parent_id: String,
    pub name: String,
    /// Nanoseconds since 1970.
    pub start: u64,
    pub end: u64,
    pub is_error: bool,
    pub attributes: BTreeMap<String, String>,
    /// The trace ID and the span ID of each link.
    pub links: Vec<(String, String)>,
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let received = bodies.clone();
        let take = move |headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            received.lock().unwrap().push(body);
            std::future::ready(StatusCode::OK)
        };
        let router = Router::new().route("/v1/traces", post(take));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { url, bodies, serving }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Received> {
        let groups = self.requests().into_iter().flat_map(|request| request.resource_spans);
        groups.flat_map(|group| group.scope_spans).flat_map(|scope| scope.spans).map(received).collect()
    }

    /// The names of the services that sent them.
    pub fn services(&self) -> BTreeSet<String> {
        let groups = self.requests().into_iter().flat_map(|request| request.resource_spans);
        let attributes = groups.flat_map(|group| text(group.resource.unwrap().attributes));
        attributes.filter(|(name, _)| name == "service.name").map(|(_, value)| value).collect()
    }

    /// Whether any received message has the word.
    pub fn has_been_told(&self, word: &str) -> bool {
        let bodies = self.bodies.lock().unwrap();
        bodies.iter().any(|body| body.windows(word.len()).any(|part| part == word.as_bytes()))
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let bodies = self.bodies.lock().unwrap();
        bodies.iter().map(|body| ExportTraceServiceRequest::decode(body.clone()).unwrap()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn received(span: Span) -> Received {
    Received {
        trace_id: hex::encode(span.trace_id),
        span_id: hex::encode(span.span_id),
        parent_id: hex::encode(span.parent_span_id),
        name: span.name,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        is_error: span.status.is_some_and(|status| status.code == 2),
        attributes: text(span.attributes).collect(),
        links: span.links.into_iter().map(|link| (hex::encode(link.trace_id), hex::encode(link.span_id))).collect(),
    }
}

fn text(attributes: Vec<KeyValue>) -> impl Iterator<Item = (String, String)> {
    attributes.into_iter().filter_map(|attribute| match attribute.value?.value? {
        Value::StringValue(text) => Some((attribute.key, text)),
        _ => None,
    })
}
