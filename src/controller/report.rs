//! Writes how far a request is that has not ended. Does I/O; its end is written by `settle`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::api_calls::ApiError;
use super::context::Context;
use super::settle::{Target, permits, write_status};
use super::tenant::TenantKey;
use crate::api::{SessionKill, SessionKillStatus};

/// The longest time after a status of a request that waits until the next one of its namespace is written.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Writes the status of a request whose call has been made, once: it is written again with the next look.
pub async fn report_called(
    context: &Context,
    key: &Arc<TenantKey>,
    target: &Target,
    status: &SessionKillStatus,
) -> Result<(), ApiError> {
    let _permit = permits(context, &context.writes, target).acquire(key).await;
    write(context, target, status).await
}

/// Writes the status of a request that waits, once: it is written again with the next try.
///
/// The next such write of the namespace begins after a pause as long as this one took. Those who wait may be thousands, and
/// nobody acts on what they say: half of the API server's time is left to kills.
pub async fn report_waiting(
    context: &Context,
    key: &Arc<TenantKey>,
    target: &Target,
    status: &SessionKillStatus,
) -> Result<(), ApiError> {
    let permit = permits(context, &context.reports, target).acquire(key).await;
    let started = Instant::now();
    let written = write(context, target, status).await;
    let pause = started.elapsed().min(LONGEST_PAUSE);
    context.tasks.spawn(async move {
        tokio::time::sleep(pause).await;
        drop(permit);
    });
    written
}

async fn write(context: &Context, target: &Target, status: &SessionKillStatus) -> Result<(), ApiError> {
    write_status::<SessionKill>(&context.client, target, "report SessionKill", status).await
}
