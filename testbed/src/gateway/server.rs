//! The HTTP server. It passes calls through admission, faults and execution, and writes the ledger.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use hyper::{server::conn::http1, service::Service, service::service_fn};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    actions::{Actions, Named, parse_sessions},
    admission::Admission,
    backend::Session,
    errors::ApiError,
    faults::{Fault, When},
    in_force::Faults,
    ledger::{CallRecord, Ledger, SessionRecord},
    quota::Meter,
    reply::{HungUp, Reply},
    request::{Call, Received},
};

/// Everything that calls share.
pub struct Shared {
    /// Who may call.
    pub admission: Admission,
    /// How much may be called.
    pub meter: Meter,
    /// How long an admitted call takes before it is executed.
    pub delay: Duration,
    /// Whether connections are kept open after an answer.
    pub keep_alive: bool,
    /// What can be called.
    pub actions: Actions,
    /// How the gateway misbehaves.
    pub faults: Faults,
    /// What was called.
    pub ledger: Ledger,
    /// Cancelled when the gateway stops.
    pub stop: CancellationToken,
}

impl Shared {
    fn now(&self) -> Timestamp {
        Timestamp::now() + self.faults.clock_skew()
    }

    /// Answers one request. Runs to its end even if the client gives up, as a real server executes what it has
    /// received.
    async fn answer(self: Arc<Self>, request: Request) -> Response {
        let request_id = Uuid::new_v4().to_string().to_uppercase();
        let received = match Received::read(request).await {
            Ok(received) => received,
            Err(error) => return Reply::error(&error, &request_id, "").into_response(&request_id, self.now()),
        };
        let call = Call::of(&received);
        let named = call.optional("SessionList").map(|list| parse_sessions(list).unwrap_or_default());
        let ids: Option<Vec<i64>> = named.as_ref().map(|named| named.iter().map(|it| it.session_id).collect());
        let fault = self.faults.take(call.action.as_deref(), ids.as_deref());
        let sequence = self.ledger.enter(self.record(&call, named.unwrap_or_default(), fault.as_ref(), &request_id));
        let reply = self.respond(&received, &call, fault.as_ref(), &request_id, sequence).await;
        self.ledger.update(sequence, |record| {
            record.result.clone_from(&reply.result);
            record.http_status = reply.status.map(|status| status.as_u16());
        });
        reply.into_response(&request_id, self.now() + self.faults.date_skew())
    }

    async fn respond(
        &self,
        received: &Received,
        call: &Call,
        fault: Option<&Fault>,
        request_id: &str,
        sequence: u64,
    ) -> Reply {
        let host = received.header("host").unwrap_or_default();
        let instead = |fault: &Fault| Reply::instead(fault, request_id, host);
        let before = fault.filter(|fault| fault.when() == When::Before);
        let after = fault.filter(|fault| fault.when() == When::After);

        if let Some(fault) = before {
            self.faults.delay(fault).await;
        }
        if let Some(reply) = before.filter(|fault| fault.at_the_edge()).and_then(instead) {
            return reply;
        }
        let reply = match self.execute(received, call, before, sequence).await {
            Ok(data) => Reply::success(request_id, &data),
            Err(error) => Reply::error(&error, request_id, host),
        };
        let Some(fault) = after else { return reply };
        self.faults.delay(fault).await;
        instead(fault).unwrap_or_else(|| reply.distorted(fault))
    }

    async fn execute(
        &self,
        received: &Received,
        call: &Call,
        before: Option<&Fault>,
        sequence: u64,
    ) -> Result<String, ApiError> {
        if received.path != "/" {
            return Err(ApiError::unknown_path());
        }
        if !matches!(received.method.as_str(), "GET" | "POST") {
            return Err(ApiError::unsupported_method());
        }
        let now = self.now();
        self.admission.check(received, call, now, self.faults.tokens_expired())?;
        self.ledger.update(sequence, |record| record.admitted_time = Some(now));
        if let Some(refusal) = before.and_then(Fault::error) {
            return Err(refusal);
        }
        self.meter.admit(Instant::now())?;
        tokio::time::sleep(self.delay).await;
        self.actions.execute(call, &self.ledger, sequence).await
    }

    fn record(&self, call: &Call, named: Vec<Named>, fault: Option<&Fault>, request_id: &str) -> CallRecord {
        let sessions = named.into_iter().map(|named| SessionRecord {
            server_ip: named.server_ip,
            session_id: named.session_id,
            executed: false,
        });
        CallRecord {
            sequence: 0,
            received_time: self.now(),
            admitted_time: None,
            action: call.action.clone(),
            access_key_id: call.access_key_id.clone(),
            signature_version: call.signature_version,
            nonce: call.nonce.clone(),
            instance: call.optional("InstanceId").map(str::to_owned),
            tenant: call.optional("TenantId").map(str::to_owned),
            sessions: sessions.collect(),
            result: None,
            http_status: None,
            request_id: request_id.to_owned(),
            fault: fault.map(Fault::name),
            placement: call.placement,
        }
    }
}

/// Serves until the gateway stops. Then all connections end, also idle and delayed ones.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let (stop, keep_alive) = (shared.stop.clone(), shared.keep_alive);
    let router = Router::new()
        .route("/_testbed/calls", get(calls).delete(clear_calls))
        .route("/_testbed/faults", get(faults).post(inject).delete(clear_faults))
        .route("/_testbed/sessions", get(sessions).post(set_sessions))
        .fallback(api)
        .with_state(shared);
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((connection, _)) => {
                tokio::spawn(stop.clone().run_until_cancelled_owned(serve_connection(
                    connection,
                    router.clone(),
                    keep_alive,
                )));
            }
            Err(error) => tracing::warn!(%error, "cannot accept a connection"),
        }
    }
}

/// Uses hyper directly, as axum's own server always answers: to drop a connection, its service must fail.
async fn serve_connection(connection: TcpStream, router: Router, keep_alive: bool) {
    // Send at once: an answer is small and in one piece.
    let _ = connection.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let response = service.call(request);
        async { HungUp::check(response.await) }
    });
    let mut server = http1::Builder::new();
    server.keep_alive(keep_alive);
    if let Err(error) = server.serve_connection(TokioIo::new(connection), service).await {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn api(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let stop = shared.stop.clone();
    let answer = tokio::spawn(stop.run_until_cancelled_owned(shared.answer(request))).await;
    answer.ok().flatten().unwrap_or_else(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

async fn calls(State(shared): State<Arc<Shared>>) -> Response {
    json(&shared.ledger.calls())
}

async fn clear_calls(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.ledger.clear();
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
