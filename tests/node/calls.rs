//! Calls that are in flight when their operator is told to stop, or dies.

use std::time::Duration;

use serde_json::json;
use testbed::{
    arena::{CONNECTION, is_finished, session_id},
    gateway::{Fault, FaultKind},
    site::{Leader, Site, reason},
    stack::NAMESPACE,
};

use crate::ground::{Ground, eventually};

/// A namespace for requests, with the time-outs of its calls.
pub struct Place {
    /// Their namespace.
    pub namespace: &'static str,
    /// The time-out of a call, in seconds.
    timeout_seconds: u8,
    /// The time-out of the verification, in seconds.
    verified_seconds: i32,
}

/// Here a call may take as long as a rollout: up to 60 s.
pub const SLOW: Place = Place { namespace: "slow", timeout_seconds: 60, verified_seconds: 11 };
/// Here a call ends with the operator that made it. The outcome is known when the call's time-out of 30 s is over.
pub const STRUCK: Place = Place { namespace: "struck", timeout_seconds: 30, verified_seconds: 5 };
/// The same with a time-out of 5 s, for a quick outcome: a node stays cut off until the outcome is known.
pub const BRIEF: Place = Place { namespace: "brief", timeout_seconds: 5, verified_seconds: 1 };
/// How long the gateway delays an answer that a test does not ask for earlier.
const ANSWER: Duration = Duration::from_secs(55);

/// Creates these namespaces with their connections.
pub async fn open(site: &Site) -> anyhow::Result<()> {
    for place in [SLOW, STRUCK, BRIEF] {
        site.open_namespace(place.namespace, &site.stack.gateway_url()).await?;
        let patch = json!({"spec": {"requestTimeoutSeconds": place.timeout_seconds}}).to_string();
        let patch = ["patch", "oceanbaseconnection", CONNECTION, "-n", place.namespace, "--type=merge", "-p", &patch];
        site.stack.control_plane.run_kubectl(&patch).await?;
    }
    Ok(())
}

impl Place {
    /// Creates a request for these sessions.
    pub async fn ask(&self, ground: &Ground, name: &str, numbers: &[i64]) {
        ground.site.ask_briefly(self.namespace, name, numbers, self.verified_seconds).await.unwrap();
    }
}

/// A kill that was executed and is not answered yet.
pub struct InFlight {
    /// The name of the request.
    pub name: String,
    place: Place,
    number: i64,
    /// The operator that made the call.
    pub leader: Leader,
}

impl InFlight {
    /// Creates a request and returns when its kill was executed.
    pub async fn begin(ground: &Ground, place: Place, name: &str) -> Self {
        let numbers = ground.numbers(1);
        let number = numbers[0];
        let delay = Fault::new(FaultKind::Delay).naming(session_id(number)).after().delayed(ANSWER).times(1);
        ground.site.stack.gateway.inject(delay);
        place.ask(ground, name, &numbers).await;
        let made = async || if ground.site.kills(&numbers) == [1] { Ok(()) } else { Err("it was not made") };
        eventually("the call", made).await;
        let leader = ground.site.led_by(|_| true).await.unwrap();
        let call = Self { name: name.to_owned(), place, number, leader };
        call.is_unfinished(ground).await;
        call
    }

    /// Makes the leader's Pod the first one to be removed when a Deployment scales down. The Pod must not stay: a later
    /// leader would get the annotation as well, and the first would not be the only one.
    pub async fn leader_goes_first(&self, ground: &Ground) {
        let cost = "controller.kubernetes.io/pod-deletion-cost=-1";
        ground.kubectl(&["annotate", "pod", "-n", NAMESPACE, &self.leader.pod, cost]).await;
    }

    /// Waits until the leader's Pod is told to stop. This must happen before the answer.
    pub async fn leader_is_told_to_end(&self, ground: &Ground) {
        eventually("the leader's Pod to be told to end", async || {
            let pods = ground.pods().await;
            let own = pods.iter().find(|pod| pod["metadata"]["name"] == self.leader.pod.as_str());
            let own = own.ok_or("it is gone")?;
            if own["metadata"]["deletionTimestamp"].is_null() { Err("it was not told") } else { Ok(()) }
        })
        .await;
        self.is_unfinished(ground).await;
    }

    /// Checks that the request has not ended, so that the call is still in flight.
    pub async fn is_unfinished(&self, ground: &Ground) {
        let request = ground.site.requests(self.place.namespace).get(&self.name).await.unwrap();
        assert!(!is_finished(&request), "{} is no call in flight any more: {:?}", self.name, request.status);
    }

    /// Lets the gateway answer now.
    pub fn answer(&self, ground: &Ground) {
        ground.site.stack.gateway.end_delay(session_id(self.number));
    }

    /// Waits for the end of the request. Its reason must be `why`, and its session must have been killed once.
    pub async fn ended(&self, ground: &Ground, why: &str) {
        let ended = ground.site.ended(self.place.namespace, &self.name).await.unwrap();
        assert_eq!(reason(&ended), why, "{:?}", ended.status);
        assert_eq!(ground.site.kills(&[self.number]), [1], "{}", self.name);
    }
}
