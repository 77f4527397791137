//! The objects of a load: the request, its session, and what is written for both.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::events::v1::Event,
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use kube::{Resource as _, ResourceExt as _, api::ObjectMeta};
use serde_json::json;
use sessionkill::{
    api::{
        ObservedSession, Operation, SessionKill, SessionKillReceipt, SessionKillStatus, SessionOutcome, SessionReason,
        SessionStatus,
    },
    domain::{
        kill::{
            claim::{Attempt, receipt},
            conclusion::{Conclusion, dispatch},
            outcome::ended,
            status::finished,
        },
        session::session_status,
    },
};

use super::plan::{LABEL, Place, Plan, Stream};
use crate::gateway;

/// Request `number` of a stream, and the index of its tenant.
pub(super) fn session_kill(plan: &Plan, stream: usize, number: u32) -> anyhow::Result<(SessionKill, u32)> {
    let Stream { tenants, sessions, .. } = &plan.streams[stream];
    let tenant = number % u32::try_from(tenants.len())?;
    let first = number * plan.sessions_each;
    let session = |number| anyhow::Ok(json!({"serverIP": plan.server, "sessionID": sessions.id(number)?}));
    let sessions = (first..first + plan.sessions_each).map(session).collect::<anyhow::Result<Vec<_>>>()?;
    let Place { namespace, connection } = plan.place(number)?;
    let not_after = plan.lives_for.map_or(Ok(plan.not_after), |life| Timestamp::now().checked_add(life))?;
    let object = serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "SessionKill",
        "metadata": {
            "name": format!("{}-{stream}-{number:06}", plan.name), "namespace": namespace, "labels": {LABEL: plan.name},
        },
        "spec": {
            "connectionRef": {"name": connection},
            "instanceID": plan.instance,
            "tenantID": tenants[tenant as usize],
            "sessions": sessions,
            "notAfterTime": not_after,
            "verification": {"policy": plan.verification},
            "ttlSecondsAfterFinished": plan.ttl_seconds,
        },
    }))?;
    Ok((object, tenant))
}

/// The sessions that the requests of a stream name, for the gateway.
pub(super) fn sessions(plan: &Plan, stream: &Stream) -> anyhow::Result<Vec<gateway::Session>> {
    let session = |number: u32| {
        let tenant = (number / plan.sessions_each) as usize % stream.tenants.len();
        anyhow::Ok(gateway::Session {
            server_ip: plan.server.clone(),
            session_id: stream.sessions.id(number)?,
            tenant_id: stream.tenants[tenant].clone(),
            client_ip: "10.2.3.4".into(),
            user: "report_ro".into(),
            database: "reports".into(),
            command: "Sleep".into(),
            status: "SLEEP".into(),
            execute_time: 742,
            ..gateway::Session::default()
        })
    };
    (0..stream.requests * plan.sessions_each).map(session).collect()
}

/// Those of all streams.
pub(super) fn all_sessions(plan: &Plan) -> anyhow::Result<Vec<gateway::Session>> {
    let each = plan.streams.iter().map(|stream| sessions(plan, stream)).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(each.concat())
}

/// The receipt that claims `object`, as the operator would write it.
pub(super) fn claimed(object: &SessionKill, now: Timestamp) -> SessionKillReceipt {
    let planned = object.spec.sessions.iter().map(|session| SessionStatus {
        observed: Some(ObservedSession {
            client_ip: "10.2.3.4".into(),
            user: "report_ro".into(),
            database: "reports".into(),
            command: "Sleep".into(),
            execute_time: "742".into(),
            tenant_id: object.spec.tenant_id.clone(),
            observation_time: Some(Time(now)),
            ..ObservedSession::default()
        }),
        ..session_status(session, SessionOutcome::Pending, SessionReason::Waiting)
    });
    let attempt = Attempt {
        attempt_id: uuid::Uuid::new_v4().to_string(),
        holder_identity: "sessionkill-operator_00000000-0000-0000-0000-000000000000".into(),
        claim_time: now,
        dispatch_window: SignedDuration::from_secs(15),
        request_timeout: SignedDuration::from_secs(10),
        operation: Operation::KillProcessList,
        planned: planned.collect(),
        matched: None,
    };
    receipt(object, &attempt)
}

/// The final status of `object` under `receipt`: every session was killed and is absent from the list.
pub(super) fn killed(receipt: &SessionKillReceipt) -> Conclusion {
    let killed = |session: &SessionStatus| SessionStatus {
        status: "SLEEP".into(),
        ..ended(session, SessionOutcome::Killed, SessionReason::Verified)
    };
    let sessions = receipt.spec.sessions.iter().map(killed).collect();
    let request_id = uuid::Uuid::new_v4().to_string().to_uppercase();
    Conclusion::called(sessions, dispatch(receipt, Operation::KillProcessList, &request_id), "")
}

/// The Event that tells of the end, as the operator would write it.
pub(super) fn event(object: &SessionKill, conclusion: &Conclusion, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", object.name_any(), now.as_nanosecond())),
            namespace: object.namespace(),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some("Normal".to_owned()),
        reason: Some(conclusion.reason.as_str().to_owned()),
        action: Some("KillSessions".to_owned()),
        note: Some(conclusion.message.clone()),
        regarding: Some(object.object_ref(&())),
        reporting_controller: Some("floor".to_owned()),
        reporting_instance: Some("floor".to_owned()),
        ..Event::default()
    }
}

/// The final status of `object`, without a receipt.
pub(super) fn ended_status(object: &SessionKill, now: Timestamp) -> SessionKillStatus {
    finished(object, &killed(&claimed(object, now)), now)
}
