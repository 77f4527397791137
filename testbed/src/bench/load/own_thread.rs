//! A thread for work that must not wait for other work of this process.

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime with one thread. It ends when this value is dropped.
pub(super) struct OwnThread {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl OwnThread {
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs `work` on that thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        self.handle.spawn(work).await?
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        // Shut it down in the background: a plain drop would wait for its thread, which a task must not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
