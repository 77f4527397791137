//! BatchKillProcessList: it ends only the sessions that it names, and its answer names none.

use sessionkill::oceanbase::{Called, ErrorKind, KillCall, Operation};
use testbed::gateway::{Fault, FaultKind};

use crate::{
    calls::{Permit, access, ambiguous, answered, kill, not_executed, tenant},
    gateway::{fast, signed, start},
    server::{Server, form, http},
};

/// A call for these sessions. The session in these tests has the same proxy session as another one of the gateway.
fn batch_kill(sessions: Vec<(String, i64)>) -> KillCall {
    let mut kill = KillCall { operation: Operation::BatchKillProcessList, ..kill() };
    kill.target.sessions = sessions.into_iter().map(Into::into).collect();
    kill
}

fn one_of_two_behind_a_proxy() -> (String, i64) {
    ("192.168.13.119".to_owned(), 3_221_614_618)
}

#[tokio::test]
async fn only_the_named_session_ends_and_not_its_neighbours_behind_the_proxy() {
    for v1 in [false, true] {
        let gateway = start(None).await;
        let before = gateway.sessions().await.unwrap();
        let named = one_of_two_behind_a_proxy();
        let (ended, others): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|it| (&it.server_ip, it.session_id) == (&named.0, named.1));
        assert!(others.iter().any(|it| it.proxy_sess_id.is_some() && it.proxy_sess_id == ended[0].proxy_sess_id));

        let called = fast().kill(Permit::valid(), &batch_kill(vec![named.clone()]), &signed(&gateway, v1, None)).await;
        let answer = answered(called);
        assert_eq!(answer.rows, []);
        assert_eq!(gateway.sessions().await.unwrap(), others);

        let calls = gateway.calls();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].action.as_deref(), Some("BatchKillProcessList"));
        assert_eq!(calls[0].request_id, answer.request_id);
        let told = (calls[0].instance.clone().unwrap(), calls[0].tenant.clone().unwrap());
        assert_eq!(told, (tenant().instance_id, tenant().tenant_id));
        let sessions: Vec<_> =
            calls[0].sessions.iter().map(|it| (it.server_ip.as_str(), it.session_id, it.executed)).collect();
        assert_eq!(sessions, [(named.0.as_str(), named.1, true)]);
    }
}

#[tokio::test]
async fn session_ids_are_numbers_and_meant_for_single_sessions() {
    let server = Server::answering(http("200 OK", "", r#"{"RequestId":"R","Data":[{"Success":true}]}"#)).await;
    let named = vec![("192.168.13.119".to_owned(), 3_221_614_618), ("fd00::1".to_owned(), 9_007_199_254_740_991)];
    answered(fast().kill(Permit::valid(), &batch_kill(named.clone()), &access(&server.url())).await);
    let by_name = KillCall { operation: Operation::KillProcessList, ..batch_kill(named) };
    answered(fast().kill(Permit::valid(), &by_name, &access(&server.url())).await);
    let requests = server.requests();
    assert!(requests[0].to_ascii_lowercase().contains("x-acs-action: batchkillprocesslist\r\n"), "{}", requests[0]);
    let parameters = |list: &str| {
        let pairs = [("InstanceId", "ob317v4uif0001"), ("SessionList", list), ("TenantId", "t4louaeei0001")];
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    };
    let numbers =
        r#"[{"ServerIp":"192.168.13.119","SessionId":3221614618},{"ServerIp":"fd00::1","SessionId":9007199254740991}]"#;
    let mut batch = parameters(numbers);
    batch.push(("ByObSessionId".to_owned(), "true".to_owned()));
    assert_eq!(form(&requests[0]), batch);
    let texts = r#"[{"ServerIp":"192.168.13.119","SessionId":"3221614618"},{"ServerIp":"fd00::1","SessionId":"9007199254740991"}]"#;
    assert_eq!(form(&requests[1]), parameters(texts));
}

#[tokio::test]
async fn an_answer_says_of_no_session_what_became_of_it() {
    let gateway = start(None).await;
    let named = vec![one_of_two_behind_a_proxy(), ("192.168.13.119".to_owned(), 7)];
    let answer = answered(fast().kill(Permit::valid(), &batch_kill(named), &access(&gateway.url())).await);
    assert_eq!(answer.rows, []);
    assert_eq!(gateway.kills_per_session().into_keys().collect::<Vec<_>>(), [one_of_two_behind_a_proxy()]);
}

#[tokio::test]
async fn the_permit_comes_back_only_if_nothing_was_executed() {
    let gateway = start(None).await;
    let kill = batch_kill(vec![one_of_two_behind_a_proxy()]);
    gateway.inject(Fault::new(FaultKind::RemoveAction).times(1));
    let error = not_executed(fast().kill(Permit::valid(), &kill, &access(&gateway.url())).await);
    assert_eq!(error.kind, ErrorKind::OperationNotFound);
    assert_eq!(gateway.kills_per_session().len(), 0);
    gateway.inject(Fault::new(FaultKind::Drop).after().times(1));
    ambiguous(fast().kill(Permit::valid(), &kill, &access(&gateway.url())).await, "AnswerLost");
    assert_eq!(gateway.kills_per_session().len(), 1);
}

/// The case that KillProcessList has been removed: the returned permit is used for the other operation.
#[tokio::test]
async fn the_permit_that_came_back_serves_the_other_operation() {
    let gateway = start(None).await;
    gateway.inject(Fault::new(FaultKind::RemoveAction).on("KillProcessList"));
    let access = access(&gateway.url());
    let kill = batch_kill(vec![one_of_two_behind_a_proxy()]);
    let first = KillCall { operation: Operation::KillProcessList, ..kill.clone() };
    let permit = match fast().kill(Permit::valid(), &first, &access).await {
        Called::NotExecuted(permit, error) if error.kind == ErrorKind::OperationNotFound => permit,
        other => panic!("{other:?}"),
    };
    answered(fast().kill(permit, &KillCall { request: 1, ..kill }, &access).await);
    assert_eq!(gateway.kills_per_session().into_values().collect::<Vec<_>>(), [1]);
}
