//! Temporary keys that were handed out. They are good until they expire, and are then known as expired.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::gateway::{access_key::AccessKey, identity::Signer};

/// The most keys that are remembered. An older one is no longer known.
const MOST: usize = 10_000;
/// The size of a token: it ends with `=`, and its text has `+` and `/`, so that clients must encode it.
const TOKEN_BYTES: usize = 305;

/// A temporary key.
#[derive(Clone)]
pub struct IssuedKey {
    /// The key, always with a token.
    pub key: AccessKey,
    /// Its owner.
    pub signer: Signer,
    /// When it was made.
    pub issued: Timestamp,
    /// From when on it is refused, in whole seconds.
    pub expires: Timestamp,
}

impl IssuedKey {
    /// The members that every answer with a temporary key has. The time has whole seconds and `Z`: clients read nothing
    /// else.
    #[must_use]
    pub fn members(&self) -> Value {
        json!({
            "AccessKeyId": self.key.id,
            "AccessKeySecret": self.key.secret.expose_secret(),
            "SecurityToken": self.key.token.as_ref().map(ExposeSecret::expose_secret),
            "Expiration": self.expires.to_string(),
        })
    }
}

/// The temporary keys.
pub struct IssuedKeys {
    lifetime: Option<Duration>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: HashMap<String, IssuedKey>,
    /// The IDs, the oldest first.
    order: VecDeque<String>,
}

impl IssuedKeys {
    /// Keys that live for `lifetime` whatever is asked for. Without it, they live as long as asked for.
    #[must_use]
    pub fn new(lifetime: Option<Duration>) -> Self {
        Self { lifetime, known: Mutex::default() }
    }

    /// Makes a key for `signer`. It lives at least as long as it should, and less than a second longer.
    pub fn issue(&self, signer: Signer, asked: Duration, now: Timestamp) -> IssuedKey {
        let lifetime = i64::try_from(self.lifetime.unwrap_or(asked).as_secs()).unwrap_or(i64::MAX);
        let begun = now.as_second().saturating_add(i64::from(now.subsec_nanosecond() > 0));
        let expires = Timestamp::from_second(begun.saturating_add(lifetime)).unwrap_or(Timestamp::MAX);
        let key = AccessKey {
            id: format!("STS.{}", alphanumeric(24)),
            secret: alphanumeric(44).into(),
            token: Some(token().into()),
        };
        let issued = IssuedKey { key, signer, issued: now, expires };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.order.push_back(issued.key.id.clone());
        known.keys.insert(issued.key.id.clone(), issued.clone());
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.keys.remove(&oldest);
        }
        issued
    }

    /// The key with this ID, expired or not.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<IssuedKey> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).keys.get(id).cloned()
    }
}

fn alphanumeric(length: usize) -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(length).collect()
}

/// Text such as real tokens are, with all characters of base64.
fn token() -> String {
    let bytes: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(TOKEN_BYTES).collect();
    format!("CAIS+/{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issue(keys: &IssuedKeys, asked: u64, now: &str) -> IssuedKey {
        keys.issue(Signer::access_key("a"), Duration::from_secs(asked), now.parse().unwrap())
    }

    #[test]
    fn a_key_lives_as_long_as_asked_for_unless_a_lifetime_is_set() {
        let now = "2026-01-02T03:04:05.5Z";
        let expires = |lifetime: Option<u64>| {
            let keys = IssuedKeys::new(lifetime.map(Duration::from_secs));
            issue(&keys, 900, now).members()["Expiration"].clone()
        };
        assert_eq!(expires(None), "2026-01-02T03:19:06Z");
        assert_eq!(expires(Some(5)), "2026-01-02T03:04:11Z");
    }

    #[test]
    fn each_key_is_another_one_and_the_oldest_are_forgotten() {
        let keys = IssuedKeys::new(None);
        let first = issue(&keys, 900, "2026-01-02T03:04:05Z");
        assert_eq!(first.expires.to_string(), "2026-01-02T03:19:05Z");
        let second = issue(&keys, 900, "2026-01-02T03:04:05Z");
        let token = |key: &IssuedKey| key.members()["SecurityToken"].as_str().unwrap().to_owned();
        assert!(token(&first).ends_with('=') && token(&first) != token(&second));
        assert_eq!(keys.find(&first.key.id).unwrap().members(), first.members());
        for _ in 1..MOST {
            issue(&keys, 900, "2026-01-02T03:04:05Z");
        }
        assert!(keys.find(&first.key.id).is_none());
        assert!(keys.find(&second.key.id).is_some());
    }
}
