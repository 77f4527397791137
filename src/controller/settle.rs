//! Writes what happened: to the request first, as people wait for it, then to the receipt. Does I/O.
//!
//! Writes are JSON patches that test the object's UID: a re-created object of the same name is never hit, and editors of
//! other fields never conflict. What must not change once written is guarded by the CEL rules of the kinds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams, Request};
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::IgnoredAny;

use super::api_calls::{ApiError, Pauses, bounded, found};
use super::context::Context;
use super::guarded::Guarded;
use crate::api::{SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionKillStatus};

/// The name under which all fields are owned.
pub const FIELD_MANAGER: &str = "sessionkill-operator";

/// What became of the last write of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Written.
    Written,
    /// The object is gone, was re-created, or had ended before.
    Superseded,
    /// The API server refuses to store it; logged.
    Refused,
}

/// Names one object: a namespace, a name, and the UID that tells it from a re-created one.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Target {
    /// Names `object`.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        }
    }
}

/// Writes the final status of a request, for as long as it takes: after a call there is no other way to tell its outcome.
pub async fn settle(context: &Context, target: &Target, status: &SessionKillStatus) -> Settled {
    let mut pauses = Pauses::new();
    let mut status = status.clone();
    let mut refusals = 0;
    loop {
        let error = match write_status::<SessionKill>(&context.client, target, "settle SessionKill", &status).await {
            Ok(()) => return Settled::Written,
            Err(error) if error.is_not_found() => return Settled::Superseded,
            Err(error) => error,
        };
        tracing::warn!(%error, name = target.name, namespace = target.namespace, "outcome not stored yet, trying again");
        if error.is_invalid() {
            match stored(context, target).await {
                Ok(Stored::Ended) => return Settled::Superseded,
                Ok(Stored::Unfinished { start_time }) => {
                    refusals += 1;
                    match refusals {
                        // The watch cache was behind the last report: startTime is write-once.
                        1 => status.start_time = start_time.or(status.start_time),
                        2 => shorten(&mut status),
                        _ => return refused(target, &error),
                    }
                }
                Err(error) => tracing::warn!(%error, name = target.name, "cannot read the request yet"),
            }
        }
        pauses.wait().await;
    }
}

fn refused(target: &Target, error: &ApiError) -> Settled {
    tracing::error!(%error, name = target.name, namespace = target.namespace, "outcome cannot be stored");
    Settled::Refused
}

/// Writes the status of a request that waits, once: it is written again with the next try.
pub async fn report(context: &Context, target: &Target, status: &SessionKillStatus) -> Result<(), ApiError> {
    write_status::<SessionKill>(&context.client, target, "report SessionKill", status).await
}

/// Records the outcome in the receipt, for as long as it takes. Nobody waits for it, so that it waits for its turn.
pub async fn record(context: &Context, receipt: &SessionKillReceipt, record: &SessionKillReceiptStatus) {
    let target = Target::of(receipt);
    let mut pauses = Pauses::new();
    loop {
        // For one try: one that is refused for long must not keep the turn. The semaphore is never closed.
        let turn = context.recording.acquire().await;
        let written = write_record(context, &target, record).await;
        drop(turn);
        match written {
            Ok(()) => return,
            // Gone, or recorded otherwise after its settle deadline: write-once.
            Err(error) if error.is_not_found() || error.is_invalid() => {
                return tracing::warn!(%error, receipt = target.name, "outcome not recorded");
            }
            Err(error) => tracing::warn!(%error, receipt = target.name, "outcome not recorded yet, trying again"),
        }
        pauses.wait().await;
    }
}

/// Writes the record of a receipt once. Refused if there is another one.
pub async fn write_record(
    context: &Context,
    target: &Target,
    record: &SessionKillReceiptStatus,
) -> Result<(), ApiError> {
    write_status::<SessionKillReceipt>(&context.client, target, "record SessionKillReceipt", record).await
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
    // Its own patches hold the status as a tree of values, which would be made and dropped for each of the writes that cost most.
    let empty = Patch::Json::<()>(json_patch::Patch(vec![]));
    let request = request.patch_subresource("status", &target.name, &params, &empty).map_err(kube::Error::BuildRequest);
    let request = request.and_then(|request| {
        let body = serde_json::to_vec(&operations).map_err(kube::Error::SerdeError)?;
        Ok(request.map(|_| body))
    });
    // The answer is the object as stored, which nobody looks at: an `Api` would make one of it.
    bounded(call, async { client.request::<IgnoredAny>(request?).await }).await.map(drop)
}

/// Whether nothing is left to write for a request, whatever a watch that is behind says of it.
pub async fn has_ended(context: &Context, target: &Target) -> Result<bool, ApiError> {
    stored(context, target).await.map(|stored| matches!(stored, Stored::Ended))
}

/// What is stored under the name of a request.
enum Stored {
    /// Nothing, another object, or the request at its end.
    Ended,
    /// The request, not at its end.
    Unfinished { start_time: Option<Time> },
}

async fn stored(context: &Context, target: &Target) -> Result<Stored, ApiError> {
    let requests: Api<Guarded> = Api::namespaced(context.client.clone(), &target.namespace);
    let found = found("read SessionKill", requests.get(&target.name)).await?;
    let Some(object) = found.filter(|object| object.uid().as_ref() == Some(&target.uid)) else {
        return Ok(Stored::Ended);
    };
    let status = object.0.as_ref().ok().and_then(|object| object.status.as_ref());
    if status.is_some_and(|status| status.completion_time.is_some()) {
        return Ok(Stored::Ended);
    }
    Ok(Stored::Unfinished { start_time: status.and_then(|status| status.start_time.clone()) })
}

/// The least that must be stored: outcomes, without anything that came from outside.
fn shorten(status: &mut SessionKillStatus) {
    for session in &mut status.sessions {
        session.observed = None;
        session.error_message.clear();
        session.status.clear();
    }
}
