//! Answers `/livez`, `/readyz` and `/metrics`. Ready: the caches are synced and audit lines are written. Live: no watch
//! is dead and the event loop goes on, as a restart is cheap and, with claims, safe. Does I/O.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::time::Instant;

use crate::health::Health;
use crate::http;
use crate::metrics::{self, Metrics};
use crate::output::Lines;
use crate::pulse::Pulse;

/// The least time between two scrapes.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(50);

/// What the health port reports besides watches and metrics.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// The event loop that does the work.
    pub pulse: Pulse,
    /// The longest that it may stand still: as long as a Lease lasts, after which another replica leads.
    pub longest_stall: Duration,
    /// The audit lines.
    pub audit: Lines,
}

/// The routes `/livez`, `/readyz` and `/metrics`; any thread may serve them.
pub fn routes(health: Arc<Health>, metrics: Arc<Metrics>, vitals: Vitals) -> Router {
    let ready = (health.clone(), vitals.audit.clone());
    let next_scrape = Arc::new(tokio::sync::Mutex::new(Instant::now()));
    Router::new()
        .route("/livez", get(async move || answer(dead(&health, &vitals))))
        .route("/readyz", get(async move || answer(unready(&ready.0, &ready.1))))
        .route("/metrics", get(async move || scrape(&metrics, &next_scrape).await))
}

/// Serves `routes` at `address` until the process ends, with at most `descriptors` file descriptors. Fails at once if
/// `address` cannot be used; the text says what to do.
pub fn serve(routes: Router, address: SocketAddr, descriptors: usize) -> Result<(), String> {
    let local = http::serve(routes, address, descriptors).map_err(|error| {
        format!("cannot listen on {address} for health checks ({error}): free the port or set --health-address")
    })?;
    tracing::info!(address = %local, "serving health checks");
    Ok(())
}

fn dead(health: &Health, vitals: &Vitals) -> Option<String> {
    // Check this first: whatever stalls the event loop may hold the lock of `health` as well.
    let stands_for = vitals.pulse.stands_for();
    if stands_for > vitals.longest_stall {
        return Some(format!("the event loop has stood still for {} s", stands_for.as_secs()));
    }
    (!health.is_live()).then(|| "a watch has failed, or told nothing, for minutes: see the logs".to_owned())
}

fn unready(health: &Health, audit: &Lines) -> Option<String> {
    if !health.is_ready() {
        return Some("not all watches have begun: see the logs for those that fail".to_owned());
    }
    audit.trouble().map(|why| format!("audit lines cannot be written: {why}"))
}

fn answer(wrong: Option<String>) -> (StatusCode, String) {
    match wrong {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ok: {why}")),
    }
}

/// One scrape at a time, with a pause between: a scrape takes the locks that the event loop works with.
async fn scrape(metrics: &Metrics, next: &tokio::sync::Mutex<Instant>) -> impl IntoResponse + use<> {
    let mut next = next.lock().await;
    tokio::time::sleep_until(*next).await;
    *next = Instant::now() + BETWEEN_SCRAPES;
    match metrics.encode() {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, metrics::CONTENT_TYPE)], text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, [(CONTENT_TYPE, "text/plain")], error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Watch;

    const WATCH: Duration = Duration::from_mins(1);

    /// The port's answer to a request of `path`, with its status.
    fn ask(address: SocketAddr, path: &str) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[tokio::test]
    async fn while_the_event_loop_stands_still_it_is_not_live_and_that_is_answered() {
        let (health, metrics) = (Arc::new(Health::new(1, WATCH)), Arc::new(Metrics::default()));
        for watch in Watch::KINDS {
            health.watch_synced(watch);
        }
        let (_reader, writer) = std::io::pipe().unwrap();
        let lost = metrics.lines_lost(crate::metrics::labels::Output::Audit);
        let audit = Lines::start(writer, 1024, lost).unwrap();
        let longest_stall = Duration::from_millis(200);
        let vitals = Vitals { pulse: Pulse::start(), longest_stall, audit: audit.clone() };
        let pulse = vitals.pulse.clone();
        let address = http::serve(routes(health, metrics, vitals), ([127, 0, 0, 1], 0).into(), 64).unwrap();
        assert!(ask(address, "/livez").starts_with("HTTP/1.1 200 "));
        assert!(ask(address, "/readyz").starts_with("HTTP/1.1 200 "));
        // This thread is the loop's only one.
        while pulse.stands_for() <= longest_stall {
            std::thread::sleep(Duration::from_millis(5));
        }
        let answer = ask(address, "/livez");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("not ok: the event loop"), "{answer}");
        while pulse.stands_for() > Duration::ZERO {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(ask(address, "/livez").starts_with("HTTP/1.1 200 "));
        assert!(pulse.longest() > longest_stall);

        // Fill the queue, and the pipe as well.
        while audit.stuck_for() < Duration::from_secs(1) {
            let _ = audit.push(&[b'x'; 100]);
            // Let the loop go on, or it would be what is wrong.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let answer = ask(address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("audit lines cannot be written"), "{answer}");
        assert!(ask(address, "/livez").starts_with("HTTP/1.1 200 "), "a restart would lose what waits");
    }
}
