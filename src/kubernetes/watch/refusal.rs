//! Why a kind cannot be read that the operator does without. No I/O.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::core::Status;
use kube::runtime::watcher;

use crate::kubernetes::api_error::of_watch;

/// Why the kind cannot be read, and what to do; `None` while it can.
#[derive(Debug, Default)]
pub struct Refusal(Mutex<Option<String>>);

impl Refusal {
    /// Whether `error` says that the kind cannot be read. Notes it, and logs it once.
    pub fn is_from(&self, error: &watcher::Error) -> bool {
        let is_it = is_refused(error);
        let words = if is_forbidden(error) {
            format!("{}: let the operator's service account list and watch them", of_watch(error))
        } else {
            "their definition is missing: install the definitions of this version".to_owned()
        };
        let mut known = self.known();
        if is_it && known.as_ref() != Some(&words) {
            tracing::warn!(error = words, "ClusterOceanBaseConnections cannot be read: requests that name one wait");
            *known = Some(words);
        }
        is_it
    }

    /// A list was read.
    pub fn is_over(&self) {
        *self.known() = None;
    }

    /// Why the kind cannot be read, and what to do.
    pub fn words(&self) -> Option<String> {
        self.known().clone()
    }

    fn known(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the definition of the kind or a right is missing.
pub fn is_refused(error: &watcher::Error) -> bool {
    status(error).is_some_and(|status| status.is_forbidden() || status.code == 404)
}

/// Whether a right is missing.
pub fn is_forbidden(error: &watcher::Error) -> bool {
    status(error).is_some_and(Status::is_forbidden)
}

fn status(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.as_ref()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(message: &str, reason: &str, code: u16) -> watcher::Error {
        watcher::Error::InitialListFailed(kube::Error::Api(Status::failure(message, reason).with_code(code).boxed()))
    }

    #[test]
    fn a_missing_right_or_definition_is_told_until_a_list_is_read_and_an_outage_is_not() {
        let refusal = Refusal::default();
        for outage in
            [answered("try again", "TooManyRequests", 429), answered("", "", 503), watcher::Error::NoResourceVersion]
        {
            assert!(!refusal.is_from(&outage) && refusal.words().is_none(), "{outage}");
        }
        assert!(refusal.is_from(&answered("404 page not found\n", "Failed to parse error data", 404)));
        assert!(refusal.words().is_some_and(|words| words.contains("install the definitions of this version")));
        assert!(refusal.is_from(&answered("it is forbidden: no rule", "Forbidden", 403)));
        let words = "list: it is forbidden: no rule: let the operator's service account list and watch them";
        assert_eq!(refusal.words().as_deref(), Some(words));
        assert!(!refusal.is_from(&answered("", "", 500)));
        assert!(refusal.words().is_some(), "an outage says nothing of rights");
        refusal.is_over();
        assert_eq!(refusal.words(), None);
    }
}
