//! Reads what a scene's connection says, and waits for it.

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, Operation};

use super::objects::Shown as _;
use super::{Scene, eventually};

impl Scene {
    /// Edits the connection as a user does.
    pub async fn edit_connection(&self, change: Value) {
        self.patch_connection(Self::CONNECTION, change).await;
    }

    /// The same for the connection of this name.
    pub async fn patch_connection(&self, name: &str, change: Value) {
        let connections: Api<OceanBaseConnection> = self.api();
        connections.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    /// Waits until the connection has `condition`, such as `Ready=True(CallAnswered)`, for its current generation.
    pub async fn wait_for_connection(&self, condition: &str) -> OceanBaseConnection {
        self.wait_until_connection(condition, |connection| connection.summary().iter().any(|said| said == condition))
            .await
    }

    /// Waits until a probe of the connection's current generation was answered.
    pub async fn wait_probed(&self) -> OceanBaseConnection {
        self.wait_until_connection("it was probed", |connection| {
            let status = connection.status.as_ref();
            status.is_some_and(|status| status.last_probe_time.is_some())
        })
        .await
    }

    /// Waits until the connection's status names this operation as the one in use.
    pub async fn wait_for_operation(&self, operation: Operation) -> OceanBaseConnection {
        self.wait_until_connection(operation.as_str(), |connection| {
            connection.status.as_ref().and_then(|status| status.operation) == Some(operation)
        })
        .await
    }

    /// Also waits until the status describes the current generation.
    async fn wait_until_connection(
        &self,
        what: &str,
        check: impl Fn(&OceanBaseConnection) -> bool,
    ) -> OceanBaseConnection {
        eventually(&format!("the connection to say {what}"), async || {
            let connection = self.connection_now().await;
            let observed = connection.status.as_ref().map(|status| status.observed_generation);
            let is_current = observed == connection.metadata.generation;
            if is_current && check(&connection) {
                return Ok(connection);
            }
            Err(format!("of generation {:?}: {}", connection.metadata.generation, json!(connection.status)))
        })
        .await
    }
}
