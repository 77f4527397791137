//! A step of a request, and the IDs derived from the object. No I/O.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// A finished step in the trace of one request.
#[derive(Debug)]
pub struct Span<'a> {
    /// The UID of the request.
    pub uid: &'a str,
    /// The name of the step, from a closed set.
    pub name: &'static str,
    /// What its span ID is derived from, or `Random`.
    pub id: Id<'a>,
    /// How long the step took; it ends now.
    pub took: Duration,
    /// Whether the step failed.
    pub is_error: bool,
    /// UID and attempt ID of the request whose span stands for the same call.
    pub same_as: Option<(&'a str, &'a str)>,
    /// Further details. Nothing secret.
    pub attributes: Vec<(&'static str, String)>,
}

/// The source of a span's ID.
#[derive(Clone, Copy, Debug)]
pub enum Id<'a> {
    /// The request: its root span, the parent of all others.
    Root,
    /// The attempt with this ID: its call.
    Call(&'a str),
    /// No source: a random ID.
    Random,
}

impl<'a> Span<'a> {
    /// A child span in the trace of the request `uid`, without attributes.
    #[must_use]
    pub const fn part(uid: &'a str, name: &'static str, took: Duration) -> Self {
        Self { uid, name, id: Id::Random, took, is_error: false, same_as: None, attributes: vec![] }
    }
}

/// The trace ID of the request with this UID.
pub(super) fn trace_id(uid: &str) -> [u8; 16] {
    first(uid)
}

/// The first bytes of a hash. Samplers use an ID's bits, and some bits of a UID are the same in all.
pub(super) fn first<const N: usize>(text: &str) -> [u8; N] {
    let hash = Sha256::digest(text);
    std::array::from_fn(|place| hash[place])
}
