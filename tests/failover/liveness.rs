//! A dead watch of a running process must end its liveness, and a quiet watch must not.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use sessionkill::api::{ConnectionRef, OceanBaseConnection};
use testbed::arena::{Arena, CONNECTION, Launch, kill_of, session};
use testbed::fault_proxy::{Fault, Rule, StreamFault};

use crate::{eventually, ground};

/// In seconds. It is short, and still long enough that an operator on a busy machine does not look dead.
const WATCH_SECONDS: u32 = 6;
/// After 7 watches of 6 s, the first one is older than the longest allowed silence.
const WATCHES: usize = 7;

/// What is watched, and changed while its watch is dead.
#[derive(Clone, Copy)]
enum Kind {
    Requests,
    Connections,
}

impl Kind {
    const fn watch(self) -> &'static str {
        match self {
            Self::Requests => "watch sessionkills",
            Self::Connections => "watch oceanbaseconnections",
        }
    }

    async fn change(self, arena: &Arena, change: &str) {
        match self {
            // A request that goes on waiting, even when an operator sees it.
            Self::Requests => {
                let mut waiting = kill_of(&[2], 3600).unwrap();
                waiting.connection_ref = ConnectionRef { name: "not-there".into(), ..ConnectionRef::default() };
                arena.request(change, waiting).await.unwrap();
            }
            Self::Connections => {
                let annotated = json!({"metadata": {"annotations": {"example.com/change": change}}});
                let connections = arena.api_of::<OceanBaseConnection>();
                connections.patch(CONNECTION, &PatchParams::default(), &Patch::Merge(annotated)).await.unwrap();
            }
        }
    }
}

/// A proxy accepts watches, passes no event on, and lets them end in time. There is no error, but changes are not seen.
async fn lives_in_silence_and_dies_of_what_it_does_not_hear(name: &str, kind: Kind) {
    let arena = Arena::set(&ground().await, name, vec![session(1), session(2)]).await.unwrap();
    let launch = Launch { watch_seconds: Some(WATCH_SECONDS), ..Launch::default() };
    let replica = arena.start(launch).await.unwrap();
    replica.ready().await.unwrap();
    let status = async |path: &str| replica.asked(path).await.unwrap().status().as_u16();
    let watches = || arena.api.trace().iter().filter(|it| it.kind == kind.watch()).count();
    eventually("watches in which nothing happens", async || {
        assert_eq!(status("/livez").await, 200);
        watches() > WATCHES
    })
    .await;

    let silence = Fault::Stream(StreamFault::Drop(usize::MAX));
    let silent = arena.api.order(Rule::of(silence, kind.watch()));
    silent.reached().await;
    kind.change(&arena, "unseen").await;
    eventually("the end of its life", async || status("/livez").await == 503).await;
    assert_eq!(status("/readyz").await, 200, "its caches are those that were synced");
    let log = replica.operator.logs().unwrap();
    assert!(!log.contains("watch failed"), "the watch reports no error: {log}");

    // In production a restart would help. Here the fault ends.
    silent.release();
    arena.request("request-1", kill_of(&[1], 600).unwrap()).await.unwrap();
    eventually("the kill", async || arena.gateway.kills_per_session().len() == 1).await;
    kind.change(&arena, "seen").await;
    eventually("its life", async || status("/livez").await == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_requests_that_is_dead_ends_the_operators_life_and_a_quiet_one_does_not() {
    lives_in_silence_and_dies_of_what_it_does_not_hear("deaf-to-requests", Kind::Requests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_connections_that_is_dead_ends_the_operators_life_and_a_quiet_one_does_not() {
    lives_in_silence_and_dies_of_what_it_does_not_hear("deaf-to-connections", Kind::Connections).await;
}
