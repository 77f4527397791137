//! The HTTP server. It passes calls through admission, faults and execution, and writes the ledger.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    actions::{Named, parse_sessions},
    errors::ApiError,
    faults::Fault,
    identity::Identity,
    ledger::{CallRecord, SessionRecord},
    orders,
    reply::Reply,
    request::{Call, Received},
    shared::Shared,
    sts::{self, Sts},
};

impl Shared {
    /// Answers one request. Runs to its end even if the client gives up, as a real server executes what it has
    /// received.
    async fn answer(self: Arc<Self>, request: Request) -> Response {
        let request_id = Uuid::new_v4().to_string().to_uppercase();
        let received = match Received::read(request).await {
            Ok(received) => received,
            Err(error) => return Reply::error(&error, &request_id, "").into_response(&request_id, self.faults.now()),
        };
        let call = Call::of(&received);
        let named = call.optional("SessionList").map(|list| parse_sessions(list).unwrap_or_default());
        let ids: Option<Vec<i64>> = named.as_ref().map(|named| named.iter().map(|it| it.session_id).collect());
        let fault = self.faults.take(call.action.as_deref(), ids.as_deref());
        let sequence = self.ledger.enter(self.record(&call, named.unwrap_or_default(), fault.as_ref(), &request_id));
        let reply = self.respond(&received, &call, fault.as_ref(), &request_id, sequence).await;
        self.ledger.update(sequence, |record| {
            record.answered_time = Some(self.faults.now());
            record.result.clone_from(&reply.result);
            record.http_status = reply.status.map(|status| status.as_u16());
        });
        reply.into_response(&request_id, self.faults.now() + self.faults.date_skew())
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
        if let Some(reply) = self.faults.play_before(fault, instead).await {
            return reply;
        }
        let executed = self.execute(received, call, fault, request_id, sequence).await;
        let reply = executed.unwrap_or_else(|error| Reply::error(&error, request_id, host));
        self.faults.play_after(fault, reply, instead).await
    }

    async fn execute(
        &self,
        received: &Received,
        call: &Call,
        fault: Option<&Fault>,
        request_id: &str,
        sequence: u64,
    ) -> Result<Reply, ApiError> {
        if received.path != "/" {
            return Err(ApiError::unknown_path());
        }
        if !matches!(received.method.as_str(), "GET" | "POST") {
            return Err(ApiError::unsupported_method());
        }
        let now = self.faults.now();
        let sts = self.sts.as_ref().filter(|_| sts::is_for_sts(call));
        if let Some(sts) = sts.filter(|_| sts::is_with_token(call)) {
            return self.exchange_token(sts, call, now, fault, request_id, sequence).await;
        }
        let signer = self.admission.check(received, call, now, &self.faults)?;
        self.let_in(signer.identity.clone(), now, fault, sequence)?;
        if let Some(sts) = sts {
            return Ok(Reply::members(Some(request_id), sts.execute(&signer, call, now)?));
        }
        self.meter.admit(Instant::now())?;
        tokio::time::sleep(self.delay).await;
        if !call.action.as_deref().is_none_or(|action| signer.may(&format!("oceanbase:{action}"))) {
            return Err(ApiError::forbidden());
        }
        let data = self.actions.execute(call, &self.ledger, sequence).await?;
        Ok(Reply::success(request_id, &data))
    }

    /// Executes a call that shows an OIDC token in place of a signature.
    async fn exchange_token(
        &self,
        sts: &Sts,
        call: &Call,
        now: Timestamp,
        fault: Option<&Fault>,
        request_id: &str,
        sequence: u64,
    ) -> Result<Reply, ApiError> {
        let token = sts.verify(call, now).await?;
        self.let_in(Identity::OidcSubject { subject: token.claims.sub.clone() }, now, fault, sequence)?;
        Ok(Reply::members(Some(request_id), sts.assume_with(&token, call, now)?))
    }

    /// Records who calls, and refuses the call if a fault says so.
    fn let_in(&self, identity: Identity, now: Timestamp, fault: Option<&Fault>, sequence: u64) -> Result<(), ApiError> {
        self.ledger.update(sequence, |record| {
            record.admitted_time = Some(now);
            record.identity = Some(identity);
        });
        fault.and_then(Fault::refusal).map_or(Ok(()), Err)
    }

    fn record(&self, call: &Call, named: Vec<Named>, fault: Option<&Fault>, request_id: &str) -> CallRecord {
        let sessions = named.into_iter().map(|named| SessionRecord {
            server_ip: named.server_ip,
            session_id: named.session_id,
            executed: false,
        });
        CallRecord {
            sequence: 0,
            received_time: self.faults.now(),
            admitted_time: None,
            answered_time: None,
            action: call.action.clone(),
            access_key_id: call.access_key_id.clone(),
            identity: None,
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

/// What answers requests: calls, and orders of a test.
pub fn router(shared: Arc<Shared>) -> Router {
    orders::router().fallback(api).with_state(shared)
}

async fn api(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let stop = shared.stop.clone();
    let answer = tokio::spawn(stop.run_until_cancelled_owned(shared.answer(request))).await;
    answer.ok().flatten().unwrap_or_else(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
}
