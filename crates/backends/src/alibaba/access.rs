//! Where calls go, and with which access key. No I/O.

use super::credentials::AccessKey;
use super::endpoint::Endpoint;

/// Where calls go, and with which access key.
#[derive(Clone, Debug)]
pub struct Access {
    /// The endpoint to call.
    pub endpoint: Endpoint,
    /// The key that signs the calls.
    pub access_key: AccessKey,
    /// Signs with `HMAC-SHA1` (V1) instead of `ACS3-HMAC-SHA256` (V3).
    pub signature_v1: bool,
}
