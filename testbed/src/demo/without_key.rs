//! What shows that the first act needed no access key in the cluster: who made the call, and that there is no Secret.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{Demo, by_api::CONNECTION, identity::caller, say};
use crate::gateway::CallRecord;

impl Demo<'_> {
    /// Fails if the kill was made by anybody but the role, or if there is a Secret.
    pub(super) async fn without_key(&self) -> anyhow::Result<()> {
        self.show_callers()?;
        self.show_secrets().await
    }

    fn show_callers(&self) -> anyhow::Result<()> {
        say("The gateway's ledger: whose token STS took, and as whom the operator then made the call");
        let calls = self.stack.gateway.calls();
        let is_kill = |call: &&CallRecord| call.sessions.iter().any(|session| session.executed);
        let is_issuing = |call: &&CallRecord| call.action.as_deref() == Some("AssumeRoleWithOIDC");
        for call in calls.iter().filter(|call| is_issuing(call) || is_kill(call)) {
            println!("    {}", about_caller(call));
        }
        let made_by = calls.iter().find(is_kill).and_then(|call| call.identity.as_ref());
        let made_by = made_by.context("the ledger does not say who made the call")?;
        let expected = caller(CONNECTION);
        ensure!(*made_by == expected, "expected a call by {expected:?}, it was made by {made_by:?}");
        Ok(())
    }

    /// Those in which Helm keeps its releases are left out.
    async fn show_secrets(&self) -> anyhow::Result<()> {
        say("The cluster has no Secret: no access key could leak, and none has to be rotated");
        let secrets = ["get", "secrets", "--all-namespaces", "--field-selector=type!=helm.sh/release.v1", "-o=yaml"];
        let told = self.told(&secrets).await?;
        ensure!(told.contains("items: []"), "expected no Secret, there are some");
        Ok(())
    }
}

fn about_caller(call: &CallRecord) -> Value {
    json!({"action": call.action, "identity": call.identity, "sessions": call.sessions, "result": call.result})
}
