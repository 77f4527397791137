//! The first act: a session that is ended by the API, through the gateway.

use anyhow::ensure;
use serde_json::json;

use super::{Demo, say};

/// The connection of this act.
pub(super) const CONNECTION: &str = "prod-ob";

impl Demo<'_> {
    pub(super) async fn by_api(&self) -> anyhow::Result<()> {
        let (session_id, client) = self.open_session("client.log").await?;
        self.apply_connection().await?;

        say("A DBA asks for the end of that session, provided that it still runs a query of that user");
        let request = self.request("inc-4711", (CONNECTION, self.stack.instance(), self.stack.tenant()), session_id)?;
        self.apply_request(&request).await?;
        client.assert_lost().await?;
        self.show_status("inc-4711", "SessionsKilled").await?;

        say("A GitOps tool deletes the request and applies it again");
        self.kubectl(&["delete", "sessionkill", "inc-4711"]).await?;
        self.apply_request(&request).await?;
        self.show_status("inc-4711", "AlreadyExecuted").await?;

        let kills: u32 = self.stack.gateway.kills_per_session().values().sum();
        say(&format!("Kills executed by the gateway, in all: {kills}"));
        ensure!(kills == 1, "expected one kill, the gateway executed {kills}");
        Ok(())
    }

    async fn apply_connection(&self) -> anyhow::Result<()> {
        say(self.identity.told());
        let mut objects = self.identity.objects(self.stack.access_key());
        objects.push(json!({
            "apiVersion": "sessionkill.dev/v1alpha1",
            "kind": "OceanBaseConnection",
            "metadata": {"name": CONNECTION},
            "spec": {
                "alibabaCloud": {
                    "regionID": "cn-hangzhou",
                    "endpoint": self.stack.gateway_url(),
                    "credentials": self.identity.credentials(),
                },
            },
        }));
        self.apply("connection.yaml", &json!({"apiVersion": "v1", "kind": "List", "items": objects})).await?;
        for words in self.identity.shown_by(CONNECTION) {
            self.kubectl(&words.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        // The operator probes the gateway: does it accept the access key? A probe ends no session.
        let connection = format!("oceanbaseconnection/{CONNECTION}");
        self.kubectl(&["wait", &connection, "--for=condition=Ready", "--timeout=60s"]).await?;
        self.kubectl(&["get", "oceanbaseconnection", CONNECTION]).await
    }
}
