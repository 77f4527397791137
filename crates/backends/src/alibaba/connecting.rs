//! The time that connecting may take, for each request its own: a client has one for all of its requests, and a client for
//! each time-out that users choose would hold all certificates once more.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tower::{Layer, Service};

tokio::task_local! {
    /// For how long the request that is sent in this scope may connect.
    pub(super) static CONNECT_WITHIN: Duration;
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Ends connecting when the time of its request is over, as a failure to connect.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectLimit;

impl<S> Layer<S> for ConnectLimit {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited(inner)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Limited<S>(S);

impl<S, R> Service<R> for Limited<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, target: R) -> Self::Future {
        let connecting = self.0.call(target);
        // Of the task that waits for the request: a client that pools no connections connects in it.
        let within = CONNECT_WITHIN.try_with(|within| *within);
        Box::pin(async move {
            match within {
                Ok(within) => {
                    let connected = tokio::time::timeout(within, connecting).await;
                    connected.map_err(|_| format!("no connection within {} s", within.as_secs_f64()))?
                }
                Err(_) => connecting.await,
            }
        })
    }
}
