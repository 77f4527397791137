//! One HTTP request for one call. Does I/O; the controller's dispatch consumes it.
//!
//! What is never done, because each could kill twice: no retries, no redirects, no reuse of pooled connections (a request
//! on a dead one would be replayed), no HTTP/2 (its NACKs are retried), no proxy that was not asked for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::answer::{KillAnswer, MAX_ANSWER_BYTES, RawAnswer, parse};
use super::credentials::AccessKey;
use super::endpoint::Endpoint;
use super::error::{CallError, ErrorKind};
use super::signature::{enc, v1, v3};
use super::stamp::{Stamp, TimeSource};

const VERSION: &str = "2019-09-01";
const FORM: &str = "application/x-www-form-urlencoded";
/// The longest that name resolution, connecting and TLS may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Permission to send one kill. The caller implements it for its claim and for nothing else, so that an unclaimed kill
/// does not compile: [`Client::kill_process_list`] takes it by value, and gives it back only if nothing was executed.
pub trait KillPermit {
    /// Unique to the attempt; nonces derive from it.
    fn nonce_seed(&self) -> &str;
    /// Nothing is sent after this time.
    fn dispatch_deadline(&self) -> Timestamp;
    /// The time left to send, by the wall clock and by the monotonic one, whichever is less; none if it has passed.
    fn time_left(&self) -> Option<Duration>;
}

/// What a kill names.
#[derive(Clone, Debug)]
pub struct KillTarget {
    /// The ID of the instance.
    pub instance_id: String,
    /// The ID of the tenant.
    pub tenant_id: String,
    /// Server address and ID of each session.
    pub sessions: Vec<(String, i64)>,
}

/// How a call is made.
#[derive(Clone, Debug)]
pub struct CallOptions {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// As whom.
    pub access_key: AccessKey,
    /// `HMAC-SHA1` (V1) instead of `ACS3-HMAC-SHA256` (V3).
    pub signature_v1: bool,
    /// Where the signed time stamp comes from.
    pub time_source: TimeSource,
    /// The number of this request within its attempt, from 0.
    pub request: u32,
}

/// What became of a call.
#[derive(Debug)]
pub enum Called<P> {
    /// The API answered.
    Answered(KillAnswer),
    /// Provably not executed; the permit may be used again.
    NotExecuted(P, CallError),
    /// It may have been executed; the permit is gone.
    Ambiguous(CallError),
}

/// Options of the HTTP client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// The longest a call may take in all.
    pub request_timeout: Duration,
    /// The proxy to use; none is taken from the environment.
    pub proxy: Option<String>,
}

/// The client of the API; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    request_timeout: Duration,
}

impl Client {
    /// Builds a client. Fails when the proxy's URL or the system's certificates cannot be read.
    pub fn new(options: &ClientOptions) -> Result<Self, reqwest::Error> {
        // Half of the total: a time-out while connecting must be told apart from one after the send.
        let connect_timeout = CONNECT_TIMEOUT.min(options.request_timeout / 2);
        let mut builder = reqwest::Client::builder()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .pool_max_idle_per_host(0)
            .tcp_nodelay(true)
            .connect_timeout(connect_timeout)
            .timeout(options.request_timeout)
            .referer(false)
            .user_agent(concat!("sessionkill/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        if let Some(proxy) = &options.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy)?);
        }
        Ok(Self { http: builder.build()?, request_timeout: options.request_timeout })
    }

    /// Calls KillProcessList once, if the permit's deadline has not passed.
    pub async fn kill_process_list<P: KillPermit>(
        &self,
        permit: P,
        target: &KillTarget,
        options: &CallOptions,
    ) -> Called<P> {
        let now = Timestamp::now();
        let stamp = options.time_source.stamp(permit.nonce_seed(), options.request, permit.dispatch_deadline(), now);
        let request = match self.request("KillProcessList", &parameters(target), &stamp, options) {
            Ok(request) => request,
            Err(error) => return Called::NotExecuted(permit, error),
        };
        if permit.time_left().is_none_or(|left| left <= connect_margin(options.time_source)) {
            let message = "the dispatch deadline passed before the call could be sent";
            return Called::NotExecuted(permit, CallError::local(ErrorKind::DeadlinePassed, "DeadlinePassed", message));
        }
        match self.exchange(request, &options.access_key).await {
            Ok(answer) => Called::Answered(answer),
            Err(error) if error.kind.is_not_executed() => Called::NotExecuted(permit, error),
            Err(error) => Called::Ambiguous(error),
        }
    }

    /// Builds and signs the request.
    fn request(
        &self,
        action: &str,
        form: &[(&str, String)],
        stamp: &Stamp,
        options: &CallOptions,
    ) -> Result<reqwest::Request, CallError> {
        let body = encode(form.iter().map(|(name, value)| (*name, value.as_str())));
        let (url, headers) = if options.signature_v1 {
            (v1_url(action, form, stamp, options), vec![])
        } else {
            (options.endpoint.url(), v3_headers(action, &body, stamp, options))
        };
        self.http
            .post(url)
            .header(CONTENT_TYPE, FORM)
            .headers(sensitive(&headers)?)
            .body(body)
            .build()
            .map_err(|error| CallError::local(ErrorKind::Rejected, "InvalidRequest", without_url(error)))
    }

    async fn exchange(&self, request: reqwest::Request, key: &AccessKey) -> Result<KillAnswer, CallError> {
        let mut response = self.http.execute(request).await.map_err(|error| self.transport_error(error))?;
        let status = response.status().as_u16();
        let retry_after = header(&response, "x-acs-retry-after").and_then(|text| text.parse::<u32>().ok());
        let gateway_time = header(&response, DATE.as_str())
            .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
            .map(|time| time.timestamp());
        let mut body = Vec::new();
        // Read piece by piece: neither Content-Length nor its absence may decide how much memory an answer takes.
        while let Some(chunk) = response.chunk().await.map_err(|error| self.transport_error(error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                let message = format!("HTTP {status} with a body of more than {MAX_ANSWER_BYTES} bytes");
                return Err(CallError::local(ErrorKind::Ambiguous, "AnswerTooLarge", message));
            }
            body.extend_from_slice(&chunk);
        }
        let retry_after = retry_after.filter(|ms| *ms > 0).map(|ms| SignedDuration::from_millis(ms.into()));
        let answer = parse(RawAnswer { status, retry_after, gateway_time, body: &body });
        answer
            .map_err(|error| if key.is_named_in(&body) { CallError { message: String::new(), ..error } } else { error })
    }

    /// A failure to connect proves that nothing was sent; every other one may have come after the send.
    fn transport_error(&self, error: reqwest::Error) -> CallError {
        if error.is_connect() {
            return CallError::local(ErrorKind::Unreachable, "Unreachable", without_url(error));
        }
        let message = if error.is_timeout() {
            format!("no answer within {} s", self.request_timeout.as_secs())
        } else {
            without_url(error)
        };
        CallError::local(ErrorKind::Ambiguous, "AnswerLost", message)
    }
}

/// Without the gateway's own fence, the last look at the clock must leave room for connecting.
fn connect_margin(source: TimeSource) -> Duration {
    match source {
        TimeSource::DispatchDeadline => Duration::ZERO,
        TimeSource::CurrentTime { .. } => CONNECT_TIMEOUT,
    }
}

/// The business parameters. Session IDs are strings, as in the API's own example.
fn parameters(target: &KillTarget) -> [(&'static str, String); 3] {
    let sessions: Vec<_> =
        target.sessions.iter().map(|(ip, id)| json!({"ServerIp": ip, "SessionId": id.to_string()})).collect();
    [
        ("InstanceId", target.instance_id.clone()),
        ("SessionList", serde_json::Value::from(sessions).to_string()),
        ("TenantId", target.tenant_id.clone()),
    ]
}

/// The URL of a V1 request: common parameters and the signature in the query, business parameters in the body.
fn v1_url(action: &str, form: &[(&str, String)], stamp: &Stamp, options: &CallOptions) -> String {
    let key = &options.access_key;
    let mut query = vec![
        ("AccessKeyId", key.id.as_str()),
        ("Action", action),
        ("Format", "JSON"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureNonce", &stamp.nonce),
        ("SignatureVersion", "1.0"),
        ("Timestamp", &stamp.time),
        ("Version", VERSION),
    ];
    if let Some(token) = &key.security_token {
        query.push(("SecurityToken", token.expose_secret()));
    }
    let signed = query.iter().copied().chain(form.iter().map(|(name, value)| (*name, value.as_str())));
    let signature = v1::signature("POST", signed, &key.secret);
    query.push(("Signature", &signature));
    format!("{}?{}", options.endpoint.url(), encode(query))
}

/// The headers of a V3 request, `Authorization` among them.
fn v3_headers(action: &str, body: &str, stamp: &Stamp, options: &CallOptions) -> Vec<(&'static str, String)> {
    let key = &options.access_key;
    let payload_hash = v3::payload_hash(body.as_bytes());
    let mut headers = vec![
        ("x-acs-action", action.to_owned()),
        ("x-acs-content-sha256", payload_hash.clone()),
        ("x-acs-date", stamp.time.clone()),
        ("x-acs-signature-nonce", stamp.nonce.clone()),
        ("x-acs-version", VERSION.to_owned()),
    ];
    if let Some(token) = &key.security_token {
        headers.push(("x-acs-accesskey-id", key.id.clone()));
        headers.push(("x-acs-security-token", token.expose_secret().to_owned()));
    }
    let mut signed = vec![("content-type", FORM), ("host", options.endpoint.host_header())];
    signed.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
    let request = v3::Request { method: "POST", path: "/", query: &[], headers: &signed, payload_hash: &payload_hash };
    headers.push((AUTHORIZATION_NAME, request.authorization(&key.id, &key.secret)));
    headers.push(("accept", "application/json".to_owned()));
    headers
}

const AUTHORIZATION_NAME: &str = "authorization";

/// The headers, marked so that no library logs those that authenticate.
fn sensitive(headers: &[(&'static str, String)]) -> Result<HeaderMap, CallError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message = "the access key or its token has characters that no HTTP header can carry";
            CallError::local(ErrorKind::CredentialsRejected, "InvalidAccessKey", message)
        })?;
        value.set_sensitive(*name == AUTHORIZATION.as_str() || *name == "x-acs-security-token");
        map.insert(HeaderName::from_static(name), value);
    }
    Ok(map)
}

fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{}={}", enc(name), enc(value))).collect();
    pairs.join("&")
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// The error and its causes; never the URL, which in V1 carries the access key ID, the token and the signature.
fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
