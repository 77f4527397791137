//! Ends objects that do not fit the type: stored before a rule of the schema existed, or around it. Does I/O.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource as _;
use serde_json::json;
use tokio::time::timeout;

use crate::api::{Outcome, SessionKill, SessionKillStatus};
use crate::domain::kill::status::unreadable;
use crate::domain::tenant::TenantKey;
use crate::domain::text::clamp;
use crate::kill::context::Context;
use crate::kill::settle::{Settled, settle};
use crate::kubernetes::status_patch::Target;
use crate::kubernetes::watch::metadata::Size;
use crate::kubernetes::watch::stored_request::Unreadable;
use crate::queue::item::Next;

/// The longest that others wait for one such object, and how long it then waits itself.
const LIMIT: Duration = Duration::from_secs(5);
const PAUSE: SignedDuration = SignedDuration::from_secs(15);

/// Ends such an object: its immutable spec cannot be repaired, and no part of it can be trusted enough to act on.
///
/// `failing_for` is how long earlier attempts have failed.
pub async fn finish(context: &Arc<Context>, (invalid, size): (&Unreadable, Size), failing_for: Duration) -> Next {
    let metadata = &invalid.metadata;
    let target = Target {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        size,
        generation: None,
    };
    let error = clamp(&invalid.error, 256);
    // An older version that could read it may have acted; its receipt then has the outcome.
    let message = format!(
        "the stored object cannot be read ({error}); this operator sends nothing for it: delete it and create a valid one"
    );
    tracing::error!(name = target.name, namespace = target.namespace, error, "invalid object");
    context.events.invalid(reference(&target), &message);
    let status: SessionKillStatus = unreadable(metadata, Outcome::InvalidObject, &message, Timestamp::now());
    let key = Arc::new(TenantKey::unreadable(&target.namespace));
    match timeout(LIMIT, settle(context, &key, &target, &status, failing_for)).await {
        Ok(Settled::Written) => context.metrics.finished(Outcome::InvalidObject, None, None),
        Ok(Settled::Superseded) => {}
        Ok(Settled::Refused) => tracing::error!(status = %json!(status), "invalid object keeps its status"),
        Err(_) => return Next::Later(Timestamp::now() + PAUSE),
    }
    Next::Ended
}

fn reference(target: &Target) -> ObjectReference {
    ObjectReference {
        api_version: Some(SessionKill::api_version(&()).into_owned()),
        kind: Some(SessionKill::kind(&()).into_owned()),
        namespace: Some(target.namespace.clone()),
        name: Some(target.name.clone()),
        uid: Some(target.uid.clone()),
        ..ObjectReference::default()
    }
}
