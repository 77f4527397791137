//! Writes the status of a connection. Does I/O, off the path of the kill.

use std::sync::{Arc, PoisonError};

use super::api_calls::{ApiError, Pauses};
use super::connection_states::ConnectionStates;
use super::context::Context;
use super::settle::{Target, write_status};
use super::tenant::TenantKey;
use crate::api::{OceanBaseConnection, OceanBaseConnectionStatus};

impl ConnectionStates {
    /// Writes the status until it says what it should; one task at a time for each connection, so that no older status
    /// overwrites a newer one.
    pub(super) async fn write(&self, context: &Context, target: &Target) {
        let mut pauses = Pauses::new();
        let key = Arc::new(TenantKey::of_connection(&target.namespace, &target.name));
        let mut written = None;
        while let Some(status) = self.unwritten(&target.uid, written.as_ref()) {
            let call = "report OceanBaseConnection";
            let permit = context.connection_reports.acquire(&key).await;
            let stored = write_status::<OceanBaseConnection>(&context.client, target, call, &status).await;
            drop(permit);
            match stored {
                Ok(()) => written = Some(status),
                Err(error) if is_final(&error) => {
                    tracing::warn!(%error, connection = target.name, "status of the connection not written");
                    return self.give_up(&target.uid);
                }
                Err(error) => {
                    tracing::warn!(%error, connection = target.name, "status of the connection not written yet");
                    pauses.wait().await;
                }
            }
        }
    }

    /// What is still to be written, given what was; none ends the writing.
    fn unwritten(&self, uid: &str, written: Option<&OceanBaseConnectionStatus>) -> Option<OceanBaseConnectionStatus> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.get_mut(uid)?;
        state.is_writing = state.status.as_ref() != written;
        state.status.clone().filter(|_| state.is_writing)
    }

    /// The status cannot be written now: the next call tries again.
    fn give_up(&self, uid: &str) {
        if let Some(state) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(uid) {
            state.status = None;
            state.is_writing = false;
        }
    }
}

/// Gone, or refused as it is: trying the same again changes nothing.
fn is_final(error: &ApiError) -> bool {
    error.is_not_found() || error.is_refused() || error.is_too_large()
}
