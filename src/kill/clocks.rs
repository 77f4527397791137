//! Watches whether the operator's clock can be trusted, and asks the API server while it cannot. Does I/O.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::clock::{CLOCK_SKEW, in_words};
use crate::kill::context::Context;
use crate::kill::reconcile::look_at;
use crate::kubernetes::calls::within;

/// The pause between two checks.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for an answer: a slow one tells little about the API server's clock.
const LIMIT: Duration = Duration::from_secs(5);

impl Context {
    /// What is wrong with the clocks, for people.
    pub fn clock_is_off(&self) -> String {
        let lead = in_words(self.clock.lead());
        let most = CLOCK_SKEW.as_secs();
        format!(
            "the clock of the operator's node is {lead} the API server's: whether it is too late cannot be told, and nothing \
             is sent until they differ by no more than {most} s; set the clocks of both machines right, as by NTP"
        )
    }
}

/// Checks the clocks until `shutdown`. While they differ, it keeps asking the API server, whose clock may be corrected.
/// Once they agree, it looks at all requests again.
pub async fn look_at_clocks(context: Arc<Context>, shutdown: CancellationToken) {
    let mut was_off = false;
    while tokio::time::timeout(PAUSE, shutdown.cancelled()).await.is_err() {
        let is_off = context.clock.now().skew().is_some();
        match (was_off, is_off) {
            (false, true) => {
                let seconds = context.clock.lead().as_secs();
                tracing::error!(
                    seconds,
                    "clock differs from the API server's by more than clocks may: nothing is sent"
                );
            }
            (true, false) => {
                tracing::info!("clock agrees with the API server's again");
                look_at(&context, context.requests.state());
            }
            _ => {}
        }
        was_off = is_off;
        if is_off {
            // Every answer has a date.
            let _ = within(LIMIT, "ask for the time", context.client.apiserver_version()).await;
        }
    }
}
