//! How many replicas are available, at any time.

use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher},
};
use testbed::stack::{NAMESPACE, SERVICE_ACCOUNT};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::ground::Ground;

/// Sees each change, from now on.
pub struct Availability {
    over: CancellationToken,
    watching: JoinHandle<i32>,
}

impl Availability {
    /// Returns when the watch is there.
    pub async fn watch(ground: &Ground) -> Self {
        let client = ground.site.stack.control_plane.client().await.unwrap();
        let deployments: Api<Deployment> = Api::namespaced(client, NAMESPACE);
        let one = watcher::Config::default().fields(&format!("metadata.name={SERVICE_ACCOUNT}"));
        let mut states = watcher(deployments, one).applied_objects().boxed();
        let mut least = available(states.next().await);
        let over = CancellationToken::new();
        let is_over = over.clone();
        let watching = tokio::spawn(async move {
            while let Some(state) = is_over.run_until_cancelled(states.next()).await {
                least = least.min(available(state));
            }
            // What has come by then counts, too.
            while let Some(state) = states.next().now_or_never() {
                least = least.min(available(state));
            }
            least
        });
        Self { over, watching }
    }

    /// How few there were.
    pub async fn least(self) -> i32 {
        self.over.cancel();
        self.watching.await.unwrap()
    }
}

/// A watch that fails may have missed something.
fn available(state: Option<Result<Deployment, watcher::Error>>) -> i32 {
    state.unwrap().unwrap().status.and_then(|status| status.available_replicas).unwrap_or_default()
}
