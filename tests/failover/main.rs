//! Two replicas of the real binary on a real API server. One works, and the other takes over when the first dies,
//! stops, freezes or is cut off. Meanwhile nothing is killed twice and nothing is lost, and each replica reports its
//! role correctly.

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

/// The duration of the Lease in seconds, for tests in which it must expire.
const SHORT_LEASE: u16 = 4;
/// The same for tests in which it must not expire: longer than the test.
const LONG_LEASE: u16 = 60;
/// Far longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(100);

/// What all arenas of this process share. Its servers end with the process, however it ends.
async fn ground() -> Arc<Ground> {
    static SHARED: OnceCell<Arc<Ground>> = OnceCell::const_new();
    let prepare = async || {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failover");
        // Remove the files of an earlier run.
        let _ = fs::remove_dir_all(&directory);
        let binary = Path::new(env!("CARGO_BIN_EXE_sessionkill-operator"));
        Arc::new(Ground::prepare(&directory, binary).await.unwrap())
    };
    SHARED.get_or_init(prepare).await.clone()
}

/// A leader and a standby, with a gateway that has `sessions` sessions.
async fn stage(name: &str, sessions: usize, lease_seconds: u16) -> Stage {
    Stage::set(&ground().await, name, sessions, lease_seconds).await.unwrap()
}

/// Repeats `check` until it is true. Fails the test after the limit.
async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !check().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(POLL).await;
    }
}

/// Waits until all work is done. Checks that this number of sessions was killed, none of them twice, and that every
/// report is true.
async fn assert_all_is_well(stage: &Stage, kills: usize) {
    let verdict = stage.verdict().await.unwrap();
    assert_eq!(verdict.violations, Vec::<String>::new());
    assert_eq!((verdict.kills, verdict.double_kills), (kills, 0));
}
