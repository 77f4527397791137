//! A request as the API server gives it out, shared by all who work on it. No I/O.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::SessionKill;

/// A request that is stored: an object that does not fit the type must not stop the others. Cheap to clone; without
/// `managedFields`, which nobody here reads and which are larger than all the rest.
///
/// kube's `DeserializeGuard` does the same for any kind, by copies of the whole object, of which thousands wait at once.
#[derive(Clone, Debug)]
pub struct Guarded(pub Result<Arc<SessionKill>, InvalidObject>);

impl<'de> Deserialize<'de> for Guarded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        match SessionKill::deserialize(&object) {
            Ok(mut fits) => {
                // Read with room for more, which a spec that cannot change has no use for.
                fits.spec.sessions.shrink_to_fit();
                Ok(Self(Ok(Arc::new(fits))))
            }
            Err(error) => {
                let metadata =
                    object.get("metadata").map_or_else(|| Ok(ObjectMeta::default()), ObjectMeta::deserialize);
                Ok(Self(Err(InvalidObject { error: error.to_string(), metadata: metadata.map_err(D::Error::custom)? })))
            }
        }
    }
}

impl Resource for Guarded {
    type DynamicType = ();
    type Scope = <SessionKill as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        SessionKill::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        SessionKill::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        SessionKill::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        SessionKill::plural(&())
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
    use crate::domain::test_objects::request;

    #[test]
    fn what_fits_is_shared_and_has_no_managed_fields() {
        let object = request();
        let mut stored = serde_json::to_value(&object).unwrap();
        stored["metadata"]["managedFields"] = json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]);
        let Guarded(Ok(read)) = serde_json::from_value(stored).unwrap() else { panic!("it fits") };
        assert_eq!(serde_json::to_value(read.as_ref()).unwrap(), serde_json::to_value(&object).unwrap());
    }

    #[test]
    fn what_does_not_fit_keeps_its_name_and_says_why() {
        let stored = json!({"metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": {"sessions": "none"}});
        let read: Guarded = serde_json::from_value(stored).unwrap();
        assert_eq!((read.name_any().as_str(), read.namespace().as_deref()), ("a", Some("b")));
        let error = read.0.unwrap_err();
        assert!(error.error.contains("expected a sequence"), "{error}");
        let nameless: Guarded = serde_json::from_value(json!({"spec": 1})).unwrap();
        assert!(nameless.0.is_err() && serde_json::from_value::<Guarded>(json!({"metadata": 1})).is_err());
    }
}
