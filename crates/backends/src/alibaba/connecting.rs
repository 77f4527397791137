//! A connect timeout per request. reqwest has only one per client, and a client for each timeout that users choose
//! would hold the CA certificates in memory again. No I/O of its own.

use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use tower::{Layer, Service};

tokio::task_local! {
    /// How long the request sent in this scope may take to connect.
    pub(super) static CONNECT_WITHIN: Duration;
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Fails to connect once the connect timeout of the request has passed.
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
        // Read in the task of the request: without a pool, the client connects in the same task.
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
