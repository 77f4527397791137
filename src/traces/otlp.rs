//! Sends spans by OTLP (http/protobuf). Does I/O. The queue, its bounds and its thread are the OpenTelemetry SDK's: a
//! full queue drops spans, and never delays the caller.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::WithHttpConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SamplingDecision, ShouldSample as _, SpanData, SpanLinks, SpanProcessor as _,
};
use tokio::runtime::Handle;

use super::span::{Id, Span, first, trace_id};

/// How long `end` waits for the last spans to be sent.
const END: Duration = Duration::from_secs(5);
/// How long the receiver may take to answer: meanwhile spans wait, and are dropped once the queue is full.
const ANSWER: Duration = Duration::from_secs(10);
/// The most bytes read of an answer, which says only how many spans were refused.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Sends spans.
#[derive(Debug)]
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    sampler: Sampler,
}

impl Exporter {
    /// Configures the exporter from the variables of the OpenTelemetry specification. Needs a Tokio runtime.
    pub(super) fn from_environment() -> Result<Option<Self>, String> {
        if variable("OTEL_SDK_DISABLED") == "true" || variable("OTEL_TRACES_EXPORTER") == "none" {
            return Ok(None);
        }
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new()?)
            .build()
            .map_err(|error| format!("traces cannot be sent as OTEL_EXPORTER_OTLP_* say: {error}"))?;
        let mut processor = BatchSpanProcessor::builder(exporter).build();
        // A service name from the environment has precedence.
        let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = match variable("OTEL_SERVICE_NAME") {
            name if name.is_empty() => resource.with_service_name("sessionkill-operator"),
            name => resource.with_service_name(name),
        };
        processor.set_resource(&resource.build());
        let scope = InstrumentationScope::builder("sessionkill").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Some(Self { processor, scope, sampler: sampler()? }))
    }

    /// Whether the trace with this ID is sampled.
    pub(super) fn takes(&self, id: [u8; 16]) -> bool {
        let (id, kind) = (TraceId::from_bytes(id), SpanKind::Internal);
        let sampled = self.sampler.should_sample(None, id, "SessionKill", &kind, &[], &[]);
        sampled.decision == SamplingDecision::RecordAndSample
    }

    pub(super) fn add(&self, span: &Span<'_>, end_time: SystemTime) {
        let (id, parent_span_id, span_kind) = match span.id {
            Id::Root => (root_id(span.uid), SpanId::INVALID, SpanKind::Internal),
            Id::Call(attempt_id) => (call_id(span.uid, attempt_id), parent(span.uid), SpanKind::Client),
            Id::Random => (random(), parent(span.uid), SpanKind::Internal),
        };
        let same = span.same_as.map(|(uid, attempt_id)| Link::with_context(context(uid, call_id(uid, attempt_id))));
        let mut links = SpanLinks::default();
        links.links.extend(same);
        self.processor.on_end(SpanData {
            span_context: context(span.uid, id),
            parent_span_id,
            parent_span_is_remote: false,
            span_kind,
            name: span.name.into(),
            start_time: end_time.checked_sub(span.took).unwrap_or(end_time),
            end_time,
            attributes: span.attributes.iter().map(|(name, value)| KeyValue::new(*name, value.clone())).collect(),
            dropped_attributes_count: 0,
            events: opentelemetry_sdk::trace::SpanEvents::default(),
            links,
            status: if span.is_error { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Sends the last spans, on the runtime: call it from another thread if the runtime has only one.
    pub(super) fn end(&self) {
        if let Err(error) = self.processor.shutdown_with_timeout(END) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Reads the sampler. No span has a parent from elsewhere, so that `parentbased_` samplers act like the plain ones.
fn sampler() -> Result<Sampler, String> {
    let (name, argument) = (variable("OTEL_TRACES_SAMPLER"), variable("OTEL_TRACES_SAMPLER_ARG"));
    match name.strip_prefix("parentbased_").unwrap_or(&name) {
        "" | "always_on" => Ok(Sampler::AlwaysOn),
        "always_off" => Ok(Sampler::AlwaysOff),
        "traceidratio" => match argument.parse::<f64>() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(Sampler::TraceIdRatioBased(ratio)),
            _ => Err(format!("OTEL_TRACES_SAMPLER_ARG is {argument:?}: set it to a number from 0 to 1")),
        },
        _ => Err(format!("OTEL_TRACES_SAMPLER is {name:?}: set it to always_on, always_off or traceidratio")),
    }
}

fn root_id(uid: &str) -> [u8; 8] {
    // Differs from the first bytes of the trace ID.
    first(&format!("{uid}/root"))
}

fn call_id(uid: &str, attempt_id: &str) -> [u8; 8] {
    first(&format!("{uid}/{attempt_id}"))
}

fn context(uid: &str, id: [u8; 8]) -> SpanContext {
    let (trace, span) = (TraceId::from_bytes(trace_id(uid)), SpanId::from_bytes(id));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default())
}

fn parent(uid: &str) -> SpanId {
    SpanId::from_bytes(root_id(uid))
}

fn random() -> [u8; 8] {
    let uuid = uuid::Uuid::new_v4();
    let (first, second) = uuid.as_u64_pair();
    // The bits fixed in every UUID are at different positions in the two halves.
    (first ^ second).to_be_bytes()
}

/// Sends requests in the operator's runtime, as the SDK's thread has none.
#[derive(Debug)]
struct Sender {
    http: reqwest::Client,
    runtime: Handle,
}

impl Sender {
    fn new() -> Result<Self, String> {
        // As for Alibaba Cloud, take no proxy from the environment.
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let http = builder.timeout(ANSWER).build().map_err(|error| format!("traces cannot be sent: {error}"))?;
        Ok(Self { http, runtime: Handle::current() })
    }
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let sending = self.runtime.spawn(send(self.http.clone(), request));
        sending.await?
    }
}

async fn send(http: reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, HttpError> {
    let mut response = http.execute(request).await?.error_for_status()?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err("the answer to spans is too large".into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response::builder().status(status).body(Bytes::from(body))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_a_call_of_its_own_in_the_one_trace() {
        assert_ne!(call_id("uid", "a1"), call_id("uid", "a2"));
        assert_ne!(call_id("uid", "a1"), root_id("uid"));
        assert_ne!(root_id("uid")[..], trace_id("uid")[..8]);
        assert_ne!(random(), random());
    }
}
