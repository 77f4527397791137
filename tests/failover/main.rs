//! Two replicas of the real binary on a real API server: one works, the other takes over when it dies, stops, freezes or is
//! cut off. Nothing is killed twice and nothing is lost meanwhile, and each says of itself what is so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

mod handover;
mod liveness;
mod standby;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use testbed::arena::Ground;
use testbed::failover::Stage;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

/// Of tests in which a Lease has to end by itself.
const SHORT_LEASE: u16 = 4;
/// Of tests in which it must not: longer than anything in them takes.
const LONG_LEASE: u16 = 60;
/// Far more than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);

/// What all arenas of this process share. Its servers end with the process, in whatever way that ends.
async fn ground() -> Arc<Ground> {
    static SHARED: OnceCell<Arc<Ground>> = OnceCell::const_new();
    let prepare = async || {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failover");
        // What an earlier run left.
        let _ = fs::remove_dir_all(&directory);
        let binary = Path::new(env!("CARGO_BIN_EXE_sessionkill-operator"));
        Arc::new(Ground::prepare(&directory, binary).await.unwrap())
    };
    SHARED.get_or_init(prepare).await.clone()
}

/// A leader and one who stands by, with a gateway that has so many sessions.
async fn stage(name: &str, sessions: usize, lease_seconds: u16) -> Stage {
    Stage::set(&ground().await, name, sessions, lease_seconds).await.unwrap()
}

/// Repeats `check` until it is true.
async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !check().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(POLL).await;
    }
}

/// Waits until all work is done; nothing was killed twice, and whatever is said is so.
async fn assert_all_is_well(stage: &Stage, kills: usize) {
    let verdict = stage.verdict().await.unwrap();
    assert_eq!(verdict.violations, Vec::<String>::new());
    assert_eq!((verdict.kills, verdict.double_kills), (kills, 0));
}
