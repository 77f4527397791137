//! Reads what a scene's objects say, and waits for it.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use serde_json::json;
use sessionkill::api::{SessionKill, SessionKillReceipt, SessionKillReceiptStatus};

use super::Scene;
use super::eventually;
use super::objects::Request as _;

/// Waits until `check` returns a value for the request `name` among `requests`, and returns that value.
pub(super) async fn wait_for<T>(
    requests: &Api<SessionKill>,
    name: &str,
    what: &str,
    check: impl Fn(&SessionKill) -> Option<T>,
) -> T {
    eventually(&format!("SessionKill {name} {what}"), async || {
        let object = requests.get(name).await.map_err(|error| error.to_string())?;
        check(&object).ok_or_else(|| format!("its status is {}", json!(object.status)))
    })
    .await
}

impl Scene {
    /// Waits until `check` returns a value for the request, and returns that value.
    pub async fn wait_for<T>(&self, name: &str, what: &str, check: impl Fn(&SessionKill) -> Option<T>) -> T {
        wait_for(&self.requests(), name, what, check).await
    }

    /// Waits until the request has ended.
    pub async fn wait_finished(&self, name: &str) -> SessionKill {
        self.wait_for(name, "to end", |object| object.is_finished().then(|| object.clone())).await
    }

    /// Waits until the `Succeeded` condition of the request has `reason`, while it waits or at its end.
    pub async fn wait_for_reason(&self, name: &str, reason: &str) -> SessionKill {
        let what = format!("to say {reason}");
        self.wait_for(name, &what, |object| (object.reason() == reason).then(|| object.clone())).await
    }

    /// Waits for an Event of the object `name` with `reason`, and returns its note.
    pub async fn wait_for_event(&self, name: &str, reason: &str) -> String {
        eventually(&format!("an Event {reason} of {name}"), async || {
            let events = self.events().await;
            let found = events.iter().find(|event| {
                let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
                regarding == Some(name) && event.reason.as_deref() == Some(reason)
            });
            found.map(|event| event.note.clone().unwrap_or_default()).ok_or_else(|| json!(events).to_string())
        })
        .await
    }

    /// Waits until the receipt of the request `name` has its record.
    pub async fn wait_recorded(&self, name: &str) -> SessionKillReceiptStatus {
        eventually(&format!("the record of {name}"), async || {
            let receipts = self.receipts().await;
            let found = receipts.iter().find(|receipt| receipt.spec.session_kill_ref.name == name);
            found.and_then(|receipt| receipt.status.clone()).ok_or_else(|| json!(receipts).to_string())
        })
        .await
    }

    /// Waits until there is no receipt, and so no claim.
    pub async fn wait_unclaimed(&self) {
        eventually("no claim", async || {
            let receipts = self.receipts().await;
            if receipts.is_empty() { Ok(()) } else { Err(json!(receipts).to_string()) }
        })
        .await;
    }

    /// The receipt, of which there must be exactly one.
    pub async fn receipt(&self) -> SessionKillReceipt {
        let mut receipts = self.receipts().await;
        assert_eq!(receipts.len(), 1, "{}", json!(receipts));
        receipts.remove(0)
    }

    /// All receipts.
    pub async fn receipts(&self) -> Vec<SessionKillReceipt> {
        self.list().await
    }

    /// All Events.
    pub async fn events(&self) -> Vec<Event> {
        self.list().await
    }

    pub(super) async fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned,
        K: std::fmt::Debug,
    {
        all(&self.api()).await
    }
}

/// All objects of a kind. An API server that has just started refuses lists until it has read the kind (429).
pub(super) async fn all<K>(of: &Api<K>) -> Vec<K>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let list = async || of.list(&ListParams::default()).await.map_err(|error| error.to_string());
    eventually("a list", list).await.items
}
