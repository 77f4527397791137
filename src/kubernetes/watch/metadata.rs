//! Which parts of an object's metadata are kept. No I/O.
//!
//! Users decide how large metadata is: labels can fill an object up to etcd's limit of 1.5 MiB, and `managedFields`
//! grow with them. Everything that the operator does not read is dropped while parsing.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::domain::kill::retention::{is_tracking_annotation, is_tracking_label};

type Texts = BTreeMap<String, String>;

/// Where `kubectl apply` stores the manifest as given, including the nulls that it does not send.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Metadata without finalizers, owners and managed fields. Of labels and annotations, it keeps only the first key that
/// shows which tool tracks the object, without its value. At most 2 KiB, whatever is stored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kept {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    annotations: Option<Annotations>,
    #[serde(deserialize_with = "tracking_label")]
    labels: First,
    finalizers: Bytes,
    owner_references: Bytes,
    managed_fields: Bytes,
}

/// How large an object's metadata is for the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// No larger than common tools make it.
    #[default]
    Usual,
    /// So large that each write of the object keeps the API server busy for long.
    Large,
}

/// The most bytes of [`Size::Usual`]: the `managedFields` of a request with the most sessions take a third of that.
const USUAL: usize = 128 << 10;

impl Kept {
    /// The size of everything that is stored, including what is dropped.
    pub fn size(&self) -> Size {
        let annotations = self.annotations.as_ref().map_or(0, |annotations| annotations.all.bytes);
        let parts = [annotations, self.labels.bytes, self.finalizers.0, self.owner_references.0];
        let bytes = parts.into_iter().fold(self.managed_fields.0, usize::saturating_add);
        if bytes > USUAL { Size::Large } else { Size::Usual }
    }

    /// Whether this is the generation of its spec.
    pub fn is_at(&self, generation: i64) -> bool {
        self.generation == Some(generation)
    }

    /// A field that is null in the spec of the applied manifest, although the stored object has no null.
    pub fn lost_null(&self) -> Option<&str> {
        self.annotations.as_ref()?.lost_null.as_deref()
    }
}

impl From<Kept> for ObjectMeta {
    fn from(kept: Kept) -> Self {
        Self {
            name: kept.name,
            namespace: kept.namespace,
            uid: kept.uid,
            resource_version: kept.resource_version,
            generation: kept.generation,
            creation_timestamp: kept.creation_timestamp,
            deletion_timestamp: kept.deletion_timestamp,
            annotations: kept.annotations.and_then(|annotations| annotations.all.found),
            labels: kept.labels.found,
            ..Self::default()
        }
    }
}

/// The kept part of the annotations.
#[derive(Debug, Default)]
struct Annotations {
    all: First,
    lost_null: Option<String>,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Annotations {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let bytes = if key == APPLIED {
                let manifest = map.next_value::<String>()?;
                self.lost_null = null_in(&manifest);
                manifest.len()
            } else {
                map.next_value::<Bytes>()?.0
            };
            self.all.add(key, bytes, is_tracking_annotation);
        }
        Ok(self)
    }
}

fn null_in(manifest: &str) -> Option<String> {
    // A text search is cheaper than parsing.
    if !manifest.contains("null") {
        return None;
    }
    null_field(serde_json::from_str::<Value>(manifest).ok()?.get("spec")?)
}

fn null_field(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => {
            fields.iter().find_map(|(name, value)| if value.is_null() { Some(name.clone()) } else { null_field(value) })
        }
        Value::Array(items) => items.iter().find_map(null_field),
        _ => None,
    }
}

fn tracking_label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<First, D::Error> {
    deserializer.deserialize_option(FirstOf(is_tracking_label))
}

/// The first matching key of a map of texts, and the size of the whole map.
#[derive(Debug, Default)]
struct First {
    found: Option<Texts>,
    bytes: usize,
}

impl First {
    fn add(&mut self, key: String, bytes: usize, is_it: fn(&str) -> bool) {
        self.bytes = self.bytes.saturating_add(key.len()).saturating_add(bytes);
        if self.found.is_none() && is_it(&key) {
            self.found = Some(Texts::from([(key, String::new())]));
        }
    }
}

struct FirstOf(fn(&str) -> bool);

impl<'de> Visitor<'de> for FirstOf {
    type Value = First;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map of texts")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(First::default())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(First::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut first = First::default();
        while let Some((key, Bytes(bytes))) = map.next_entry::<String, _>()? {
            first.add(key, bytes, self.0);
        }
        Ok(first)
    }
}

/// The number of text bytes in any value, which is itself dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Bytes(usize);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Counting).map(Self)
    }
}

struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = usize;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_str<E>(self, text: &str) -> Result<usize, E> {
        Ok(text.len())
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_none<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<usize, A::Error> {
        let mut all = 0_usize;
        while let Some(Bytes(bytes)) = items.next_element()? {
            all = all.saturating_add(bytes);
        }
        Ok(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<usize, A::Error> {
        let mut all = 0_usize;
        while let Some((Bytes(key), Bytes(value))) = entries.next_entry()? {
            all = all.saturating_add(key).saturating_add(value);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_megabyte_of_metadata_a_few_words_are_kept() {
        let many = |of: &'static str| (0..5000).map(move |number| (format!("{of}{number}"), "x".repeat(200)));
        let mut annotations: Texts = many("example.com/a").collect();
        annotations.insert("argocd.argoproj.io/tracking-id".into(), "y".repeat(200_000));
        annotations.insert("argocd.argoproj.io/sync-options".into(), "z".into());
        let stored = json!({
            "name": "a", "namespace": "b", "uid": "c", "resourceVersion": "7", "generation": 2, "selfLink": "/x",
            "creationTimestamp": "2026-10-05T09:59:00Z", "deletionTimestamp": "2026-10-05T10:00:00Z",
            "generateName": "a-", "labels": many("l").collect::<Texts>(), "annotations": annotations,
            "finalizers": vec!["example.com/f"; 5000], "managedFields": [{"manager": "m", "fieldsV1": {"f:spec": {}}}],
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}],
        });
        let text = stored.to_string();
        let kept: ObjectMeta = serde_json::from_str::<Kept>(&text).unwrap().into();
        let expected = json!({
            "name": "a", "namespace": "b", "uid": "c", "resourceVersion": "7", "generation": 2,
            "creationTimestamp": "2026-10-05T09:59:00Z", "deletionTimestamp": "2026-10-05T10:00:00Z",
            "annotations": {"argocd.argoproj.io/sync-options": ""},
        });
        assert_eq!(serde_json::to_value(kept).unwrap(), expected);
    }

    #[test]
    fn a_null_that_kubectl_left_out_is_told() {
        let lost = |manifest: &str| {
            let stored = json!({"annotations": {APPLIED: manifest, "argocd.argoproj.io/tracking-id": "x"}});
            let kept: Kept = serde_json::from_value(stored).unwrap();
            assert!(kept.annotations.as_ref().is_some_and(|annotations| annotations.all.found.is_some()));
            kept.lost_null().map(str::to_owned)
        };
        assert_eq!(lost(r#"{"spec": {"mode": null}}"#).as_deref(), Some("mode"));
        assert_eq!(lost(r#"{"spec": {"sessions": [{}, {"expect": {"user": null}}]}}"#).as_deref(), Some("user"));
        for harmless in [
            "",
            "null",
            "{",
            r#"{"spec": null}"#,
            r#"{"metadata": {"creationTimestamp": null}, "spec": {"reason": "\"mode\":null"}, "status": null}"#,
        ] {
            assert_eq!(lost(harmless), None, "{harmless}");
        }
    }

    #[test]
    fn nothing_at_all_is_read_as_such() {
        for stored in [json!({}), json!({"labels": null, "annotations": null, "name": null}), json!({"labels": {}})] {
            let kept: ObjectMeta = serde_json::from_value::<Kept>(stored).unwrap().into();
            assert_eq!(kept, ObjectMeta::default());
        }
        assert!(serde_json::from_value::<Kept>(json!({"labels": 1})).is_err());
    }
}
