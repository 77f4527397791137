//! Waiting, always for a condition and never for a time that is hoped to be enough.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

/// Far more than anything takes on a busy machine: it only ends a test that would never end.
const LIMIT: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(50);

/// Repeats `check` until it finds something, and returns that. Fails the test with the last reason why not.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match check().await {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < deadline, "waited in vain for {what}: {why}"),
        }
        sleep(POLL).await;
    }
}

/// Returns when the clock shows `time`: for what must not happen before it.
pub async fn until(time: Timestamp) {
    while let Ok(left) = Duration::try_from(time.duration_since(Timestamp::now())) {
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}
