//! Events for people who look at a request with `kubectl describe`. Does I/O in one task of its own, off the path of the
//! kill; best effort: when too many wait, new ones are dropped.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use tokio::sync::mpsc;

use super::api_calls::bounded;
use crate::api::{Notice, Outcome, SessionKill, WaitReason};
use crate::domain::conclusion::{Conclusion, is_goal_reached};
use crate::domain::status::{Waiting, says};
use crate::domain::text::clamp_bytes;

/// The most Events that wait to be written.
const MAX_WAITING: usize = 4096;
/// Between two Events: in a burst, the writes that people wait for come first.
const PAUSE: Duration = Duration::from_millis(20);
/// A recorder keeps all Events of six minutes, to count repetitions, and looks through all of them at each one: in a burst that
/// would be thousands. After so many it is replaced, and a repetition is an Event of its own.
const MAX_KEPT: usize = 64;
/// The API server refuses longer notes.
const MAX_NOTE_BYTES: usize = 1024;

/// The sending end.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<(Event, ObjectReference)>);

impl Events {
    /// Starts the task that writes Events; it ends when the last sender is dropped.
    pub fn start(client: Client, instance: String) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(Event, ObjectReference)>(MAX_WAITING);
        let reporter = Reporter { controller: "sessionkill-operator".to_owned(), instance: Some(instance) };
        tokio::spawn(async move {
            loop {
                let recorder = Recorder::new(client.clone(), reporter.clone());
                for _ in 0..MAX_KEPT {
                    let Some((event, reference)) = receiver.recv().await else { return };
                    if let Err(error) = bounded("write Event", recorder.publish(&event, &reference)).await {
                        tracing::debug!(%error, "event not written");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        Self(sender)
    }

    /// The request ended.
    pub fn ended(&self, object: &SessionKill, conclusion: &Conclusion) {
        let type_ = if is_goal_reached(conclusion.reason) { EventType::Normal } else { EventType::Warning };
        self.send(object, type_, conclusion.reason.as_str(), &conclusion.message);
    }

    /// The request waits; told once for each reason.
    pub fn waiting(&self, object: &SessionKill, why: &Waiting) {
        if !says(object, why.reason) {
            let type_ = if matches!(why.reason, WaitReason::Dispatching | WaitReason::Verifying) {
                EventType::Normal
            } else {
                EventType::Warning
            };
            self.send(object, type_, why.reason.as_str(), &why.message);
        }
    }

    /// The answer named other sessions than were meant.
    pub fn target_mismatch(&self, object: &SessionKill, named: &str) {
        self.send(object, EventType::Warning, Notice::TargetMismatch.as_str(), named);
    }

    /// The request is at its end and stays, although its TTL says otherwise; `why` tells the reason.
    pub fn ttl_ignored(&self, object: &SessionKill, why: &str) {
        self.send(object, EventType::Normal, Notice::TtlIgnored.as_str(), why);
    }

    /// The stored object cannot be read.
    pub fn invalid(&self, reference: ObjectReference, message: &str) {
        self.publish(EventType::Warning, Outcome::InvalidObject.as_str(), message, reference);
    }

    fn send(&self, object: &SessionKill, type_: EventType, reason: &str, message: &str) {
        let note = match &object.spec.reason {
            Some(why) => format!("{message} [{why}]"),
            None => message.to_owned(),
        };
        self.publish(type_, reason, &note, object.object_ref(&()));
    }

    fn publish(&self, type_: EventType, reason: &str, note: &str, reference: ObjectReference) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(clamp_bytes(note, MAX_NOTE_BYTES)),
            action: "KillSessions".to_owned(),
            secondary: None,
        };
        if self.0.try_send((event, reference)).is_err() {
            tracing::debug!(reason, "event dropped: too many wait");
        }
    }
}
