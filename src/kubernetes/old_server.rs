//! Warns once at start if the API server is too old, as the errors that follow from that do not say so. Does I/O.

use std::time::Duration;

use kube::Client;

use crate::kubernetes::calls::{Pauses, within};
use crate::kubernetes::server_version::too_old;

/// The longest wait for one answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Together with the pauses, more than 5 min: an operator whose watches fail for that long is restarted.
const TRIES: u32 = 64;

/// Asks for the API server's version until it is answered or refused, and logs an error if the version is too old.
pub async fn warn_of_an_old_server(client: Client) {
    let mut pauses = Pauses::new();
    for _ in 0..TRIES {
        match within(LIMIT, "ask for the version", client.apiserver_version()).await {
            Ok(version) => {
                if let Some(problem) = too_old(&version) {
                    tracing::error!(problem, "API server is too old");
                }
                return;
            }
            // Every user may ask, unless the cluster's administrator has removed that right.
            Err(error) if error.is_refused() => return tracing::debug!(%error, "version of the API server not known"),
            Err(_) => pauses.wait().await,
        }
    }
}
