//! Parses a request in all the forms that clients send.
//!
//! Version 1.0 has three ways to place its parameters: all in the query, all in the form, or the common ones in the
//! query and the others in the form. Version 3 puts the common ones into headers. The result is always the same
//! [`Call`].

use std::collections::BTreeMap;

use axum::{
    body::{Bytes, to_bytes},
    extract::Request,
};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use sessionkill::oceanbase::signature::v3;

use super::{errors::ApiError, verify::Authorization};

/// Far larger than any list of sessions.
const BODY_LIMIT: usize = 2 * 1024 * 1024;

/// A request as it came over the wire. No `Debug`: it holds tokens and signatures.
pub struct Received {
    /// The HTTP method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The bytes of the body, chunks joined.
    pub body: Bytes,
    /// The form in the body, decoded.
    pub form: Vec<(String, String)>,
}

impl Received {
    /// Reads the whole request. Fails if the body is too large or incomplete.
    pub async fn read(request: Request) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| ApiError::body_too_large())?;
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Ok(Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: decode_pairs(head.uri.query().unwrap_or_default()),
            headers: head.headers.iter().map(header).collect(),
            form: decode_pairs(&String::from_utf8_lossy(&body)),
            body,
        })
    }

    /// The value of a header. If it is repeated, the first one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Query and form together.
    #[must_use]
    pub fn params(&self) -> Vec<(String, String)> {
        self.query.iter().chain(&self.form).cloned().collect()
    }

    /// The `Authorization` header of version 3, if the request is of that version.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization").filter(|value| value.starts_with(v3::ALGORITHM))
    }

    fn placement(&self) -> Placement {
        match (self.query.is_empty(), self.form.is_empty()) {
            (false, false) => Placement::QueryAndForm,
            (false, true) => Placement::Query,
            (true, false) => Placement::Form,
            (true, true) => Placement::None,
        }
    }
}

/// Where the parameters were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Placement {
    /// All in the query.
    #[serde(rename = "query")]
    Query,
    /// All in the form; with version 3 the common ones are headers.
    #[serde(rename = "form")]
    Form,
    /// In both.
    #[serde(rename = "query+form")]
    QueryAndForm,
    /// There were none.
    #[serde(rename = "none")]
    None,
}

/// How a request is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SignatureVersion {
    /// HMAC-SHA1 over the parameters.
    V1,
    /// ACS3-HMAC-SHA256 over the whole request.
    V3,
    /// Not signed: an OIDC token shows who calls.
    None,
}

/// The content of a request, whatever its form. Nothing is checked yet. No `Debug`: it holds the token.
pub struct Call {
    /// How it is signed.
    pub signature_version: SignatureVersion,
    /// The action.
    pub action: Option<String>,
    /// The version of the product's API.
    pub api_version: Option<String>,
    /// The ID of the access key that signed it.
    pub access_key_id: Option<String>,
    /// The token of a temporary key.
    pub security_token: Option<String>,
    /// When it was signed, as sent.
    pub time_stamp: Option<String>,
    /// Its nonce.
    pub nonce: Option<String>,
    /// Where the parameters were.
    pub placement: Placement,
    params: BTreeMap<String, String>,
}

impl Call {
    /// Parses what was received.
    #[must_use]
    pub fn of(received: &Received) -> Self {
        let params: BTreeMap<_, _> = received.params().into_iter().collect();
        let (signature_version, access_key_id) = match received.authorization() {
            Some(header) => (SignatureVersion::V3, Authorization::parse(header).map(|it| it.credential.to_owned())),
            None if ["AccessKeyId", "Signature"].iter().any(|name| params.contains_key(*name)) => {
                (SignatureVersion::V1, params.get("AccessKeyId").cloned())
            }
            None => (SignatureVersion::None, None),
        };
        let common = |header: &str, param: &str| match signature_version {
            SignatureVersion::V3 => received.header(header).map(str::to_owned),
            SignatureVersion::V1 | SignatureVersion::None => params.get(param).cloned(),
        };
        Self {
            signature_version,
            access_key_id,
            action: common("x-acs-action", "Action"),
            api_version: common("x-acs-version", "Version"),
            security_token: common("x-acs-security-token", "SecurityToken"),
            time_stamp: common("x-acs-date", "Timestamp"),
            nonce: common("x-acs-signature-nonce", "SignatureNonce"),
            placement: received.placement(),
            params,
        }
    }

    /// An optional parameter. Clients send unset strings as empty ones: both are `None`.
    #[must_use]
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A required parameter.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.optional(name).ok_or_else(|| ApiError::missing(name))
    }

    /// A boolean in either spelling, `True` (Python) or `true` (Go, Node). Absent means false.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.optional(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(ApiError::invalid(name, "it is neither true nor false")),
        }
    }
}

/// Decodes a query or a form: `+` and `%20` are both a space.
#[must_use]
pub fn decode_pairs(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
}
