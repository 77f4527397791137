//! A connection as the API server gives it out, shared by all who call through it. No I/O.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::OceanBaseConnection;
use crate::domain::text::clamp;

/// What is used of the metadata. The rest may be as large as whoever writes the connection likes, and stays for as long as the
/// connection does: one with a quarter of a megabyte of annotations takes no more than any other.
const USED: [&str; 6] = ["name", "namespace", "uid", "generation", "resourceVersion", "deletionTimestamp"];

/// The most characters of why a connection cannot be read: it may quote what stands there.
const MAX_ERROR: usize = 512;

/// A connection that is stored: one that does not fit the type must not stop the others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct GuardedConnection(pub Result<Arc<OceanBaseConnection>, InvalidObject>);

impl<'de> Deserialize<'de> for GuardedConnection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.retain(|name, _| USED.contains(&name.as_str()));
        }
        match OceanBaseConnection::deserialize(&object) {
            Ok(fits) => Ok(Self(Ok(Arc::new(fits)))),
            Err(error) => {
                let metadata =
                    object.get("metadata").map_or_else(|| Ok(ObjectMeta::default()), ObjectMeta::deserialize);
                let metadata = metadata.map_err(D::Error::custom)?;
                Ok(Self(Err(InvalidObject { error: clamp(&error.to_string(), MAX_ERROR), metadata })))
            }
        }
    }
}

impl Resource for GuardedConnection {
    type DynamicType = ();
    type Scope = <OceanBaseConnection as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        OceanBaseConnection::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        OceanBaseConnection::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        OceanBaseConnection::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        OceanBaseConnection::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => Arc::make_mut(object).meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use serde_json::json;

    use super::*;
    use crate::domain::test_objects::connection;

    #[test]
    fn of_the_metadata_only_what_is_used_is_kept() {
        let used = json!({
            "name": "prod-ob", "namespace": "dba", "uid": "uid-1", "generation": 3, "resourceVersion": "7",
            "deletionTimestamp": "2026-10-05T10:00:00Z",
        });
        let mut stored = serde_json::to_value(connection()).unwrap();
        stored["metadata"] = used.clone();
        let many = "x".repeat(250_000);
        for (name, value) in [
            ("annotations", json!({"a": many})),
            ("labels", json!({"a": "b"})),
            ("finalizers", json!(["example.com/a"])),
            ("ownerReferences", json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}])),
            ("managedFields", json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}])),
        ] {
            stored["metadata"][name] = value;
        }
        let GuardedConnection(Ok(read)) = serde_json::from_value(stored).unwrap() else { panic!("it fits") };
        assert_eq!(serde_json::to_value(&read.metadata).unwrap(), used);
        assert_eq!(read.spec, connection().spec);
    }

    #[test]
    fn what_does_not_fit_keeps_its_name_and_says_why_in_few_words() {
        let stored = json!({
            "metadata": {"name": "a", "namespace": "b", "annotations": {"a": "b"}},
            "spec": {"regionID": "r", "credentials": "x".repeat(250_000)},
        });
        let read: GuardedConnection = serde_json::from_value(stored).unwrap();
        assert_eq!((read.name_any().as_str(), read.namespace().as_deref()), ("a", Some("b")));
        let error = read.0.unwrap_err();
        assert!(error.error.starts_with("invalid type: string") && error.error.chars().count() <= MAX_ERROR);
        assert!(error.metadata.annotations.is_none());
    }
}
