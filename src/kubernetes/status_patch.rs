//! Replaces the status of exactly one object. Does I/O.
//!
//! Each write is a JSON patch that tests the UID, so that it never hits a re-created object with the same name, and
//! never conflicts with edits of other fields.

use kube::api::{Patch, PatchParams, Request};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::kubernetes::calls::{ApiError, bounded};
use crate::kubernetes::watch::metadata::Size;

/// The field manager of all our writes.
pub const FIELD_MANAGER: &str = "sessionkill-operator";

/// Identifies one object; its UID tells it from a re-created one with the same name.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its namespace; empty for an object of a kind without namespaces.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// How large its metadata is.
    pub size: Size,
    /// The only generation of it that is meant; `None` means any.
    pub generation: Option<i64>,
}

impl Target {
    /// Names `object`.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            size: Size::Usual,
            generation: None,
        }
    }

    /// The same target, if it is of this generation: what is known of an older one must not overwrite what is said of it.
    pub fn at(self, generation: i64) -> Self {
        Self { generation: Some(generation), ..self }
    }

    /// The same target with this size.
    pub fn sized(self, size: Size) -> Self {
        Self { size, ..self }
    }
}

/// One operation of a JSON patch.
#[derive(Serialize)]
struct Operation<'a, V: ?Sized> {
    op: &'static str,
    path: &'static str,
    value: &'a V,
}

/// Replaces the whole status of exactly `target`.
pub async fn write_status<K>(
    client: &Client,
    target: &Target,
    call: &'static str,
    status: &impl Serialize,
) -> Result<(), ApiError>
where
    K: Resource<DynamicType = ()>,
{
    let is_it = Operation { op: "test", path: "/metadata/uid", value: &target.uid };
    let add = Operation { op: "add", path: "/status", value: status };
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let namespace = Some(target.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let request = Request::new(K::url_path(&(), namespace));
    // kube's JSON patch would build the status as a tree of values first, for the most costly of our writes.
    let empty = Patch::Json::<()>(json_patch::Patch(vec![]));
    let request = request.patch_subresource("status", &target.name, &params, &empty).map_err(kube::Error::BuildRequest);
    let request = request.and_then(|request| {
        let body = match &target.generation {
            None => serde_json::to_vec(&(is_it, add)),
            Some(value) => {
                serde_json::to_vec(&(is_it, Operation { op: "test", path: "/metadata/generation", value }, add))
            }
        };
        let body = body.map_err(kube::Error::SerdeError)?;
        Ok(request.map(|_| body))
    });
    // The answer is the stored object, which nobody reads; `Api` would parse it.
    bounded(call, async { client.request::<IgnoredAny>(request?).await }).await.map(drop)
}

#[cfg(test)]
mod tests {
    use http::Response;
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::BoxError;

    use super::*;
    use crate::api::OceanBaseConnection;

    /// The path of a status write to this target, and what it asks the API server for.
    async fn asked(target: Target) -> (String, Value) {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let tell = tell.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await?.to_bytes();
                tell.send((path, serde_json::from_slice(&body)?))?;
                Ok::<_, BoxError>(Response::new(Body::from(b"{}".to_vec())))
            }
        });
        let client = Client::new(service, "here");
        write_status::<OceanBaseConnection>(&client, &target, "report", &json!({"state": "new"})).await.unwrap();
        told.recv().await.unwrap()
    }

    #[tokio::test]
    async fn a_status_is_written_to_the_object_and_the_generation_that_are_meant_and_to_no_other() {
        let target = Target {
            namespace: "here".to_owned(),
            name: "it".to_owned(),
            uid: "u1".to_owned(),
            size: Size::Usual,
            generation: None,
        };
        let same_object = json!({"op": "test", "path": "/metadata/uid", "value": "u1"});
        let at_generation = json!({"op": "test", "path": "/metadata/generation", "value": 7});
        let add = json!({"op": "add", "path": "/status", "value": {"state": "new"}});
        assert_eq!(asked(target.clone()).await.1, json!([same_object, add]));
        assert_eq!(asked(target.clone().at(7)).await.1, json!([same_object, at_generation, add]));
        let path = "/apis/sessionkill.dev/v1alpha1/namespaces/here/oceanbaseconnections/it/status";
        assert_eq!(asked(target.clone()).await.0, path);
        let of_none = Target { namespace: String::new(), ..target };
        assert_eq!(asked(of_none).await.0, path.replace("/namespaces/here", ""), "of a kind without namespaces");
    }
}
