//! Where calls go, how they are signed, and with which access key. No I/O.

use sessionkill_api::{AlibabaCloud, Network, SignatureMethod};

use super::credentials::AccessKey;
use super::endpoint::{Endpoint, EndpointError};

/// Where calls go, how they are signed, and with which access key.
#[derive(Clone, Debug)]
pub struct Access {
    /// The endpoint to call.
    pub endpoint: Endpoint,
    /// The key that signs the calls.
    pub access_key: AccessKey,
    /// Signs with `HMAC-SHA1` (V1) instead of `ACS3-HMAC-SHA256` (V3).
    pub signature_v1: bool,
}

/// An endpoint that a connection names and the operator allows, and how calls to it are signed.
#[derive(Clone, Debug)]
pub struct AllowedEndpoint {
    endpoint: Endpoint,
    signature_v1: bool,
}

/// Why a connection may not be called as it says.
#[derive(Debug, thiserror::Error)]
pub enum EndpointRefused {
    /// See [`EndpointError`].
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The receiver of the request could replay it at another gateway that knows the key.
    #[error(
        "signatureMethod HMAC-SHA1 does not cover the host {0}: set it to ACS3-HMAC-SHA256, or have the operator started with \
         --allow-endpoint for this endpoint"
    )]
    UnsafeSignature(String),
}

impl AllowedEndpoint {
    /// What `alibaba_cloud` names, if it is a public endpoint of Alibaba Cloud or in `allowed`.
    pub fn of(alibaba_cloud: &AlibabaCloud, allowed: &[Endpoint]) -> Result<Self, EndpointRefused> {
        let vpc = alibaba_cloud.network == Network::Vpc;
        let endpoint = match &alibaba_cloud.endpoint {
            Some(custom) => Endpoint::custom(custom, vpc, allowed)?,
            None => Endpoint::regional(&alibaba_cloud.region_id, vpc, allowed)?,
        };
        let signature_v1 = alibaba_cloud.signature_method == SignatureMethod::HmacSha1;
        if signature_v1 && !endpoint.is_named_by_flag() {
            return Err(EndpointRefused::UnsafeSignature(endpoint.host_header().to_string()));
        }
        Ok(Self { endpoint, signature_v1 })
    }

    /// The endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Access with this key.
    #[must_use]
    pub fn with(self, access_key: AccessKey) -> Access {
        let Self { endpoint, signature_v1 } = self;
        Access { endpoint, access_key, signature_v1 }
    }
}
