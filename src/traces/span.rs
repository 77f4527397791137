//! A step of a request, and the IDs that follow from the object. No I/O.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// A step that is over, of the trace of one request.
#[derive(Debug)]
pub struct Span<'a> {
    /// The UID of the request.
    pub uid: &'a str,
    /// What was done: a closed set.
    pub name: &'static str,
    /// What its span ID follows from; random if nothing does.
    pub id: Id<'a>,
    /// How long it took, until now.
    pub took: Duration,
    /// It did not do what it was for.
    pub is_error: bool,
    /// The call of another request that is the same call: UID and attempt ID.
    pub same_as: Option<(&'a str, &'a str)>,
    /// What else there is to say. Nothing secret.
    pub attributes: Vec<(&'static str, String)>,
}

/// What the ID of a span follows from.
#[derive(Clone, Copy, Debug)]
pub enum Id<'a> {
    /// The request: its first span, of which all others are parts.
    Root,
    /// The attempt of this ID: its call.
    Call(&'a str),
    /// Nothing.
    Random,
}

impl<'a> Span<'a> {
    /// A part of the trace of the request `uid`, without more to say.
    #[must_use]
    pub const fn part(uid: &'a str, name: &'static str, took: Duration) -> Self {
        Self { uid, name, id: Id::Random, took, is_error: false, same_as: None, attributes: vec![] }
    }
}

/// The ID of the trace of the request of this UID.
pub(super) fn trace_id(uid: &str) -> [u8; 16] {
    first(uid)
}

/// The first bytes of a hash: unlike a UID, of which some bits are the same in all, it may be sampled by its bits.
pub(super) fn first<const N: usize>(text: &str) -> [u8; N] {
    let hash = Sha256::digest(text);
    std::array::from_fn(|place| hash[place])
}
