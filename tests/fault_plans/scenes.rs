//! The scenes: what a kill meets besides the fault of its plan.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::pending;
use jiff::Timestamp;
use kube::api::DeleteParams;
use serde_json::json;
use sessionkill::api::{SessionKill, SessionKillSpec};
use testbed::arena::{kill_of, session, session_id};
use testbed::fault_proxy::{At, Fault, Rule};
use testbed::gateway::{Fault as GatewayFault, FaultKind, Session};
use tokio::time::sleep;

use crate::permitted::Struck;
use crate::plan::{Plan, Scene};
use crate::stage::{LATER, POLL, REFUSED, REQUEST, Stage};

/// The dispatch window of the throttled kill, in seconds. It leaves time for a second call under the claim, even on a
/// slow machine.
pub const WINDOW_OF_THROTTLED: u16 = 12;

/// How many seconds the kill of the scene `PutBack` has. A slow machine can make the kill in this time.
const TIME_OF_PUT_BACK: i64 = 45;

impl Stage {
    /// Plays `plan` in its scene.
    pub async fn act(&self, plan: &Plan) -> Struck {
        if self.scene == Scene::Throttled {
            let throttled = |pause| GatewayFault::new(FaultKind::Throttle).retry_after(pause).on_kills().times(1);
            self.arena.gateway.inject(throttled(Duration::ZERO));
            self.arena.gateway.inject(throttled(Duration::from_secs(WINDOW_OF_THROTTLED.into())));
        }
        if self.scene == Scene::Shared {
            let refusal = GatewayFault::new(FaultKind::Error).answering(400, "InvalidParameter");
            self.arena.gateway.inject(refusal.naming(session_id(REFUSED)).on_kills());
            // Both requests exist when the operators start, so they share a call.
            self.arena.request("refused", kill_of(&[REFUSED], 600).unwrap()).await.unwrap();
        }
        if self.scene == Scene::PutBack {
            self.kill_before().await;
        }
        if self.scene == Scene::Chosen {
            self.choose();
        }
        if self.scene == Scene::Unreachable {
            // Poll the plan first, so that its fault comes first.
            return tokio::select! {
                biased;
                struck = self.act_out(plan) => struck,
                never = self.unreachable() => never,
            };
        }
        self.act_out(plan).await
    }

    /// The request chooses the two sessions that are of its user.
    fn choose(&self) {
        let other = Session { user: "app".into(), ..session(REFUSED) };
        self.arena.gateway.set_sessions(vec![session(1), session(2), other]).unwrap();
        let selector = json!({"match": {"users": ["report_ro"], "minExecutionSeconds": 60}, "maxSessions": 2});
        let selector = serde_json::from_value(selector).unwrap();
        let spec = SessionKillSpec { sessions: vec![], selector: Some(selector), ..kill_of(&[], 600).unwrap() };
        self.asked.set(spec).unwrap();
    }

    /// Another session is as the selector says.
    pub async fn one_more_matches(&self) {
        let mut sessions = self.arena.gateway.sessions().await.unwrap();
        sessions.push(session(LATER));
        self.arena.gateway.set_sessions(sessions).unwrap();
    }

    /// An operator makes the kill and is killed. Then the request is deleted. Returns when it is too late to create it
    /// again in time.
    async fn kill_before(&self) {
        let spec = kill_of(&[1, 2, 3], TIME_OF_PUT_BACK).unwrap();
        let not_after = self.asked.get_or_init(|| spec).not_after_time.0;
        self.ask().await;
        let operator = self.arena.start(self.launch).await.unwrap();
        self.all_is_done().await;
        operator.operator.kill();
        self.arena.api_of::<SessionKill>().delete(REQUEST, &DeleteParams::default()).await.unwrap();
        while Timestamp::now() <= not_after {
            sleep(POLL).await;
        }
        for (proxy, before) in [&self.arena.api, &self.arena.calls].into_iter().zip(&self.before) {
            before.store(proxy.trace().len(), Ordering::Relaxed);
        }
    }

    /// Nothing listens at the gateway, from the claim until the request says so.
    async fn unreachable(&self) -> Struck {
        // Holds the claims of all operators: none of them may call before the gateway is unreachable.
        let claimed = self.arena.api.order(Rule::of(Fault::Hold(At::Answer), "create sessionkillreceipts"));
        claimed.reached().await;
        self.arena.calls.shut().await;
        claimed.release();
        while !self.says("EndpointUnreachable").await && !self.is_struck.load(Ordering::Relaxed) {
            sleep(POLL).await;
        }
        self.arena.calls.reopen();
        pending().await
    }

    async fn says(&self, reason: &str) -> bool {
        let status = self.found(REQUEST).await.status.unwrap_or_default();
        status.completion_time.is_some() || status.conditions.iter().any(|condition| condition.reason == reason)
    }
}
