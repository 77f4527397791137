//! Parses what all answers share: an HTTP status, headers, and a body that is an error or contains `Data`. Pure, and
//! total: no input makes it panic.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};
use sessionkill_core::backend::{CallError, ErrorKind};

use super::error_codes::from_body;
use super::json::{By, Reader, Skipped, Text};
use super::redact::{told, without};
use crate::access_key::AccessKey;

/// The most bytes kept of a RequestId: several times a UUID's length.
pub(super) const MAX_REQUEST_ID: usize = 128;

/// The relevant parts of an HTTP answer. No `Debug`: the body may contain statements or the string to sign.
#[derive(Clone, Copy)]
pub struct RawAnswer<B> {
    /// The HTTP status. It only decides whether a body without a Code can be a success.
    pub status: u16,
    /// `x-acs-retry-after`.
    pub retry_after: Option<SignedDuration>,
    /// The `Date` header.
    pub gateway_time: Option<Timestamp>,
    /// The whole body, or the source of its pieces.
    pub body: B,
}

/// A body that can be read only once.
pub trait Body {
    /// Parses the body, which is one JSON value, with `seed`.
    fn json<S, V>(self, seed: S) -> serde_json::Result<V>
    where
        S: for<'de> DeserializeSeed<'de, Value = V>;
}

impl Body for &[u8] {
    fn json<S, V>(self, seed: S) -> serde_json::Result<V>
    where
        S: for<'de> DeserializeSeed<'de, Value = V>,
    {
        let mut json = serde_json::Deserializer::from_slice(self);
        let value = seed.deserialize(&mut json)?;
        json.end().map(|()| value)
    }
}

impl<B> RawAnswer<B> {
    /// Splits the answer into its head and its body.
    pub(crate) fn split(self) -> (RawAnswer<()>, B) {
        let Self { status, retry_after, gateway_time, body } = self;
        (RawAnswer { status, retry_after, gateway_time, body: () }, body)
    }

    /// The same answer with another body.
    pub(crate) fn with<C>(self, body: C) -> RawAnswer<C> {
        let Self { status, retry_after, gateway_time, body: _ } = self;
        RawAnswer { status, retry_after, gateway_time, body }
    }
}

impl<B: Body> RawAnswer<B> {
    /// The error, if it is one; see [`Self::read`]. Its `Data` is not read.
    pub(crate) fn succeeded(self, key: &AccessKey) -> Result<(), CallError> {
        self.read(key, Skipped).map(drop)
    }

    /// The RequestId of a success, and its `Data` as parsed by `data`; `None` without `Data`. The result repeats no
    /// part of `key`, which signed the call.
    ///
    /// A body with a `Code` is an error, whatever the HTTP status. Ambiguous are: a body that is no JSON object, an
    /// error status without a Code, and repeated `Data`.
    pub(super) fn read<R, V>(self, key: &AccessKey, data: R) -> Result<(String, Option<V>), CallError>
    where
        R: for<'de> Reader<'de, Value = V>,
    {
        let unreadable = |with| Err(unreadable(self.status, with));
        let Ok(Some(mut members)) = self.body.json(By(Object(data))) else {
            return unreadable("a body that is no JSON object");
        };
        let [code, message, mut request_id] = ["Code", "Message", "RequestId"].map(|name| members.take(name));
        if !code.is_empty() {
            let error = from_body(&code, &message, &request_id, self.retry_after, self.gateway_time);
            return Err(without(key, error, [&code, &message, &request_id]));
        }
        if !(200..300).contains(&self.status) {
            let message = format!("HTTP {} without an error code", self.status);
            return Err(CallError::local(ErrorKind::Ambiguous, UNREADABLE, message));
        }
        if members.has_data_twice {
            return unreadable("Data twice");
        }
        told(key, &mut request_id, MAX_REQUEST_ID);
        Ok((request_id, members.data))
    }
}

/// The error for an answer that does not match the API's documentation.
#[must_use]
pub(crate) fn unreadable(status: u16, with: &str) -> CallError {
    CallError::local(ErrorKind::Ambiguous, UNREADABLE, format!("HTTP {status} with {with}"))
}

/// The pause in milliseconds in the header `x-acs-retry-after`; `None` for 0 or an invalid value.
#[must_use]
pub fn retry_after(text: &str) -> Option<SignedDuration> {
    let milliseconds = text.parse::<u32>().ok().filter(|milliseconds| *milliseconds > 0);
    milliseconds.map(|milliseconds| SignedDuration::from_millis(milliseconds.into()))
}

/// The error code for an answer that does not come from the API.
const UNREADABLE: &str = "UnreadableAnswer";

/// Parses the body's object, and leaves its `Data` to another reader.
struct Object<R>(R);

/// The members of a body that tell the result of the call.
struct Members<V> {
    /// `Code`, `Message` and `RequestId`, by their names as received.
    texts: BTreeMap<String, String>,
    data: Option<V>,
    has_data_twice: bool,
}

impl<V> Members<V> {
    /// Looks up a name in either case of its first letter, as the API's clients do.
    fn take(&mut self, name: &str) -> String {
        let text = self.texts.remove(name).filter(|text| !text.is_empty());
        text.or_else(|| self.texts.remove(&lower_first(name))).unwrap_or_default()
    }
}

impl<'de, R: Reader<'de>> Reader<'de> for Object<R> {
    type Value = Option<Members<R::Value>>;

    fn scalar(self, _: Option<Cow<'_, str>>) -> Self::Value {
        None
    }

    fn passed_over(self) -> Self::Value {
        None
    }

    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut data_reader = Some(self.0);
        let mut read = Members { texts: BTreeMap::new(), data: None, has_data_twice: false };
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "Code" | "code" | "Message" | "message" | "RequestId" | "requestId" => {
                    read.texts.insert(name, members.next_value_seed(By(Text))?);
                }
                "Data" | "data" => {
                    if let Some(reader) = data_reader.take() {
                        read.data = Some(members.next_value_seed(By(reader))?);
                    } else {
                        members.next_value::<IgnoredAny>()?;
                        read.has_data_twice = true;
                    }
                }
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Some(read))
    }
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase().to_string() + chars.as_str()).unwrap_or_default()
}
