//! The port between the kept keys and whatever issues new ones. No I/O.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

use super::errors::{StsAction, Unavailable};
use super::source::Identity;
use crate::access_key::AccessKey;

/// A new access key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The key.
    pub key: AccessKey,
    /// How long it lives.
    pub lifetime: Duration,
    /// From when on: when it was asked for, so that a slow answer makes it no longer.
    pub since: Instant,
}

/// Issues access keys.
pub trait Issue: Send + Sync {
    /// Issues a new access key for `identity`.
    fn issue<'a>(&'a self, identity: &'a Identity) -> BoxFuture<'a, Result<Issued, Unavailable>>;
}

/// Is told what becomes of renewals, for metrics and logs.
pub trait Watch: Send + Sync {
    /// The key of `identity` was renewed, or could not be. The text of the error holds no secrets.
    fn renewed(&self, identity: &Identity, result: &Result<(), Unavailable>);

    /// A call of STS took this long, whatever came of it.
    fn called(&self, action: StsAction, took: Duration);
}

/// Is told nothing.
impl Watch for () {
    fn renewed(&self, _: &Identity, _: &Result<(), Unavailable>) {}

    fn called(&self, _: StsAction, _: Duration) {}
}
