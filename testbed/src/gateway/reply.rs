//! An answer, and the faults that change it.

use std::{convert::Infallible, io};

use axum::body::{Body, Bytes};
use futures::stream;
use http::{HeaderValue, Response, StatusCode, header};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use super::{
    errors::ApiError,
    faults::{Fault, FaultKind},
    padding::padded,
};

const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad \
                    Gateway</h1></center>\r\n</body>\r\n</html>\r\n";

/// Long before any clock of a test.
const LONG_AGO: &str = "2020-01-02T03:04:05Z";

/// Marks a response that must not be sent: the connection is closed instead.
#[derive(Clone, Copy)]
pub struct Hangup;

/// An answer before it is sent. No `Debug`: errors echo strings to sign.
pub struct Reply {
    /// The HTTP status. `None` if there is no answer.
    pub status: Option<StatusCode>,
    /// `OK` or the error's code. `None` if the answer has no code.
    pub result: Option<String>,
    content_type: &'static str,
    body: Vec<u8>,
    retry_after_ms: Option<u64>,
    location: Option<String>,
    cut_short: bool,
}

impl Reply {
    /// The answer to an executed call. `data` is JSON text, so that a list of thousands of sessions is in memory only
    /// once.
    #[must_use]
    pub fn success(request_id: &str, data: &str) -> Self {
        Self::json(StatusCode::OK, "OK", format!(r#"{{"Data":{data},"RequestId":{}}}"#, Value::from(request_id)))
    }

    /// An answer with these members beside the request's ID. Without one, the members alone.
    #[must_use]
    pub fn members(request_id: Option<&str>, mut members: Value) -> Self {
        if let (Some(request_id), Some(members)) = (request_id, members.as_object_mut()) {
            members.insert("RequestId".into(), request_id.into());
        }
        Self::json(StatusCode::OK, "OK", members.to_string())
    }

    /// Plain text.
    #[must_use]
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status: Some(status), content_type: "text/plain", body: text.into().into_bytes(), ..Self::none() }
    }

    /// The answer to a refused or failed call.
    #[must_use]
    pub fn error(error: &ApiError, request_id: &str, host: &str) -> Self {
        let reply = Self::json(error.status, &error.code, error.body(request_id, host).to_string());
        Self { retry_after_ms: error.retry_after_ms, ..reply }
    }

    /// The answer that a fault puts in place of any other, if it does.
    #[must_use]
    pub fn instead(fault: &Fault, request_id: &str, host: &str) -> Option<Self> {
        match fault.kind {
            FaultKind::Drop => Some(Self::none()),
            FaultKind::Html => Some(Self { status: Some(StatusCode::BAD_GATEWAY), body: HTML.into(), ..Self::none() }),
            FaultKind::Redirect => {
                let (status, location) = (Some(StatusCode::TEMPORARY_REDIRECT), fault.location.clone());
                Some(Self { status, location, ..Self::none() })
            }
            _ => fault.error().map(|error| Self::error(&error, request_id, host)),
        }
    }

    /// Applies a fault to this answer.
    #[must_use]
    pub fn distorted(mut self, fault: &Fault) -> Self {
        match fault.kind {
            FaultKind::Malformed => self.body.truncate(self.body.len() / 2),
            FaultKind::Truncated => self.cut_short = true,
            FaultKind::Partial => self.body = halved(&self.body),
            FaultKind::Padded => self.body = padded(self.body, fault.rows.unwrap_or_default()),
            FaultKind::PastExpiration => self.body = replaced(&self.body, "Expiration", LONG_AGO),
            FaultKind::CodeFailed => self.body = replaced(&self.body, "Code", "Failed"),
            _ => {}
        }
        self
    }

    /// The response to send. Without a request's ID, none is told.
    #[must_use]
    pub fn into_response(self, request_id: &str, now: Timestamp) -> Response<Body> {
        let Some(status) = self.status else {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Hangup);
            return response;
        };
        let length = self.body.len();
        let body = if self.cut_short { broken_off(self.body) } else { Body::from(self.body) };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CONTENT_LENGTH, length.into());
        let mut text = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        text("date", now.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        if !request_id.is_empty() {
            text("x-acs-request-id", request_id.to_owned());
        }
        if let Some(pause) = self.retry_after_ms {
            text("x-acs-retry-after", pause.to_string());
        }
        if let Some(location) = self.location {
            text("location", location);
        }
        response
    }

    fn json(status: StatusCode, result: &str, body: String) -> Self {
        Self {
            status: Some(status),
            result: Some(result.to_owned()),
            content_type: "application/json;charset=utf-8",
            body: body.into_bytes(),
            ..Self::none()
        }
    }

    /// No answer.
    fn none() -> Self {
        Self {
            status: None,
            result: None,
            content_type: "text/html",
            body: vec![],
            retry_after_ms: None,
            location: None,
            cut_short: false,
        }
    }
}

/// The same answer with half of its rows.
fn halved(body: &[u8]) -> Vec<u8> {
    let mut answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let data = answer.get_mut("Data");
    let rows = data.and_then(|data| if data.is_array() { Some(data) } else { data.get_mut("AllProcessList") });
    if let Some(rows) = rows.and_then(Value::as_array_mut) {
        rows.truncate(rows.len() / 2);
    }
    answer.to_string().into_bytes()
}

/// The same answer with another value of this member, at the top or of the temporary key in it.
fn replaced(body: &[u8], member: &str, value: &str) -> Vec<u8> {
    let Ok(mut answer) = serde_json::from_slice::<Value>(body) else { return body.to_vec() };
    for place in [format!("/{member}"), format!("/Credentials/{member}")] {
        if let Some(present) = answer.pointer_mut(&place) {
            *present = value.into();
        }
    }
    answer.to_string().into_bytes()
}

/// Half of the body and then an error, so that the server closes the connection.
fn broken_off(mut body: Vec<u8>) -> Body {
    body.truncate(body.len() / 2);
    let end = io::Error::from(io::ErrorKind::ConnectionReset);
    Body::from_stream(stream::iter([Ok(Bytes::from(body)), Err(end)]))
}

/// The error of a connection's service that closes the connection without an answer.
#[derive(Debug)]
pub struct HungUp;

impl std::fmt::Display for HungUp {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the connection was dropped on purpose")
    }
}

impl std::error::Error for HungUp {}

impl HungUp {
    /// Passes a response on, unless it is marked not to be sent.
    pub fn check(response: Result<Response<Body>, Infallible>) -> Result<Response<Body>, Self> {
        match response {
            Ok(response) if response.extensions().get::<Hangup>().is_none() => Ok(response),
            _ => Err(Self),
        }
    }
}
