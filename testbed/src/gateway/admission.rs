//! Admission of calls: access key, signature, security token, time stamp and nonce are checked in this order.
//!
//! Before all five are right, nothing is executed, and no action or parameter is read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use super::{
    access_key::AccessKey,
    errors::ApiError,
    identity::Signer,
    in_force::Faults,
    request::{Call, Received, SignatureVersion},
    sts::tokens::{IssuedKey, IssuedKeys},
    verify::{self, Authorization, Refusal, SignedRequest},
};

/// How far a time stamp may differ from the gateway's clock, in both directions.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// A key that a call can be signed with, and its owner.
struct Known {
    key: AccessKey,
    signer: Signer,
    /// From when on it is refused. `None` means never.
    expires: Option<Timestamp>,
}

/// The admission check. It remembers a nonce as long as a request with it could be accepted.
pub struct Admission {
    keys: RwLock<Vec<AccessKey>>,
    issued: Arc<IssuedKeys>,
    nonces: Mutex<HashMap<(String, String), Timestamp>>,
}

impl Admission {
    /// Admits calls signed with one of these keys, or with one that was issued.
    #[must_use]
    pub fn new(keys: Vec<AccessKey>, issued: Arc<IssuedKeys>) -> Self {
        Self { keys: RwLock::new(keys), issued, nonces: Mutex::default() }
    }

    /// Replaces the keys, as a rotation does. Keys that were issued stay good until they expire.
    pub fn set_keys(&self, keys: Vec<AccessKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Admits the call and says who signed it, or says why not. Admission uses up the call's nonce.
    pub fn check(&self, received: &Received, call: &Call, now: Timestamp, faults: &Faults) -> Result<Signer, ApiError> {
        let Known { key, signer, expires } = self.key(call)?;
        check_signature(received, call, &key.secret)?;
        check_token(call, &key)?;
        let is_over = expires.is_some_and(|expires| expires <= now);
        if is_over || (key.token.is_some() && faults.tokens_expired()) {
            return Err(ApiError::expired_token(faults.expired_code().as_deref()));
        }
        let time_stamp = check_time_stamp(call, now)?;
        self.use_nonce(call, key.id, time_stamp, now)?;
        Ok(signer)
    }

    fn key(&self, call: &Call) -> Result<Known, ApiError> {
        let id = match (&call.access_key_id, call.signature_version) {
            (Some(id), _) => id,
            (None, SignatureVersion::V1 | SignatureVersion::None) => return Err(ApiError::missing("AccessKeyId")),
            (None, SignatureVersion::V3) => {
                return Err(ApiError::signature(Refusal::Incomplete("the Authorization header is malformed".into())));
            }
        };
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let own = keys.iter().find(|key| key.id == *id).map(|key| Known {
            key: key.clone(),
            signer: Signer::access_key(id),
            expires: None,
        });
        own.or_else(|| self.issued.find(id).map(Known::from)).ok_or_else(ApiError::unknown_access_key)
    }

    fn use_nonce(&self, call: &Call, key: String, time_stamp: Timestamp, now: Timestamp) -> Result<(), ApiError> {
        let nonce = present(call.nonce.as_ref(), "SignatureNonce")?;
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        nonces.retain(|_, until| *until >= now);
        match nonces.insert((key, nonce.clone()), time_stamp + WINDOW) {
            Some(_) => Err(ApiError::nonce_used()),
            None => Ok(()),
        }
    }
}

impl From<IssuedKey> for Known {
    fn from(issued: IssuedKey) -> Self {
        Self { key: issued.key, signer: issued.signer, expires: Some(issued.expires) }
    }
}

fn check_signature(received: &Received, call: &Call, secret: &SecretString) -> Result<(), ApiError> {
    if let Some(authorization) = received.authorization().and_then(Authorization::parse) {
        let request = SignedRequest {
            method: &received.method,
            path: &received.path,
            query: &received.query,
            headers: &received.headers,
            body: &received.body,
        };
        return verify::v3(&request, &authorization, secret).map_err(ApiError::signature);
    }
    if call.required("SignatureMethod")? != "HMAC-SHA1" {
        return Err(ApiError::invalid("SignatureMethod", "only HMAC-SHA1 is supported"));
    }
    if call.required("SignatureVersion")? != "1.0" {
        return Err(ApiError::invalid("SignatureVersion", "only 1.0 is supported"));
    }
    call.required("Signature")?;
    verify::v1(&received.method, &received.params(), secret).map_err(ApiError::signature)
}

fn check_token(call: &Call, key: &AccessKey) -> Result<(), ApiError> {
    let sent = call.security_token.as_deref().filter(|token| !token.is_empty());
    match (&key.token, sent) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(ApiError::missing_token()),
        (Some(token), Some(sent)) if token.expose_secret() == sent => Ok(()),
        (_, Some(_)) => Err(ApiError::wrong_token()),
    }
}

fn check_time_stamp(call: &Call, now: Timestamp) -> Result<Timestamp, ApiError> {
    const FORM: &str = "yyyy-MM-ddTHH:mm:ssZ";
    let text = present(call.time_stamp.as_ref(), "Timestamp")?;
    let well_formed = text.len() == FORM.len() && text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    let time_stamp = text.parse::<Timestamp>().ok().filter(|_| well_formed);
    let time_stamp = time_stamp.ok_or_else(ApiError::malformed_time_stamp)?;
    if now.duration_since(time_stamp).abs() > WINDOW {
        return Err(ApiError::expired_time_stamp());
    }
    Ok(time_stamp)
}

fn present<'a>(value: Option<&'a String>, name: &str) -> Result<&'a String, ApiError> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| ApiError::missing(name))
}
