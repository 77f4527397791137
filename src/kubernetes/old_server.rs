//! Whether the API server is of a version that is too old: said once, at start, as what fails on one does not tell why.
//! Does I/O.

use std::time::Duration;

use kube::Client;

use crate::kubernetes::calls::{Pauses, within};
use crate::kubernetes::server_version::too_old;

/// The longest that one answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);
/// With the pauses between them, five minutes and more: an operator whose watches fail for so long is restarted.
const TRIES: u32 = 64;

/// Asks the API server for its version until it says it, or may not be asked, and logs if it is too old.
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
            // Whoever is logged in may ask, unless the cluster's administrator has taken that away.
            Err(error) if error.is_refused() => return tracing::debug!(%error, "version of the API server not known"),
            Err(_) => pauses.wait().await,
        }
    }
}
