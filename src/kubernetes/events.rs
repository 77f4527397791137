//! Writes Events, for people who use `kubectl describe`. Does I/O in its own task, so that no kill waits. Best effort:
//! namespaces take turns, and if too many Events wait, the namespace with the most loses its last one.
//!
//! kube's `Recorder` takes twice the processor time of any other write here: it parses each answer, and keeps and
//! searches all Events that it wrote, even unique ones. It also fails if the object's name has almost the maximum
//! length.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams, Request};
use kube::{Client, Resource as _};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::Notify;

use crate::api::{Notice, Outcome, SessionKill, WaitReason};
use crate::domain::kill::conclusion::{Conclusion, is_goal_reached};
use crate::domain::kill::status::{Waiting, says};
use crate::domain::text::clamp_bytes;
use crate::kubernetes::calls::{ApiError, bounded};
use crate::kubernetes::fair::FairQueue;
use crate::kubernetes::status_patch::FIELD_MANAGER;
use crate::metrics::Metrics;

/// The most Events that wait.
const MAX_WAITING: usize = 4096;
/// The pause per Event before the next write: in a burst, the writes that people wait for come first.
const PAUSE: Duration = Duration::from_millis(20);
/// The most Events written at once. Parallel writes take less processor time than sequential ones, but they delay the
/// writes that people wait for.
const MAX_AT_ONCE: usize = 2;
/// The most Events remembered to count repetitions; beyond that, a repetition becomes a new Event.
const MAX_KEPT: usize = 64;
/// The API server's limit for a note.
const MAX_NOTE_BYTES: usize = 1024;
/// An Event's name is the object's name plus the time, and a name may have at most 253 bytes.
const MAX_NAME_BYTES: usize = 230;
/// The controller shown by `kubectl get events -o wide`.
const CONTROLLER: &str = "sessionkill-operator";

/// The sending side.
#[derive(Clone)]
pub struct Events(Arc<Backlog>);

struct Backlog {
    /// The waiting Events, by namespace.
    queue: Mutex<FairQueue<Told>>,
    filled: Notify,
    metrics: Arc<Metrics>,
}

/// One Event to write.
#[derive(Debug)]
struct Told {
    level: Level,
    reason: &'static str,
    note: String,
    regarding: ObjectReference,
    /// Whether this Event may occur again for the same object.
    can_repeat: bool,
}

#[derive(Clone, Copy, Debug)]
enum Level {
    Normal,
    Warning,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl Events {
    /// Starts the task that writes Events; it runs until the process ends.
    pub fn start(client: Client, instance: String, metrics: Arc<Metrics>) -> Self {
        let (queue, filled) = (Mutex::new(FairQueue::new(MAX_WAITING)), Notify::new());
        let backlog = Arc::new(Backlog { queue, filled, metrics });
        let mut writer = Writer { client, instance, kept: HashMap::new() };
        let reading = backlog.clone();
        tokio::spawn(async move {
            loop {
                let told = reading.next().await;
                let count = u32::try_from(told.len()).unwrap_or(u32::MAX);
                tokio::time::sleep(PAUSE.saturating_mul(count)).await;
                writer.write_all(told).await;
            }
        });
        Self(backlog)
    }

    /// The request ended.
    pub fn ended(&self, object: &SessionKill, conclusion: &Conclusion) {
        let is_wanted = is_goal_reached(conclusion.reason) || conclusion.reason == Outcome::Deleted;
        let level = if is_wanted { Level::Normal } else { Level::Warning };
        self.send(object, level, conclusion.reason.as_str(), &conclusion.message, false);
    }

    /// The request waits. Sent once per reason.
    pub fn waiting(&self, object: &SessionKill, why: &Waiting) {
        if !says(object, why.reason) {
            let level = if matches!(why.reason, WaitReason::Dispatching | WaitReason::Verifying) {
                Level::Normal
            } else {
                Level::Warning
            };
            self.send(object, level, why.reason.as_str(), &why.message, true);
        }
    }

    /// The answer named another user, database or client than was meant.
    pub fn target_mismatch(&self, object: &SessionKill, named: &str) {
        self.send(object, Level::Warning, Notice::TargetMismatch.as_str(), named, false);
    }

    /// The request ended, and its status cannot be stored.
    pub fn not_stored(&self, object: &SessionKill, conclusion: &Conclusion) {
        let note = format!(
            "the API server does not store the outcome, {}: make the object smaller; its receipt and the audit line have it",
            conclusion.reason.as_str()
        );
        self.send(object, Level::Warning, Notice::StatusNotStored.as_str(), &note, true);
    }

    /// The finished request is kept in spite of its TTL; `why` gives the reason.
    pub fn ttl_ignored(&self, object: &SessionKill, why: &str) {
        self.send(object, Level::Normal, Notice::TtlIgnored.as_str(), why, true);
    }

    /// The stored object cannot be read.
    pub fn invalid(&self, regarding: ObjectReference, message: &str) {
        let (level, reason) = (Level::Warning, Outcome::InvalidObject.as_str());
        self.publish(Told { level, reason, note: message.to_owned(), regarding, can_repeat: true });
    }

    fn send(&self, object: &SessionKill, level: Level, reason: &'static str, message: &str, can_repeat: bool) {
        let note = match &object.spec.reason {
            Some(why) => format!("{message} [{why}]"),
            None => message.to_owned(),
        };
        self.publish(Told { level, reason, note, regarding: object.object_ref(&()), can_repeat });
    }

    fn publish(&self, mut told: Told) {
        told.note = clamp_bytes(&told.note, MAX_NOTE_BYTES);
        let reason = told.reason;
        let namespace = told.regarding.namespace.clone().unwrap_or_default();
        let one_is_dropped = self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).push(&namespace, told);
        if one_is_dropped {
            self.0.metrics.event_dropped();
            tracing::debug!(reason, "event dropped: too many wait");
        }
        self.0.filled.notify_one();
    }
}

impl Backlog {
    /// Waits for the next Events: at least one, at most [`MAX_AT_ONCE`].
    async fn next(&self) -> Vec<Told> {
        loop {
            let told: Vec<Told> = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                std::iter::from_fn(|| queue.pop()).take(MAX_AT_ONCE).collect()
            };
            if !told.is_empty() {
                return told;
            }
            self.filled.notified().await;
        }
    }
}

/// The receiving side.
struct Writer {
    client: Client,
    /// This process.
    instance: String,
    /// Recent Events that may occur again, by object UID and reason.
    kept: HashMap<(String, &'static str), Written>,
}

/// An Event that is stored, unless it has expired since.
struct Written {
    name: String,
    count: i32,
}

impl Writer {
    /// Writes unique Events in parallel, then the repeatable ones in order.
    async fn write_all(&mut self, told: Vec<Told>) {
        let (repeating, once): (Vec<Told>, Vec<Told>) = told.into_iter().partition(|told| told.can_repeat);
        for written in join_all(once.into_iter().map(|told| self.create(told))).await {
            log_failure(written);
        }
        for told in repeating {
            log_failure(self.write_or_count(told).await);
        }
    }

    /// Writes an Event, or counts a repetition in the stored one.
    async fn write_or_count(&mut self, told: Told) -> Result<(), ApiError> {
        let key = (told.regarding.uid.clone().unwrap_or_default(), told.reason);
        if let Some(mut written) = self.kept.remove(&key) {
            written.count = written.count.saturating_add(1);
            match self.count(&told, &written).await {
                // The stored Event expired or was deleted.
                Err(error) if error.is_not_found() => {}
                counted => {
                    self.kept.insert(key, written);
                    return counted;
                }
            }
        }
        let name = self.create(told).await?;
        if self.kept.len() >= MAX_KEPT {
            self.kept.clear();
        }
        self.kept.insert(key, Written { name, count: 1 });
        Ok(())
    }

    /// Writes a new Event and returns its name.
    async fn create(&self, told: Told) -> Result<String, ApiError> {
        let now = Timestamp::now();
        let name = event_name(told.regarding.name.as_deref().unwrap_or(CONTROLLER), now);
        let namespace = told.regarding.namespace.clone();
        let event = Event {
            metadata: ObjectMeta { name: Some(name.clone()), namespace: namespace.clone(), ..ObjectMeta::default() },
            event_time: Some(MicroTime(now)),
            type_: Some(told.level.as_str().to_owned()),
            reason: Some(told.reason.to_owned()),
            action: Some("KillSessions".to_owned()),
            note: Some(told.note),
            regarding: Some(told.regarding),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let event = serde_json::to_vec(&event).unwrap_or_default();
        let request = Request::new(Event::url_path(&(), namespace.as_deref())).create(&params, event);
        self.send(request).await?;
        Ok(name)
    }

    /// Updates the count in the first Event.
    async fn count(&self, told: &Told, written: &Written) -> Result<(), ApiError> {
        let series = json!({"series": {"count": written.count, "lastObservedTime": MicroTime(Timestamp::now())}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let request = Request::new(Event::url_path(&(), told.regarding.namespace.as_deref()));
        self.send(request.patch(&written.name, &params, &Patch::Merge(series))).await
    }

    async fn send(&self, request: Result<http::Request<Vec<u8>>, kube::core::request::Error>) -> Result<(), ApiError> {
        let request = request.map_err(kube::Error::BuildRequest);
        bounded("write Event", async { self.client.request::<IgnoredAny>(request?).await }).await.map(drop)
    }
}

fn log_failure<T>(written: Result<T, ApiError>) {
    if let Err(error) = written {
        tracing::debug!(%error, "event not written");
    }
}

fn event_name(object: &str, now: Timestamp) -> String {
    // Names are ASCII, and a part of a name must not end with a dot or a hyphen.
    let object = &object[..object.floor_char_boundary(MAX_NAME_BYTES)];
    format!("{}.{:x}", object.trim_end_matches(['.', '-']), now.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_an_object_with_a_long_name_has_a_name_that_is_valid() {
        let now: Timestamp = "2026-10-05T10:00:00.123456789Z".parse().unwrap();
        assert_eq!(event_name("inc-1", now), format!("inc-1.{:x}", now.as_nanosecond()));
        let long = event_name(&format!("{}--.{}", "a".repeat(MAX_NAME_BYTES - 2), "b".repeat(20)), Timestamp::MAX);
        assert!(long.len() <= 253 && long.starts_with(&format!("{}.", "a".repeat(MAX_NAME_BYTES - 2))), "{long}");
    }
}
