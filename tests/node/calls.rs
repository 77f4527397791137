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

/// Where requests are whose calls may take long.
pub const SLOW: &str = "slow";
/// What such a call takes: a Deployment has told its first Pod to end long before.
const ANSWER: Duration = Duration::from_secs(25);
const TIMEOUT_SECONDS: u8 = 30;

/// Opens their namespace.
pub async fn open(site: &Site) -> anyhow::Result<()> {
    site.open_namespace(SLOW, &site.stack.gateway_url()).await?;
    let patch = json!({"spec": {"requestTimeoutSeconds": TIMEOUT_SECONDS}}).to_string();
    let patch = ["patch", "oceanbaseconnection", CONNECTION, "-n", SLOW, "--type=merge", "-p", &patch];
    site.stack.control_plane.run_kubectl(&patch).await.map(drop)
}

/// A kill that is done, and not answered yet.
pub struct InFlight {
    /// Of the request, in [`SLOW`].
    pub name: String,
    number: i64,
    /// Who made the call.
    pub leader: Leader,
}

impl InFlight {
    /// Asks for a kill and returns when it is done.
    pub async fn begin(ground: &Ground, name: &str) -> Self {
        let numbers = ground.numbers(1);
        let number = numbers[0];
        let delay = Fault::new(FaultKind::Delay).naming(session_id(number)).after().delayed(ANSWER).times(1);
        ground.site.stack.gateway.inject(delay);
        ground.site.ask(SLOW, name, &numbers).await.unwrap();
        let made = async || if ground.site.kills(&numbers) == [1] { Ok(()) } else { Err("it was not made") };
        eventually("the call", made).await;
        let leader = ground.site.led_by(|_| true).await.unwrap();
        let call = Self { name: name.to_owned(), number, leader };
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
        let request = ground.site.requests(SLOW).get(&self.name).await.unwrap();
        assert!(!is_finished(&request), "{} is no call in flight any more: {:?}", self.name, request.status);
    }

    /// Waits for the end of the request, which says this; its session was killed once.
    pub async fn ended(&self, ground: &Ground, why: &str) {
        let ended = ground.site.ended(SLOW, &self.name).await.unwrap();
        assert_eq!(reason(&ended), why, "{:?}", ended.status);
        assert_eq!(ground.site.kills(&[self.number]), [1], "{}", self.name);
    }
}
