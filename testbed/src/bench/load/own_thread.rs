//! A thread for what must not wait for anything else that this process does.

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime with one thread; it ends when this value is dropped.
pub(super) struct OwnThread {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl OwnThread {
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Has `work` done there.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        self.handle.spawn(work).await?
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        // Dropped as it is, it would wait for its thread, which no task may do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
