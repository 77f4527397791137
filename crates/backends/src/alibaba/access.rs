//! Where calls go and as whom.

use super::credentials::AccessKey;
use super::endpoint::Endpoint;

/// Where calls go and as whom.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where they go.
    pub endpoint: Endpoint,
    /// As whom.
    pub access_key: AccessKey,
    /// `HMAC-SHA1` (V1) instead of `ACS3-HMAC-SHA256` (V3).
    pub signature_v1: bool,
}
