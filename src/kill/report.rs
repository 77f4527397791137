//! Writes the status of a request that has not ended. Does I/O; `settle` writes its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::api::{SessionKill, SessionKillStatus};
use crate::domain::tenant::TenantKey;
use crate::kill::context::Context;
use crate::kill::settle::permits;
use crate::kubernetes::calls::ApiError;
use crate::kubernetes::status_patch::{Target, write_status};
use crate::kubernetes::watch::metadata::Size;
use crate::queue::permits::Permits;

/// The longest pause after the status of a waiting request, before the next one of its namespace.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Writes the status of a request after its call, once; the next look at the list writes it again.
pub async fn report_called(
    context: &Context,
    key: &Arc<TenantKey>,
    target: &Target,
    status: &SessionKillStatus,
) -> Result<(), ApiError> {
    let _permit = permits(context, &context.writes, target).acquire(key).await;
    write(context, target, status).await
}

/// Writes the status of a waiting request, once; the next try writes it again.
///
/// Thousands may wait, and nobody acts on their statuses: half of the API server's time is left to kills. Large ones
/// need no pause, as outcomes use the same permit: an outcome may wait for a write, but not for a pause.
pub async fn report_waiting(
    context: &Context,
    key: &Arc<TenantKey>,
    target: &Target,
    status: &SessionKillStatus,
) -> Result<(), ApiError> {
    let writing = write(context, target, status);
    match target.size {
        Size::Usual => paced(&context.tasks, &context.reports, key, writing).await,
        Size::Large => {
            let _permit = context.large_writes.acquire(key).await;
            writing.await
        }
    }
}

/// Does `work` with a permit, which it returns only after a pause as long as the work took.
async fn paced<T>(
    tasks: &TaskTracker,
    permits: &Arc<Permits>,
    key: &Arc<TenantKey>,
    work: impl Future<Output = T>,
) -> T {
    let permit = permits.acquire(key).await;
    let started = Instant::now();
    let done = work.await;
    let pause = started.elapsed().min(LONGEST_PAUSE);
    tasks.spawn(async move {
        sleep(pause).await;
        drop(permit);
    });
    done
}

async fn write(context: &Context, target: &Target, status: &SessionKillStatus) -> Result<(), ApiError> {
    write_status::<SessionKill>(&context.client, target, "report SessionKill", status).await
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::domain::tenant::ConnectionKey;

    #[tokio::test(start_paused = true)]
    async fn half_of_the_time_is_left_by_a_namespace_and_no_other_waits_for_it() {
        let (tasks, permits) = (TaskTracker::new(), Permits::by_namespace(8, 1));
        let began = Instant::now();
        let work = async |namespace: &str, took: u64| {
            let key = Arc::new(TenantKey::of_connection(namespace, &ConnectionKey::new(Some(namespace), "prod-ob")));
            paced(&tasks, &permits, &key, async { sleep(Duration::from_millis(took)).await }).await;
            began.elapsed().as_millis()
        };
        let ends = join_all([work("a", 100), work("a", 100), work("a", 5000), work("a", 100), work("b", 100)]).await;
        assert_eq!(ends, [100, 300, 5400, 6500, 100], "a pause as long as the write, and no longer than a second");
    }
}
