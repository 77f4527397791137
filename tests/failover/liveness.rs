//! A watch that is dead though the process lives.

use testbed::arena::{Arena, Launch, kill_of, session};
use testbed::fault_proxy::{Fault, Rule, StreamFault};

use crate::{eventually, ground};

/// The shortest. Then five times as long is the longest silence.
const WATCH_SECONDS: u32 = 3;
/// Watches that have ended one after the other by then are older than that.
const WATCHES: usize = 8;

/// Something on the way accepts watches and passes nothing on: there is no error, and what happens is not seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_in_which_nothing_happens_is_live_and_one_of_which_nothing_arrives_is_not() {
    let arena = Arena::set(&ground().await, "silent-watch", vec![session(1)]).await.unwrap();
    let launch = Launch { watch_seconds: Some(WATCH_SECONDS), ..Launch::default() };
    let replica = arena.start(launch).await.unwrap();
    replica.ready().await.unwrap();
    let status = async |path: &str| replica.asked(path).await.unwrap().status().as_u16();
    let watches = || arena.api.trace().iter().filter(|it| it.kind == "watch sessionkills").count();
    eventually("watches in which nothing happens", async || {
        assert_eq!(status("/livez").await, 200);
        watches() > WATCHES
    })
    .await;

    let silence = Fault::Stream(StreamFault::Drop(usize::MAX));
    let silent = arena.api.order(Rule::of(silence, "watch sessionkills"));
    silent.reached().await;
    eventually("the end of its life", async || status("/livez").await == 503).await;
    assert_eq!(status("/readyz").await, 200, "its caches are those that were synced");
    let log = replica.operator.logs().unwrap();
    assert!(!log.contains("watch failed"), "the watch reports no error: {log}");

    // What a restart does for it, the end of the fault does here.
    silent.release();
    eventually("its life", async || status("/livez").await == 200).await;
    arena.request("request-1", kill_of(&[1], 600).unwrap()).await.unwrap();
    eventually("the kill", async || arena.unfinished().await.unwrap().is_empty()).await;
    assert_eq!(arena.verdict().await.unwrap().kills, 1);
}
