//! Estimates how much memory a kept request takes. Pure.

use std::mem::size_of;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use sessionkill_api::{
    Expect, ObservedSession, Session, SessionCriteria, SessionKill, SessionKillStatus, SessionSelector, SessionStatus,
};

/// The approximate size of `object` in bytes, including everything that it owns. Only the names of its metadata count:
/// the rest is dropped before it is kept.
#[must_use]
pub fn footprint(object: &SessionKill) -> usize {
    let (metadata, spec) = (&object.metadata, &object.spec);
    let names = [&metadata.name, &metadata.namespace, &metadata.uid, &metadata.resource_version, &spec.reason];
    size_of::<SessionKill>()
        + optional(&names)
        + texts(&[&spec.connection_ref.name, &spec.instance_id, &spec.tenant_id])
        + list(&spec.sessions, session)
        + spec.selector.as_ref().map_or(0, selector)
        + object.status.as_ref().map_or(0, status)
}

fn session(session: &Session) -> usize {
    let Session { server_ip, server_port: _, session_id: _, expect } = session;
    texts(&[server_ip]) + expect.as_ref().map_or(0, expectation)
}

fn selector(selector: &SessionSelector) -> usize {
    let SessionSelector { matches, exclude, max_sessions: _, take: _ } = selector;
    criteria(matches) + exclude.as_ref().map_or(0, criteria)
}

fn criteria(criteria: &SessionCriteria) -> usize {
    let SessionCriteria {
        users,
        databases,
        client_cidrs,
        commands,
        states,
        sql_ids,
        sql_text_pattern,
        min_execution_seconds: _,
        transaction: _,
    } = criteria;
    let lists = [users, databases, client_cidrs, commands, sql_ids];
    lists.iter().map(|words| list(words, text)).sum::<usize>() + optional(&[sql_text_pattern]) + states.capacity()
}

fn expectation(expect: &Expect) -> usize {
    let Expect {
        user,
        database,
        client_ip,
        command,
        state: _,
        sql_id,
        proxy_session_id,
        min_execution_seconds: _,
        client_port: _,
        trace_id,
        transaction_id,
        transaction: _,
    } = expect;
    optional(&[user, database, client_ip, command, sql_id, proxy_session_id, trace_id, transaction_id])
}

fn status(status: &SessionKillStatus) -> usize {
    let dispatch = status.dispatch.as_ref();
    dispatch.map_or(0, |dispatch| texts(&[&dispatch.receipt_name, &dispatch.attempt_id, &dispatch.request_id]))
        + list(&status.sessions, session_status)
        + list(&status.conditions, condition)
}

fn session_status(session: &SessionStatus) -> usize {
    let SessionStatus {
        server_ip,
        server_port: _,
        session_id: _,
        outcome: _,
        reason: _,
        status,
        error_message,
        message,
        observed,
    } = session;
    texts(&[server_ip, status, error_message, message]) + observed.as_ref().map_or(0, observation)
}

fn observation(seen: &ObservedSession) -> usize {
    let ObservedSession {
        host,
        trace_id,
        transaction_id,
        client_ip,
        user,
        database,
        command,
        execute_time,
        sql_id,
        proxy_session_id,
        sql_text,
        tenant_id,
        observation_time: _,
    } = seen;
    let texts_seen = [client_ip, user, database, command, execute_time, sql_id, proxy_session_id, sql_text, tenant_id];
    texts(&texts_seen) + texts(&[host, trace_id, transaction_id])
}

fn condition(condition: &Condition) -> usize {
    texts(&[&condition.type_, &condition.status, &condition.reason, &condition.message])
}

fn list<T>(items: &Vec<T>, owned: impl Fn(&T) -> usize) -> usize {
    items.capacity() * size_of::<T>() + items.iter().map(owned).sum::<usize>()
}

fn optional(texts: &[&Option<String>]) -> usize {
    texts.iter().filter_map(|text| text.as_ref()).map(text).sum()
}

fn texts(texts: &[&String]) -> usize {
    texts.iter().copied().map(text).sum()
}

/// Rounds up, as allocators hand out multiples of 16 bytes.
fn text(text: &String) -> usize {
    text.capacity().next_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::claim::receipt;
    use crate::kill::conclusion::dispatch;
    use crate::kill::status::{Waiting, waiting};
    use crate::test_objects::{attempt, request, time};
    use sessionkill_api::{Operation, WaitReason};

    #[test]
    fn all_that_an_object_owns_counts() {
        let plain = footprint(&request());
        let grows = |change: fn(&mut SessionKill), by: usize| {
            let mut object = request();
            change(&mut object);
            let grown = footprint(&object) - plain;
            assert!((by..by + 2000).contains(&grown), "{grown} instead of {by}");
        };
        grows(|object| object.spec.reason = Some("x".repeat(10_000)), 10_000);
        grows(|object| object.spec.connection_ref.name = "x".repeat(10_000), 10_000 - 16);
        grows(|object| object.spec.sessions[0].server_ip = "x".repeat(10_000), 10_000 - 16);
        let user = |object: &mut SessionKill| {
            object.spec.sessions[1].expect = Some(Expect { user: Some("x".repeat(10_000)), ..Expect::default() });
        };
        grows(user, 10_000);
        let sessions = |object: &mut SessionKill| {
            object.spec.sessions = vec![object.spec.sessions[0].clone(); 100];
            object.spec.sessions.shrink_to_fit();
        };
        grows(sessions, 98 * size_of::<Session>());
    }

    #[test]
    fn a_status_counts_as_well() {
        let mut object = request();
        let plain = footprint(&object);
        let why = Waiting { reason: WaitReason::Suspended, message: "x".repeat(1000), next_attempt: None };
        object.status = Some(waiting(&object, &why, time("10:00:00")));
        let with_conditions = footprint(&object) - plain;
        assert!((2000..6000).contains(&with_conditions), "{with_conditions}: of two conditions and sessions");
    }

    #[test]
    fn each_text_of_a_status_counts_once() {
        let why = Waiting { reason: WaitReason::Verifying, message: String::new(), next_attempt: None };
        let mut status = waiting(&request(), &why, time("10:00:00"));
        status.dispatch = Some(dispatch(&receipt(&request(), &attempt()), Operation::KillProcessList, ""));
        status.sessions = attempt().planned;
        let object = SessionKill { status: Some(status), ..request() };
        let changes: [fn(&mut SessionKillStatus, String); 4] = [
            |status, text| status.dispatch.as_mut().unwrap().request_id = text,
            |status, text| status.sessions[0].message = text,
            |status, text| status.sessions[0].observed.as_mut().unwrap().sql_text = text,
            |status, text| status.conditions[0].message = text,
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut longer = object.clone();
            change(longer.status.as_mut().unwrap(), "x".repeat(10_000));
            assert_eq!(footprint(&longer).checked_sub(footprint(&object.clone())), Some(10_000), "change {number}");
        }
    }
}
