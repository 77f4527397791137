//! Liveness and readiness. Ready means that the caches are synced, not that requests succeed; live means that no watch
//! has been failing for minutes: a restart is cheap and, with claims, safe.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::metrics::{self, Metrics};

/// A watch that fails for longer than this does not recover by itself.
const DEAD_AFTER: Duration = Duration::from_mins(5);

/// The watches of the operator: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Unfinished `SessionKill`s.
    Requests,
    /// All `OceanBaseConnection`s.
    Connections,
}

impl Watch {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Requests, Self::Connections];

    /// For logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "sessionkills",
            Self::Connections => "oceanbaseconnections",
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct WatchState {
    synced: bool,
    failing_since: Option<Instant>,
    /// When it last delivered something.
    delivered: Option<Instant>,
}

/// How the watches fare.
#[derive(Debug, Default)]
pub struct Health {
    watches: Mutex<[WatchState; 2]>,
    changed: Notify,
}

impl Health {
    /// The watch has delivered everything that existed when it began.
    pub fn watch_synced(&self, watch: Watch) {
        self.set(watch, |state| {
            *state = WatchState { synced: true, failing_since: None, delivered: Some(Instant::now()) };
        });
        self.changed.notify_waiters();
    }

    /// The watch delivered something.
    pub fn watch_works(&self, watch: Watch) {
        self.set(watch, |state| {
            state.failing_since = None;
            state.delivered = Some(Instant::now());
        });
    }

    /// The watch failed and will be tried again.
    pub fn watch_fails(&self, watch: Watch) {
        self.set(watch, |state| {
            state.failing_since.get_or_insert_with(Instant::now);
        });
    }

    /// Waits until `watch` has been synced once.
    pub async fn synced(&self, watch: Watch) {
        loop {
            let changed = self.changed.notified();
            if self.states()[watch as usize].synced {
                return;
            }
            changed.await;
        }
    }

    /// For how long `watch` has delivered nothing; zero before its first delivery.
    #[must_use]
    pub fn watch_age(&self, watch: Watch) -> Duration {
        self.states()[watch as usize].delivered.map(|at| at.elapsed()).unwrap_or_default()
    }

    /// Whether all watches have been synced.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.states().iter().all(|state| state.synced)
    }

    /// Whether no watch has been failing for long.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.states().iter().all(|state| state.failing_since.is_none_or(|since| since.elapsed() < DEAD_AFTER))
    }

    fn set(&self, watch: Watch, change: impl FnOnce(&mut WatchState)) {
        change(&mut self.watches.lock().unwrap_or_else(PoisonError::into_inner)[watch as usize]);
    }

    fn states(&self) -> [WatchState; 2] {
        *self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves `/livez`, `/readyz` and `/metrics`. Fails at once if `address` cannot be used; the text says what to do.
pub async fn serve(
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    address: SocketAddr,
) -> Result<impl Future<Output = ()>, String> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        format!("cannot listen on {address} for health checks ({error}): free the port or set --health-address")
    })?;
    let local = listener.local_addr().map_or_else(|_| address.to_string(), |local| local.to_string());
    tracing::info!(address = local, "serving health checks");
    let ready = health.clone();
    let router = Router::new()
        .route("/livez", get(move || std::future::ready(answer(health.is_live()))))
        .route("/readyz", get(move || std::future::ready(answer(ready.is_ready()))))
        .route("/metrics", get(move || std::future::ready(text(&metrics))));
    Ok(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "health checks ended");
        }
    })
}

fn text(metrics: &Metrics) -> impl IntoResponse + use<> {
    match metrics.encode() {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, metrics::CONTENT_TYPE)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], error.to_string()),
    }
}

fn answer(good: bool) -> (StatusCode, &'static str) {
    if good { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ok") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_all_caches_are_synced() {
        let health = Health::default();
        health.watch_synced(Watch::Requests);
        assert!(!health.is_ready());
        health.watch_synced(Watch::Connections);
        assert!(health.is_ready());
    }

    #[test]
    fn a_failing_watch_is_live_for_a_while_and_forgiven_when_it_works() {
        let health = Health::default();
        health.watch_fails(Watch::Requests);
        assert!(health.is_live());
        health.set(Watch::Requests, |state| state.failing_since = Instant::now().checked_sub(DEAD_AFTER));
        assert!(!health.is_live());
        health.watch_works(Watch::Requests);
        assert!(health.is_live());
    }
}
