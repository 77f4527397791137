//! How many replicas are available, checked all the time.

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

/// Watches the Deployment and remembers the lowest number of available replicas.
pub struct Availability {
    over: CancellationToken,
    watching: JoinHandle<i32>,
}

impl Availability {
    /// Starts the watch, and returns when it works.
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
            // Changes that have already arrived count too.
            while let Some(state) = states.next().now_or_never() {
                least = least.min(available(state));
            }
            least
        });
        Self { over, watching }
    }

    /// Ends the watch and returns the lowest number.
    pub async fn least(self) -> i32 {
        self.over.cancel();
        self.watching.await.unwrap()
    }
}

/// Fails if the watch failed, as it may have missed a change.
fn available(state: Option<Result<Deployment, watcher::Error>>) -> i32 {
    state.unwrap().unwrap().status.and_then(|status| status.available_replicas).unwrap_or_default()
}
