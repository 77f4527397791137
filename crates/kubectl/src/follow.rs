//! Follows one request by a watch on that object alone.

use std::ops::ControlFlow;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{WatchEvent, WatchParams};
use sessionkill_api::SessionKill;
use tokio::time::{Instant, sleep};

use crate::client::Place;
use crate::errors::{Result, failure};

/// How long the API server may be away.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before the watch is opened anew.
const PAUSE: Duration = Duration::from_millis(500);

/// Calls `look` with the request and with each later state of it, until that breaks. The API server may be away for
/// half a minute. A request that is deleted is a failure.
pub async fn follow<T>(
    place: &Place,
    mut request: SessionKill,
    mut look: impl FnMut(&SessionKill) -> ControlFlow<T>,
) -> Result<T> {
    let name = request.metadata.name.clone().unwrap_or_default();
    let mut away_since: Option<Instant> = None;
    loop {
        if let ControlFlow::Break(found) = look(&request) {
            return Ok(found);
        }
        let fields = WatchParams::default().fields(&format!("metadata.name={name}"));
        let version = request.metadata.resource_version.clone().unwrap_or_default();
        if let Ok(stream) = place.requests().watch(&fields, &version).await {
            let mut stream = stream.boxed();
            while let Ok(Some(event)) = stream.try_next().await {
                match event {
                    WatchEvent::Added(changed) | WatchEvent::Modified(changed) => {
                        if let ControlFlow::Break(found) = look(&changed) {
                            return Ok(found);
                        }
                        request = changed;
                    }
                    WatchEvent::Deleted(_) => return Err(deleted(&name)),
                    WatchEvent::Bookmark(_) => (),
                    // Such as a version that is too old.
                    WatchEvent::Error(_) => break,
                }
            }
        }
        sleep(PAUSE).await;
        request = match place.requests().get_opt(&name).await {
            Ok(Some(found)) => {
                away_since = None;
                found
            }
            Ok(None) => return Err(deleted(&name)),
            Err(error) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE || matches!(error, kube::Error::Api(_)) {
                    return Err(place.attempt("get", "sessionkills", &name).failed(&error));
                }
                request
            }
        };
    }
}

fn deleted(name: &str) -> crate::errors::Failure {
    failure(format!("sessionkill {name} was deleted: its receipt says what was done, see kubectl sessionkill history"))
}
