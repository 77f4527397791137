//! The shipped examples, adapted to an arena.

use anyhow::Context;
use serde_json::{Value, json};
use sessionkill::api::SessionKillSpec;

use super::{
    namespace::Arena,
    sessions::{INSTANCE, SERVER_IP, TENANT, kill_of, session_id},
};
use crate::manifests;

impl Arena {
    /// The shipped connection in this file, pointed at the arena's gateway.
    pub fn example_connection(&self, file: &str) -> anyhow::Result<Value> {
        let mut connection = first(file)?;
        let spec = &mut connection["spec"];
        spec["alibabaCloud"]["endpoint"] = self.gateway.url().into();
        spec["alibabaCloud"]["instanceIDs"] = json!([INSTANCE]);
        spec["tenantIDs"] = json!([TENANT]);
        Ok(connection)
    }
}

/// The shipped request in this file, for the session `number`. Its `notAfterTime` is `seconds` from now. Its `expect`
/// and everything else is as shipped.
pub fn example_request(file: &str, number: i64, seconds: i64) -> anyhow::Result<Value> {
    let mut request = first(file)?;
    let spec = &mut request["spec"];
    spec["instanceID"] = INSTANCE.into();
    spec["tenantID"] = TENANT.into();
    spec["sessions"][0]["serverIP"] = SERVER_IP.into();
    spec["sessions"][0]["sessionID"] = session_id(number).into();
    spec["notAfterTime"] = serde_json::to_value(kill_of(&[number], seconds)?.not_after_time)?;
    Ok(request)
}

/// A request as a manifest, with this metadata and this name.
#[must_use]
pub fn manifest(name: &str, metadata: &Value, spec: &SessionKillSpec) -> Value {
    let mut object = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill", "metadata": metadata, "spec": spec,
    });
    object["metadata"]["name"] = name.into();
    object
}

fn first(file: &str) -> anyhow::Result<Value> {
    manifests::read(file)?.into_iter().next().with_context(|| format!("{file} is empty"))
}
