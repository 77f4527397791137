//! The role of the instance that the operator runs on, as the metadata service knows it.

use std::net::SocketAddr;

use super::roles::RoleArn;

/// The role, and how the metadata service hands out its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceRole {
    /// The role.
    pub arn: RoleArn,
    /// Where the metadata service listens; loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether a request needs a token.
    pub access: Access,
}

/// Whether requests to the metadata service need a token. With [`Access::TokenOptional`] both of its versions are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Version 2 only: a request without a token is refused, as on an instance with `HttpTokens=required`.
    TokenRequired,
    /// Versions 1 and 2: a request may come without a token. A wrong one is still refused.
    TokenOptional,
}

impl InstanceRole {
    /// This role, with tokens required, on a free port.
    #[must_use]
    pub fn new(arn: RoleArn) -> Self {
        Self { arn, listen: SocketAddr::from(([127, 0, 0, 1], 0)), access: Access::TokenRequired }
    }
}
