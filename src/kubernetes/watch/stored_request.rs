//! A stored object as the API server returns it, shared by all its users. No I/O.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::api::{ClusterOceanBaseConnection, ConnectionReason, OceanBaseConnection, SessionKill};
use crate::domain::text::clamp;
use crate::kubernetes::watch::metadata::{Kept, Size};

/// The most characters of a parse error, which may quote the stored object.
const MAX_ERROR: usize = 256;

/// An object that does not fit the type.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// Why.
    pub error: String,
    /// As far as it is kept.
    pub metadata: ObjectMeta,
    /// Whether its status says so already.
    pub is_told: bool,
}

/// A stored object and its size; one that does not fit the type must not stop the watch of the others. Keeps only the
/// metadata in [`Kept`], even then. Cheap to clone.
///
/// kube's `DeserializeGuard` keeps all of the metadata and copies the whole object, while thousands of them wait.
#[derive(Clone, Debug)]
pub struct Guarded<K = SessionKill>(pub Result<Arc<K>, Unreadable>, pub Size);

/// A stored connection of a namespace.
pub type GuardedConnection = Guarded<OceanBaseConnection>;

/// A stored connection of no namespace.
pub type GuardedClusterConnection = Guarded<ClusterOceanBaseConnection>;

/// The parts of an object, whatever their content.
#[derive(Deserialize, Default)]
#[serde(default)]
#[expect(clippy::zero_sized_map_values, reason = "what is left can be read as a map only")]
struct Stored {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: Kept,
    spec: Value,
    status: Value,
    #[serde(flatten)]
    unknown: BTreeMap<String, IgnoredAny>,
}

impl Stored {
    /// A written field that would be ignored. A field beside the spec was probably meant to be in it.
    fn overlooked(&self) -> Option<String> {
        let unknown = || self.unknown.keys().next().map(|field| format!("unknown field `{field}` beside spec"));
        let lost = self.metadata.lost_null();
        lost.map(|field| format!("`{field}` is null in the manifest that kubectl applied")).or_else(unknown)
    }

    /// The error that its status tells, if that says of what is stored now that it cannot be read.
    fn told(&self) -> Option<String> {
        let generation = self.status["observedGeneration"].as_i64();
        let mut conditions = self.status["conditions"].as_array().into_iter().flatten();
        let told = conditions.find(|condition| condition["reason"] == ConnectionReason::InvalidObject.as_str())?;
        let message = told["message"].as_str().filter(|_| generation.is_some_and(|it| self.metadata.is_at(it)))?;
        Some(message.to_owned())
    }

    fn fit<K: DeserializeOwned>(self) -> Result<K, String> {
        let parts = [("metadata", Value::Object(Map::new())), ("spec", self.spec), ("status", self.status)];
        let object: Map<_, _> = parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect();
        serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())
    }
}

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut stored = Stored::deserialize(deserializer)?;
        let (overlooked, told, size) = (stored.overlooked(), stored.told(), stored.metadata.size());
        let metadata = ObjectMeta::from(take(&mut stored.metadata));
        let fits = match overlooked.map_or_else(|| stored.fit::<K>(), Err) {
            Ok(mut fits) => {
                *fits.meta_mut() = metadata;
                Ok(Arc::new(fits))
            }
            Err(error) => {
                let error = clamp(&error, MAX_ERROR);
                let is_told = told.is_some_and(|message| message.contains(&error));
                Err(Unreadable { error, metadata, is_told })
            }
        };
        Ok(Self(fits, size))
    }
}

impl<K> Resource for Guarded<K>
where
    K: Resource<DynamicType = ()> + Clone,
{
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
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
    use crate::domain::test_objects::{cluster_connection, connection, request};

    #[test]
    fn what_fits_is_shared_and_has_no_metadata_that_nobody_reads() {
        let object = request();
        let mut stored = serde_json::to_value(&object).unwrap();
        stored["metadata"]["managedFields"] = json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]);
        stored["metadata"]["annotations"] = json!({"large": "x".repeat(250_000)});
        let Guarded(Ok(read), Size::Large) = serde_json::from_str::<Guarded>(&stored.to_string()).unwrap() else {
            panic!("it fits, and is large")
        };
        assert_eq!(serde_json::to_value(read.as_ref()).unwrap(), serde_json::to_value(&object).unwrap());
        assert_eq!(read.spec.sessions.capacity(), read.spec.sessions.len());

        let mut stored = serde_json::to_value(connection()).unwrap();
        stored["metadata"]["annotations"] = json!({"large": "x".repeat(250_000)});
        let Guarded(Ok(read), _) = serde_json::from_value::<GuardedConnection>(stored).unwrap() else {
            panic!("it fits")
        };
        assert_eq!(serde_json::to_value(read.as_ref()).unwrap(), serde_json::to_value(connection()).unwrap());
    }

    #[test]
    fn what_does_not_fit_keeps_its_name_and_says_why() {
        let large = "x".repeat(250_000);
        let stored = json!({
            "metadata": {"name": "a", "namespace": "b", "uid": "c", "labels": {"l": large}},
            "spec": {"sessions": "none"},
        });
        let read: Guarded = serde_json::from_value(stored).unwrap();
        assert_eq!((read.name_any().as_str(), read.namespace().as_deref()), ("a", Some("b")));
        let error = read.0.unwrap_err();
        assert!(error.error.contains("expected a sequence"), "{error:?}");
        assert_eq!(error.metadata.labels, None);

        let read: Guarded = serde_json::from_value(json!({"metadata": {}, "spec": {"sessions": large}})).unwrap();
        assert!(read.0.unwrap_err().error.chars().count() <= MAX_ERROR);
        let nameless: Guarded = serde_json::from_value(json!({"spec": 1})).unwrap();
        assert!(nameless.0.is_err() && serde_json::from_value::<Guarded>(json!({"metadata": 1})).is_err());
    }

    #[test]
    fn what_the_type_does_not_name_is_not_overlooked() {
        let error = |object: Value| serde_json::from_value::<Guarded>(object).unwrap().0.err().map(|it| it.error);
        let mut stored = serde_json::to_value(request()).unwrap();
        stored["spec"]["sessions"][0]["expect"] = json!({"user": "report_ro"});
        assert_eq!(error(stored.clone()), None);
        for (object, field, near) in [
            ("", "mode", "beside spec"),
            ("/spec", "dryRun", "`mode`"),
            ("/spec", "Mode", "`mode`"),
            ("/spec/connectionRef", "namespace", "`name`"),
            ("/spec/verification", "timeout", "`timeoutSeconds`"),
            ("/spec/sessions/0", "expects", "`expect`"),
            ("/spec/sessions/0/expect", "clientIp", "`clientIP`"),
        ] {
            for value in [json!("x"), Value::Null] {
                let mut stored = stored.clone();
                stored.pointer_mut(object).unwrap()[field] = value;
                let error = error(stored).unwrap();
                assert!(error.contains(&format!("unknown field `{field}`")) && error.contains(near), "{error}");
            }
        }

        let stored = serde_json::to_value(connection()).unwrap();
        let (backend, credentials) = ("/spec/alibabaCloud", "/spec/alibabaCloud/credentials");
        for object in ["", "/spec", backend, credentials, &format!("{credentials}/secretRef")] {
            let mut stored = stored.clone();
            stored.pointer_mut(object).unwrap()["tenantIds"] = json!(["t1"]);
            let read: GuardedConnection = serde_json::from_value(stored).unwrap();
            let error = read.0.unwrap_err().error;
            assert!(error.contains("unknown field `tenantIds`"), "{error}");
        }
    }

    #[test]
    fn of_a_connection_of_no_namespace_nothing_is_overlooked_either() {
        let whole = cluster_connection(&json!({"names": ["shop"], "selector": {"matchLabels": {"team": "a"}}}));
        let stored = serde_json::to_value(&whole).unwrap();
        let read: GuardedClusterConnection = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!(serde_json::to_value(read.0.unwrap().as_ref()).unwrap(), stored);
        let allowed = "/spec/allowedNamespaces";
        for object in ["/spec", "/spec/alibabaCloud", allowed, &format!("{allowed}/selector")] {
            let mut stored = stored.clone();
            stored.pointer_mut(object).unwrap()["labels"] = json!({"team": "b"});
            let read: GuardedClusterConnection = serde_json::from_value(stored).unwrap();
            let error = read.0.unwrap_err().error;
            assert!(error.contains("unknown field `labels`"), "{object}: {error}");
        }
    }

    #[test]
    fn a_connection_that_names_no_backend_is_told_where_its_fields_go_until_its_status_says_so() {
        let unreadable = |spec: Value, status: Value| {
            let metadata = json!({"name": "prod-ob", "generation": 3});
            let stored = json!({"metadata": metadata, "spec": spec, "status": status});
            serde_json::from_value::<GuardedConnection>(stored).unwrap().0.unwrap_err()
        };
        let told = |generation: i64, message: &str| {
            let conditions = json!([{"type": "Ready", "reason": "InvalidObject", "message": message}]);
            json!({"observedGeneration": generation, "conditions": conditions})
        };
        let alone = json!({"credentials": {"secretRef": {"name": "aliyun-ak"}}, "regionID": "cn-hangzhou"});
        let error = "spec.alibabaCloud or spec.sql is required: move regionID, network, endpoint, killOperation, \
                     signatureMethod, instanceIDs and credentials below alibabaCloud";
        for spec in [alone.clone(), json!({}), json!({"alibabaCloud": null}), json!({"tenantIDs": ["t1"]})] {
            let unreadable = unreadable(spec, json!({"observedGeneration": -1}));
            assert_eq!((unreadable.error.as_str(), unreadable.is_told), (error, false));
        }
        for (status, is_told) in [
            (told(3, &format!("cannot be read ({error}): delete it")), true),
            (told(2, &format!("cannot be read ({error}): delete it")), false),
            (told(3, "cannot be read (something else)"), false),
            (Value::Null, false),
        ] {
            assert_eq!(unreadable(alone.clone(), status.clone()).is_told, is_told, "{status}");
        }
    }
}
