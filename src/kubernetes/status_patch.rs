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
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// How large its metadata is.
    pub size: Size,
}

impl Target {
    /// Names `object`.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            size: Size::Usual,
        }
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
    let operations = (
        Operation { op: "test", path: "/metadata/uid", value: &target.uid },
        Operation { op: "add", path: "/status", value: status },
    );
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let request = Request::new(K::url_path(&(), Some(&target.namespace)));
    // kube's JSON patch would build the status as a tree of values first, for the most costly of our writes.
    let empty = Patch::Json::<()>(json_patch::Patch(vec![]));
    let request = request.patch_subresource("status", &target.name, &params, &empty).map_err(kube::Error::BuildRequest);
    let request = request.and_then(|request| {
        let body = serde_json::to_vec(&operations).map_err(kube::Error::SerdeError)?;
        Ok(request.map(|_| body))
    });
    // The answer is the stored object, which nobody reads; `Api` would parse it.
    bounded(call, async { client.request::<IgnoredAny>(request?).await }).await.map(drop)
}
