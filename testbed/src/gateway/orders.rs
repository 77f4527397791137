//! What a test asks and orders at `/_testbed`.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};

use super::{backend::Session, faults::Fault, metadata::Metadata, shared::Shared};

/// The paths. All others are left to the caller.
pub fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_testbed/calls", get(calls).delete(clear_calls))
        .route("/_testbed/metadata", get(metadata).delete(clear_metadata))
        .route("/_testbed/faults", get(faults).post(inject).delete(clear_faults))
        .route("/_testbed/sessions", get(sessions).post(set_sessions))
}

async fn calls(State(shared): State<Arc<Shared>>) -> Response {
    json(&shared.ledger.calls())
}

async fn clear_calls(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.ledger.clear();
    StatusCode::NO_CONTENT
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Response {
    json(&shared.metadata.as_deref().map(Metadata::requests).unwrap_or_default())
}

async fn clear_metadata(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.metadata.as_deref().inspect(|metadata| metadata.clear());
    StatusCode::NO_CONTENT
}

async fn faults(State(shared): State<Arc<Shared>>) -> Response {
    json(&shared.faults.all())
}

async fn inject(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Fault>(&body) {
        Ok(fault) => {
            shared.faults.inject(fault);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("this is no fault: {error}\n")).into_response(),
    }
}

async fn clear_faults(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.faults.clear();
    StatusCode::NO_CONTENT
}

async fn sessions(State(shared): State<Arc<Shared>>) -> Response {
    match shared.actions.store.list(&|_| true).await {
        Ok(sessions) => json(&sessions.iter().map(Arc::as_ref).collect::<Vec<_>>()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")).into_response(),
    }
}

async fn set_sessions(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let sessions = match serde_json::from_slice::<Vec<Session>>(&body) {
        Ok(sessions) => sessions,
        Err(error) => {
            return (StatusCode::BAD_REQUEST, format!("this is no list of sessions: {error}\n")).into_response();
        }
    };
    match shared.actions.store.replace(sessions) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::CONFLICT, format!("{error:#}\n")).into_response(),
    }
}

fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec_pretty(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], Body::from(body)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
