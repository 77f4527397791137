//! Waits for conditions, never for a fixed time that should be enough.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

/// Far longer than anything takes on a busy machine. It only ends a test that would hang.
const LIMIT: Duration = Duration::from_secs(150);
const POLL: Duration = Duration::from_millis(50);

/// Repeats `check` until it returns `Ok`, and returns that value. After the limit the test fails with the last error.
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

/// Waits until the clock shows `time`. Use it when something must not happen before that time.
pub async fn until(time: Timestamp) {
    while let Ok(left) = Duration::try_from(time.duration_since(Timestamp::now())) {
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}
