//! Tells metrics and logs of the renewals of access keys. No I/O.

use std::sync::Arc;
use std::time::Duration;

use crate::backends::credentials::{Identity, StsAction, Unavailable, Watch};
use crate::metrics::Metrics;

/// Counts renewals and the calls that they take, and logs those that fail.
pub struct Renewals(pub Arc<Metrics>);

impl Watch for Renewals {
    fn renewed(&self, identity: &Identity, result: &Result<(), Unavailable>) {
        self.0.renewed(identity.source().as_str(), result.as_ref().err().map(|error| error.reason));
        let Identity { namespace, session_name, .. } = identity;
        match result {
            Ok(()) => tracing::debug!(%identity, namespace, session_name, "access key renewed"),
            Err(error) => tracing::warn!(%error, %identity, namespace, session_name, "access key not renewed"),
        }
    }

    fn called(&self, action: StsAction, took: Duration) {
        self.0.sts_called(action.as_str(), took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::credentials::SourceName;
    use crate::metrics::labels::{SOURCES, STS_ACTIONS};

    #[test]
    fn what_can_happen_has_a_series_from_the_start() {
        assert_eq!(SourceName::ALL.map(SourceName::as_str), SOURCES);
        assert_eq!(StsAction::ALL.map(StsAction::as_str), STS_ACTIONS);
    }
}
