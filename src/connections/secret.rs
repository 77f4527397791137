//! Parses the access key in a Secret from the API server's answer, and leaves no further copy in memory. Pure.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

use crate::api::{CREDENTIALS_LABEL, GROUP};
use crate::oceanbase::{AccessKey, Endpoint};

/// A part of an access key: its key in the Secret unless the annotation names another, and its most characters. Alibaba
/// Cloud issues 24 for the ID, 30 for the secret and some 1,000 for the token, for which it names no limit.
///
/// Only the Secret itself may say which key is which part: whoever could call the secret an ID would have it sent in
/// the clear.
struct Part {
    key: &'static str,
    annotation: &'static str,
    longest: usize,
}

const ID: Part = Part { key: "accessKeyID", annotation: "sessionkill.dev/access-key-id-key", longest: 128 };
const SECRET: Part = Part { key: "accessKeySecret", annotation: "sessionkill.dev/access-key-secret-key", longest: 256 };
const TOKEN: Part = Part { key: "securityToken", annotation: "sessionkill.dev/security-token-key", longest: 8 * 1024 };

/// The access key in a Secret.
#[derive(Clone, Debug)]
pub struct Stored {
    access_key: AccessKey,
    /// The key of the Secret that holds the ID.
    id_key: String,
}

impl Stored {
    /// Parses the access key from the Secret `name` as the API server sent it. Checks the label before the data:
    /// without it, a connection could make the operator send any Secret of its namespace to an endpoint. The error says
    /// why there is no access key, and never repeats a value.
    pub fn read(name: &str, body: &[u8]) -> Result<Self, String> {
        let secret = labelled(name, body)?;
        let id = secret.required(name, &ID)?;
        let key_secret = secret.required(name, &SECRET)?;
        let token = secret.value(name, &TOKEN)?;
        let is_secret = |other: &SecretString| other.expose_secret() == key_secret.expose_secret();
        for (part, value) in [(&ID, Some(&id)), (&TOKEN, token.as_ref())] {
            if value.is_some_and(is_secret) {
                let (key, of_secret) = (secret.key(part), secret.key(&SECRET));
                return Err(format!("keys {key} and {of_secret} of secret {name} hold the same: correct one of them"));
            }
        }
        let id_key = secret.key(&ID).to_owned();
        let id = id.expose_secret().to_owned();
        Ok(Self { access_key: AccessKey { id, secret: key_secret, security_token: token }, id_key })
    }

    /// The access key, if it may be used at `endpoint`; the error says why not. The ID is sent in the clear, so that it
    /// must look like one, unless the operator's own flags name the endpoint.
    pub fn for_endpoint(self, name: &str, endpoint: &Endpoint) -> Result<AccessKey, String> {
        if endpoint.is_named_by_flag() || self.access_key.has_known_id() {
            return Ok(self.access_key);
        }
        let key = self.id_key;
        Err(format!(
            "key {key} of secret {name} does not hold an AccessKey ID of Alibaba Cloud, which is LTAI or STS. and letters and \
             digits: put it there, and the AccessKey secret under its own key"
        ))
    }
}

/// The Secret `name` as the API server sent it, if it has the label.
pub(super) fn labelled<'a>(name: &str, body: &'a [u8]) -> Result<Secret<'a>, String> {
    // serde_json's error may repeat a value.
    let secret: Secret<'_> =
        serde_json::from_slice(body).map_err(|_| format!("secret {name} cannot be read: write it anew"))?;
    if secret.metadata.labels.0.get(CREDENTIALS_LABEL).is_none_or(|value| value != "true") {
        return Err(format!(
            "secret {name} is not labelled for this use: kubectl label secret {name} {CREDENTIALS_LABEL}=true"
        ));
    }
    Ok(secret)
}

/// The needed fields of a Secret. Values are borrowed from the answer: they are base64, which JSON does not escape.
#[derive(Deserialize)]
pub(super) struct Secret<'a> {
    metadata: Metadata,
    #[serde(borrow, default)]
    data: Option<HashMap<&'a str, Option<&'a str>>>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: Ours,
    #[serde(default)]
    annotations: Ours,
}

impl Secret<'_> {
    /// The value of this annotation.
    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.0.get(name).map(String::as_str)
    }

    /// The value of this key, in base64.
    pub(super) fn encoded(&self, key: &str) -> Option<&str> {
        self.data.as_ref().and_then(|data| data.get(key).copied().flatten())
    }

    /// All keys, and their values in base64.
    pub(super) fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.data.iter().flatten().filter_map(|(key, value)| Some((*key, (*value)?)))
    }

    /// The key of the Secret that holds `part`.
    fn key(&self, part: &Part) -> &str {
        self.annotation(part.annotation).unwrap_or(part.key)
    }

    /// The value of `part`, which must exist.
    fn required(&self, name: &str, part: &Part) -> Result<SecretString, String> {
        self.value(name, part)?.ok_or_else(|| {
            let (key, annotation) = (self.key(part), part.annotation);
            format!(
                "secret {name} has no key {key}: add it, or name the key that holds it by its annotation {annotation}"
            )
        })
    }

    /// The value of `part`, `None` if empty; without the line break that `base64` and editors leave at the end.
    fn value(&self, name: &str, part: &Part) -> Result<Option<SecretString>, String> {
        let key = self.key(part);
        if !is_key(key) {
            let annotation = part.annotation;
            return Err(format!("annotation {annotation} of secret {name} is not the name of a key: correct it"));
        }
        let Some(encoded) = self.encoded(key) else {
            return Ok(None);
        };
        let refused = |why: String| format!("key {key} of secret {name} does not hold a key of Alibaba Cloud: {why}");
        let decoded = decoded(encoded).ok_or_else(|| refused("it is not base64".to_owned()))?;
        let trimmed = decoded.trim_ascii();
        let (length, longest) = (trimmed.len(), part.longest);
        if length > longest {
            return Err(refused(format!(
                "it has {length} characters, and {longest} at most may be there: write nothing else into it"
            )));
        }
        let text = std::str::from_utf8(trimmed).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
        let text = text.filter(|text| !text.is_empty() || decoded.is_empty());
        let text = text.ok_or_else(|| refused("it has blanks or other characters".to_owned()))?;
        // Exact capacity: shrinking the buffer would leave a copy of the secret.
        Ok(Some(text).filter(|text| !text.is_empty()).map(|text| SecretString::from(text.to_owned())))
    }
}

/// The decoded value, in memory that is cleared on drop.
pub(super) fn decoded(encoded: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(encoded.len())]);
    let length = STANDARD.decode_slice(encoded, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// Whether `text` can be a key of a Secret, by the API server's own rule.
pub(super) fn is_key(text: &str) -> bool {
    let of_key = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(of_key)
}

/// The labels or annotations of our own API group. Drop all others: kubectl stores copies of whole Secrets there.
#[derive(Default)]
struct Ours(HashMap<String, String>);

impl<'de> Deserialize<'de> for Ours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kept;
        impl<'de> Visitor<'de> for Kept {
            type Value = Ours;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels or annotations")
            }

            fn visit_unit<E>(self) -> Result<Ours, E> {
                Ok(Ours::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ours, A::Error> {
                let mut ours = Ours::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/')) {
                        ours.0.insert(name, map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(ours)
            }
        }
        deserializer.deserialize_any(Kept)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LTAI: &str = "LTAI5tExampleKeyID000001";

    fn secret(annotations: &Value, data: &[(&str, &str)]) -> Value {
        let data: serde_json::Map<_, _> =
            data.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into())).collect();
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
            "metadata": {
                "name": "ak", "labels": {CREDENTIALS_LABEL: "true", "a/b": "c"}, "annotations": annotations,
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:data": {}}}],
            },
        })
    }

    fn read(secret: &Value) -> Result<Stored, String> {
        Stored::read("ak", secret.to_string().as_bytes())
    }

    fn key(data: &[(&str, &str)]) -> Result<AccessKey, String> {
        read(&secret(&Value::Null, data)).map(|stored| stored.access_key)
    }

    #[test]
    fn an_unlabelled_secret_is_not_read() {
        let data = [("accessKeyID", LTAI), ("accessKeySecret", "s")];
        for labels in [json!({}), Value::Null, json!({CREDENTIALS_LABEL: "True"}), json!({"other/credentials": "true"})]
        {
            let mut unlabelled = secret(&Value::Null, &data);
            unlabelled["metadata"]["labels"] = labels;
            let error = read(&unlabelled).unwrap_err();
            assert!(error.contains("kubectl label secret ak sessionkill.dev/credentials=true"), "{error}");
        }
    }

    #[test]
    fn keys_are_trimmed_and_the_token_is_optional() {
        let read = key(&[("accessKeyID", " id\r\n"), ("accessKeySecret", "s\n")]).unwrap();
        assert_eq!((read.id.as_str(), read.secret.expose_secret()), ("id", "s"));
        assert!(read.security_token.is_none());
        let data = [("accessKeyID", "id"), ("accessKeySecret", "s"), ("securityToken", "t\n"), ("other", "x")];
        assert_eq!(key(&data).unwrap().security_token.unwrap().expose_secret(), "t");
    }

    #[test]
    fn an_empty_token_means_a_long_term_key() {
        let data = [("accessKeyID", "id"), ("accessKeySecret", "s"), ("securityToken", "")];
        assert!(key(&data).unwrap().security_token.is_none());
        let mut null = secret(&Value::Null, &data);
        null["data"]["securityToken"] = Value::Null;
        assert!(read(&null).unwrap().access_key.security_token.is_none());
    }

    #[test]
    fn the_secret_itself_names_its_keys() {
        let names = json!({
            "sessionkill.dev/access-key-id-key": "ak", "sessionkill.dev/access-key-secret-key": "sk",
            "sessionkill.dev/security-token-key": "sts.token_1", "other": "\"escaped\"",
        });
        let data =
            [("ak", "id"), ("sk", "s"), ("sts.token_1", "t"), ("accessKeyID", "other"), ("securityToken", "other")];
        let read_of_it = read(&secret(&names, &data)).unwrap().access_key;
        assert_eq!((read_of_it.id.as_str(), read_of_it.secret.expose_secret()), ("id", "s"));
        assert_eq!(read_of_it.security_token.unwrap().expose_secret(), "t");
        let error = read(&secret(&names, &[("ak", "id")])).unwrap_err();
        assert_eq!(
            error,
            "secret ak has no key sk: add it, or name the key that holds it by its annotation \
             sessionkill.dev/access-key-secret-key"
        );
        let error = read(&secret(&json!({ID.annotation: "a b\u{1b}"}), &data)).unwrap_err();
        assert_eq!(
            error,
            "annotation sessionkill.dev/access-key-id-key of secret ak is not the name of a key: correct it"
        );
    }

    #[test]
    fn the_secret_is_never_the_id_or_the_token() {
        for (annotation, named) in [(ID.annotation, "accessKeyID"), (TOKEN.annotation, "securityToken")] {
            let data = [("accessKeyID", "id"), ("accessKeySecret", "s3cret"), (named, "s3cret")];
            let error = key(&data).unwrap_err();
            assert!(error.contains(named) && !error.contains("s3cret"), "{error}");
            let names = json!({annotation: "accessKeySecret"});
            let data = [("accessKeyID", "id"), ("accessKeySecret", "s3cret")];
            let error = read(&secret(&names, &data)).unwrap_err();
            assert!(error.contains("hold the same") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_does_not_look_like_an_id_is_used_at_endpoints_only_that_a_flag_names() {
        let regional = Endpoint::regional("cn-hangzhou", false, &[]).unwrap();
        let named = Endpoint::parse("gateway.example").unwrap();
        let stored =
            |id: &str| read(&secret(&Value::Null, &[("accessKeyID", id), ("accessKeySecret", "s3cret")])).unwrap();
        for good in [LTAI, "STS.NUgYrLnoC37mZZCNnAbez"] {
            assert_eq!(stored(good).for_endpoint("ak", &regional).unwrap().id, good);
        }
        // An AccessKey secret has 30 letters and digits.
        for other in
            ["yourAccessKeySecret0123456789X", "LTAI", "STS.", "ltai5tExampleKeyID000001", "LTAI5tExample-KeyID00"]
        {
            let error = stored(other).for_endpoint("ak", &regional).unwrap_err();
            assert!(error.contains("key accessKeyID of secret ak does not hold an AccessKey ID"), "{error}");
            assert!(!error.contains(other) || other == "LTAI" || other == "STS.", "{error}");
            assert_eq!(stored(other).for_endpoint("ak", &named).unwrap().id, other);
        }
    }

    #[test]
    fn missing_and_malformed_keys_are_named_without_their_values() {
        let error = key(&[("accessKeyID", "id")]).unwrap_err();
        assert!(error.starts_with("secret ak has no key accessKeySecret: add it"), "{error}");
        let error = key(&[("accessKeyID", "id"), ("accessKeySecret", "")]).unwrap_err();
        assert!(error.starts_with("secret ak has no key accessKeySecret: add it"), "{error}");
        for bad in ["i d", "\n", "数", "a\u{1b}"] {
            let error = key(&[("accessKeyID", bad), ("accessKeySecret", "s")]).unwrap_err();
            assert!(error.contains("key accessKeyID of secret ak") && !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn what_is_no_secret_is_not_repeated() {
        for body in
            [r#"{"metadata":{},"data":{"accessKeyID":7}}"#, r#"{"metadata":"s3cret"}"#, "s3cret", "", "[]", "null"]
        {
            let error = Stored::read("ak", body.as_bytes()).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
        let mut odd = secret(&Value::Null, &[("accessKeySecret", "s")]);
        odd["data"]["accessKeyID"] = "s3cret-not-base64".into();
        let error = read(&odd).unwrap_err();
        assert!(error.contains("accessKeyID") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn what_is_larger_than_any_key_is_refused_without_its_value() {
        let long = "x".repeat(700_000);
        let good = [("accessKeyID", "id"), ("accessKeySecret", "s"), ("securityToken", "t")];
        for (place, name) in ["accessKeyID", "accessKeySecret", "securityToken"].into_iter().enumerate() {
            let mut data = good;
            data[place].1 = &long;
            let error = key(&data).unwrap_err();
            assert!(
                error.contains(&format!("key {name} of secret ak")) && error.contains("700000 characters"),
                "{error}"
            );
            assert!(error.len() < 300, "{error}");
        }
        let longest = [("accessKeyID", &long[..ID.longest]), ("accessKeySecret", &long[..SECRET.longest])];
        let longest = [longest[0], longest[1], ("securityToken", &long[..TOKEN.longest])];
        assert!(key(&longest).is_ok());
    }
}
