//! Admission of calls: access key, signature, security token, time stamp and nonce are checked in this order.
//!
//! Before all five are right, nothing is executed, and no action or parameter is read.

use std::{
    collections::HashMap,
    str::FromStr,
    sync::{Mutex, PoisonError, RwLock},
};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use super::{
    errors::ApiError,
    request::{Call, Received, SignatureVersion},
    verify::{self, Authorization, Refusal, SignedRequest},
};

/// How far a time stamp may differ from the gateway's clock, in both directions.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// A key that the gateway knows. `Debug` shows its id only.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The access key id.
    pub id: String,
    /// The access key secret.
    pub secret: SecretString,
    /// The security token, without which a temporary key is refused.
    pub token: Option<SecretString>,
}

impl FromStr for AccessKey {
    type Err = &'static str;

    /// Reads `ID:SECRET` or `ID:SECRET:TOKEN`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let (Some(id), Some(secret)) = (parts.next(), parts.next()) else {
            return Err("an access key is written ID:SECRET or ID:SECRET:TOKEN");
        };
        Ok(Self { id: id.into(), secret: secret.into(), token: parts.next().map(Into::into) })
    }
}

/// The admission check. It remembers a nonce as long as a request with it could be accepted.
pub struct Admission {
    keys: RwLock<Vec<AccessKey>>,
    nonces: Mutex<HashMap<(String, String), Timestamp>>,
}

impl Admission {
    /// Admits calls signed with one of these keys.
    #[must_use]
    pub fn new(keys: Vec<AccessKey>) -> Self {
        Self { keys: RwLock::new(keys), nonces: Mutex::default() }
    }

    /// Replaces the keys, as a rotation does.
    pub fn set_keys(&self, keys: Vec<AccessKey>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Admits the call, or says why not. Admission uses up the call's nonce.
    pub fn check(
        &self,
        received: &Received,
        call: &Call,
        now: Timestamp,
        tokens_expired: bool,
    ) -> Result<(), ApiError> {
        let key = self.key(call)?;
        check_signature(received, call, &key.secret)?;
        check_token(call, &key, tokens_expired)?;
        let time_stamp = check_time_stamp(call, now)?;
        self.use_nonce(call, key.id, time_stamp, now)
    }

    fn key(&self, call: &Call) -> Result<AccessKey, ApiError> {
        let id = match (&call.access_key_id, call.signature_version) {
            (Some(id), _) => id,
            (None, SignatureVersion::V1) => return Err(ApiError::missing("AccessKeyId")),
            (None, SignatureVersion::V3) => {
                return Err(ApiError::signature(Refusal::Incomplete("the Authorization header is malformed".into())));
            }
        };
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().find(|key| key.id == *id).cloned().ok_or_else(ApiError::unknown_access_key)
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

fn check_token(call: &Call, key: &AccessKey, expired: bool) -> Result<(), ApiError> {
    let sent = call.security_token.as_deref().filter(|token| !token.is_empty());
    match (&key.token, sent) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(ApiError::missing_token()),
        (Some(token), Some(sent)) if token.expose_secret() == sent => {
            if expired {
                Err(ApiError::expired_token())
            } else {
                Ok(())
            }
        }
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
