//! Where calls go, how they are signed, and with which access key. No I/O.

use sessionkill_api::{AlibabaCloud, Network, SignatureMethod};

use super::endpoint::{Endpoint, EndpointError};
use crate::access_key::AccessKey;

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
    /// An identity that the operator lends would sign calls at an endpoint that the namespace chose.
    #[error(
        "operatorIdentity and instanceRole call the region's own endpoint only, with ACS3-HMAC-SHA256: remove \
         spec.alibabaCloud.endpoint and signatureMethod"
    )]
    LentElsewhere,
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
        let is_lent = alibaba_cloud.credentials.identities().any(|identity| identity.source.is_lent());
        if is_lent && (signature_v1 || alibaba_cloud.endpoint.is_some()) {
            return Err(EndpointRefused::LentElsewhere);
        }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_the_operator_lends_signs_no_call_elsewhere() {
        let operator = json!({"operatorIdentity": {"roleARN": "acs:ram::1:role/kill"}});
        let own = json!({"secretRef": {"name": "ak"}});
        let instance = json!({"secretRef": {"name": "ak"}, "observe": {"instanceRole": {}}});
        let allowed = [Endpoint::parse("gateway.internal").unwrap()];
        let refused = |credentials: &Value, how: &Value| {
            let mut spec = json!({"regionID": "cn-hangzhou", "credentials": credentials});
            spec.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
            let refused = AllowedEndpoint::of(&serde_json::from_value(spec).unwrap(), &allowed).err();
            matches!(refused, Some(EndpointRefused::LentElsewhere))
        };
        for elsewhere in [
            json!({"endpoint": "gateway.internal"}),
            json!({"endpoint": "oceanbasepro.cn-hangzhou.aliyuncs.com"}),
            json!({"endpoint": "gateway.internal", "signatureMethod": "HMAC-SHA1"}),
        ] {
            assert!(refused(&operator, &elsewhere) && refused(&instance, &elsewhere), "{elsewhere}");
            assert!(!refused(&own, &elsewhere), "{elsewhere}");
        }
        assert!(!refused(&operator, &json!({})) && !refused(&instance, &json!({"network": "VPC"})));
    }
}
