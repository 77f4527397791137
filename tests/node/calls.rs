//! Calls that are in flight when their operator is told to end, or dies.

use std::time::Duration;

use serde_json::json;
use testbed::{
    arena::{CONNECTION, is_finished, session_id},
    gateway::{Fault, FaultKind},
    site::{Leader, Site, reason},
    stack::NAMESPACE,
};

use crate::ground::{Ground, eventually};

/// Where requests are.
pub struct Place {
    /// Their namespace.
    pub namespace: &'static str,
    /// How long a call may take.
    timeout_seconds: u8,
    /// For how long the operator looks whether a session is gone.
    verified_seconds: i32,
}

/// Where a call may take as long as a rollout.
pub const SLOW: Place = Place { namespace: "slow", timeout_seconds: 60, verified_seconds: 11 };
/// Where it dies in time with whoever made it. What became of it is known when the longest call would be over.
pub const STRUCK: Place = Place { namespace: "struck", timeout_seconds: 30, verified_seconds: 5 };
/// The same, and it is known soon: as long as it is not, a node stays cut off.
pub const BRIEF: Place = Place { namespace: "brief", timeout_seconds: 5, verified_seconds: 1 };
/// What a call takes that is not answered on demand.
const ANSWER: Duration = Duration::from_secs(55);

/// Opens their namespaces.
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
    /// Asks for kills there.
    pub async fn ask(&self, ground: &Ground, name: &str, numbers: &[i64]) {
        ground.site.ask_briefly(self.namespace, name, numbers, self.verified_seconds).await.unwrap();
    }
}

/// A kill that is done, and not answered yet.
pub struct InFlight {
    /// Of the request.
    pub name: String,
    place: Place,
    number: i64,
    /// Who made the call.
    pub leader: Leader,
}

impl InFlight {
    /// Asks for a kill there and returns when it is done.
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

    /// Lets the leader's Pod be the first that is told to end when a Deployment needs fewer of its kind. It must not stay: a
    /// later leader would not be alone in that.
    pub async fn leader_goes_first(&self, ground: &Ground) {
        let cost = "controller.kubernetes.io/pod-deletion-cost=-1";
        ground.kubectl(&["annotate", "pod", "-n", NAMESPACE, &self.leader.pod, cost]).await;
    }

    /// Waits until the leader's Pod is told to end, which must be before the answer.
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

    /// The call is still in flight, as far as its request says.
    pub async fn is_unfinished(&self, ground: &Ground) {
        let request = ground.site.requests(self.place.namespace).get(&self.name).await.unwrap();
        assert!(!is_finished(&request), "{} is no call in flight any more: {:?}", self.name, request.status);
    }

    /// Lets it have its answer now.
    pub fn answer(&self, ground: &Ground) {
        ground.site.stack.gateway.end_delay(session_id(self.number));
    }

    /// Waits for the end of the request, which says this; its session was killed once.
    pub async fn ended(&self, ground: &Ground, why: &str) {
        let ended = ground.site.ended(self.place.namespace, &self.name).await.unwrap();
        assert_eq!(reason(&ended), why, "{:?}", ended.status);
        assert_eq!(ground.site.kills(&[self.number]), [1], "{}", self.name);
    }
}
