//! The reasons for which the requests of a load ended.

use std::time::Duration;

use anyhow::Context;
use kube::{Api, Client, api::ListParams};
use sessionkill::api::SessionKill;
use tokio::time::sleep;

use super::plan::{LABEL, NAMESPACE, Plan};

/// An API server under attack may fail once, and the measuring client does not retry.
const LIST_TRIES: u32 = 10;

/// The reasons of all requests of a load in the namespace of most loads. A request that has not ended has the reason for
/// which it waits.
pub(super) async fn of_load(client: Client, plan: &Plan) -> anyhow::Result<Vec<String>> {
    let session_kills: Api<SessionKill> = Api::namespaced(client, NAMESPACE);
    let of_load = ListParams::default().labels(&format!("{LABEL}={}", plan.name));
    let reason = |request: SessionKill| {
        let conditions = request.status.map(|status| status.conditions).unwrap_or_default();
        conditions.into_iter().find(|condition| condition.type_ == "Succeeded").map(|condition| condition.reason)
    };
    let mut tries = LIST_TRIES;
    loop {
        tries -= 1;
        match session_kills.list(&of_load).await {
            Ok(all) => return Ok(all.items.into_iter().filter_map(reason).collect()),
            Err(error) if tries == 0 => return Err(error).context("the requests of the load cannot be listed"),
            Err(_) => sleep(Duration::from_secs(1)).await,
        }
    }
}
