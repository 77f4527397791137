//! Counts the calls that reached the gateway and the requests that reached the API server.

use std::collections::BTreeMap;

use testbed::control_plane::Request as Asked;
use testbed::gateway::CallRecord;

use super::{Scene, eventually};

impl Scene {
    /// The calls that used a kill operation without naming a session.
    pub fn probes(&self) -> Vec<CallRecord> {
        let is_probe = |call: &CallRecord| call.sessions.is_empty() && !is_list(call);
        self.gateway().calls().into_iter().filter(is_probe).collect()
    }

    /// The reads of the process list.
    pub fn list_reads(&self) -> Vec<CallRecord> {
        self.gateway().calls().into_iter().filter(is_list).collect()
    }

    /// Waits until a call that named the session `number` was answered, and returns the result.
    pub async fn wait_answered(&self, number: i64) -> String {
        eventually(&format!("an answer to a call for session {number}"), async || {
            let calls = self.calls_for(number);
            calls.first().and_then(|call| call.result.clone()).ok_or_else(|| format!("{calls:?}"))
        })
        .await
    }

    /// How many requests of each kind the operators that run as the scene's own account made to the API server, as its
    /// audit log shows.
    pub fn own_requests(&self) -> BTreeMap<Asked, u64> {
        let user = format!("system:serviceaccount:{}:{}", self.namespace, Self::OWN_ACCOUNT);
        self.cluster.control_plane.requests_by_verb(&user).unwrap()
    }

    /// Waits until operators that run as the scene's own account have made `times` more sweeps. In that time they could
    /// have done other work too, so a test can check that they did not.
    pub async fn wait_swept(&self, times: u64) {
        let swept = || self.own_requests().get(&Asked::new("list", "sessionkillreceipts", "")).copied().unwrap_or(0);
        let wanted = swept() + times;
        eventually("sweeps", async || {
            let swept = swept();
            if swept >= wanted { Ok(()) } else { Err(format!("{swept} of {wanted}")) }
        })
        .await;
    }
}

fn is_list(call: &CallRecord) -> bool {
    call.action.as_deref() == Some("DescribeProcessStatsComposition")
}

/// The action and the result of each call.
pub fn results(calls: &[CallRecord]) -> Vec<(&str, &str)> {
    calls.iter().map(|call| (call.action.as_deref().unwrap_or(""), call.result.as_deref().unwrap_or(""))).collect()
}
