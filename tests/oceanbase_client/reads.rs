//! The list and the probe: what they send, what they read, and that they end no session.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sessionkill::domain::snapshot::Limits;
use sessionkill::oceanbase::Operation::{BatchKillProcessList, KillProcessList};
use sessionkill::oceanbase::{CallError, Endpoint, ErrorKind, ProcessList, Seen};
use testbed::gateway::{Fault, FaultKind, Session, request::SignatureVersion};
use tokio::io::AsyncWriteExt as _;

use crate::{
    calls::{Permit, TOKEN, access, client, kill, tenant},
    gateway::{fast, signed, start},
    server::{LIMIT, Server, form, http},
};

const NO_LEAD: SignedDuration = SignedDuration::ZERO;

/// Lists the sessions in the answer of `endpoint`.
async fn list(endpoint: &str) -> Result<ProcessList, CallError> {
    fast().list_sessions(&tenant(), (|_| true, &[]), NO_LEAD, &access(endpoint)).await.map(|listed| listed.list)
}

/// Probes both operations.
async fn probe_both(endpoint: &str) -> [Result<(), CallError>; 2] {
    let (client, access) = (fast(), access(endpoint));
    [client.probe(KillProcessList, NO_LEAD, &access).await, client.probe(BatchKillProcessList, NO_LEAD, &access).await]
}

fn gateways_session() -> Session {
    Session {
        server_ip: "192.168.13.119".to_owned(),
        session_id: 3_221_614_618,
        client_ip: "10.2.3.4".to_owned(),
        user: "report_ro".to_owned(),
        database: "reports".to_owned(),
        command: "Query".to_owned(),
        status: "ACTIVE".to_owned(),
        sql_text: "SELECT '数', \"a\\b\"\n".to_owned(),
        sql_id: "45CCBDC7F1D2A0B34C5D6E7F8091A2B3".to_owned(),
        trace_id: "YB42".to_owned(),
        proxy_sess_id: Some("12402504630519660553".to_owned()),
        execute_time: 742,
        cpu_time: 600,
        ..Session::default()
    }
}

fn as_listed(session: Session) -> Seen {
    Seen {
        session_id: session.session_id,
        server_ip: session.server_ip,
        client_ip: session.client_ip,
        tenant_id: tenant().tenant_id,
        user: session.user,
        database: session.database,
        command: session.command,
        status: session.status,
        sql_text: session.sql_text,
        sql_id: session.sql_id,
        execute_time: session.execute_time.to_string(),
        proxy_session_id: session.proxy_sess_id.unwrap_or_default(),
        ..Seen::default()
    }
}

#[tokio::test]
async fn the_list_has_every_session_with_all_its_fields() {
    for (v1, version) in [(false, SignatureVersion::V3), (true, SignatureVersion::V1)] {
        for token in [None, Some(TOKEN)] {
            let gateway = start(token).await;
            let mut sessions = vec![gateways_session()];
            sessions.extend(gateway.sessions().await.unwrap().into_iter().skip(1));
            gateway.set_sessions(sessions.clone()).unwrap();
            let list = fast()
                .list_sessions(&tenant(), (|_| true, &[]), NO_LEAD, &signed(&gateway, v1, token))
                .await
                .unwrap()
                .list;
            assert_eq!(list.sessions, sessions.into_iter().map(as_listed).collect::<Vec<_>>());
            assert!(list.complete);
            let calls = gateway.calls();
            assert_eq!((calls.len(), calls[0].signature_version), (1, version));
            assert_eq!(calls[0].action.as_deref(), Some("DescribeProcessStatsComposition"));
            assert_eq!(gateway.kills_per_session().len(), 0);
        }
    }
}

#[tokio::test]
async fn the_list_of_a_tenant_without_sessions_is_empty_and_complete() {
    let gateway = start(None).await;
    gateway.set_sessions(vec![]).unwrap();
    assert_eq!(
        list(&gateway.url()).await.unwrap(),
        ProcessList { sessions: vec![], selected: vec![], complete: true, limits: Limits::default() }
    );
}

/// With a filter, sessions that exist would be missing in the list.
#[tokio::test]
async fn the_list_asks_for_the_tenant_and_for_nothing_else() {
    let server = Server::answering(http("200 OK", "", r#"{"Data":{"AllProcessList":[]}}"#)).await;
    for v1 in [false, true] {
        let mut access = access(&server.url());
        access.signature_v1 = v1;
        fast().list_sessions(&tenant(), (|_| true, &[]), NO_LEAD, &access).await.unwrap();
    }
    for request in server.requests() {
        let tenant = tenant();
        assert_eq!(
            form(&request),
            [("InstanceId".to_owned(), tenant.instance_id), ("TenantId".to_owned(), tenant.tenant_id)]
        );
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_list_that_is_not_whole_says_so() {
    let gateway = start(None).await;
    gateway.inject(Fault::new(FaultKind::Partial));
    let list = list(&gateway.url()).await.unwrap();
    assert_eq!((list.sessions.len(), list.complete), (2, false));
}

#[tokio::test]
async fn a_list_that_cannot_be_read_is_an_error_and_is_not_asked_for_again() {
    let gateway = start(None).await;
    for (fault, code) in [
        (Fault::new(FaultKind::Malformed), "UnreadableAnswer"),
        (Fault::new(FaultKind::Html), "UnreadableAnswer"),
        (Fault::new(FaultKind::Truncated), "AnswerLost"),
        (Fault::new(FaultKind::Drop), "AnswerLost"),
        (Fault::new(FaultKind::Status5xx), "ServiceUnavailable"),
        (Fault::new(FaultKind::ErrorBody200), "InternalError"),
    ] {
        gateway.clear_calls();
        gateway.inject(fault.times(1));
        let error = list(&gateway.url()).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Ambiguous, code), "{error}");
        assert_eq!(gateway.calls().len(), 1, "{code}");
    }
    assert!(list(&gateway.url()).await.unwrap().complete);
}

#[tokio::test]
async fn errors_of_reads_are_of_the_same_kinds_as_those_of_kills() {
    let gateway = start(None).await;
    for (fault, kind) in [
        (Fault::new(FaultKind::Error), ErrorKind::PermissionDenied),
        (
            Fault::new(FaultKind::Error).answering(400, "InvalidTimeStamp.Format"),
            ErrorKind::ClockRefused { server_time: None },
        ),
        (
            Fault::new(FaultKind::Throttle).retry_after(Duration::from_millis(1500)),
            ErrorKind::Throttled { retry_after: Some(SignedDuration::from_millis(1500)) },
        ),
        (Fault::new(FaultKind::Error).answering(404, "NoSuchVersion"), ErrorKind::OperationUnavailable),
        (Fault::new(FaultKind::RemoveAction), ErrorKind::OperationNotFound),
    ] {
        gateway.clear_calls();
        gateway.inject(fault);
        let [first, second] = probe_both(&gateway.url()).await;
        for error in [list(&gateway.url()).await.unwrap_err(), first.unwrap_err(), second.unwrap_err()] {
            // The clock goes on, so leave out the time.
            let found = match error.kind {
                ErrorKind::ClockRefused { server_time: Some(_) } => ErrorKind::ClockRefused { server_time: None },
                kind => kind,
            };
            assert_eq!(found, kind, "{error}");
        }
        gateway.clear_faults();
        assert_eq!(gateway.calls().len(), 3);
    }
    let mut wrong_secret = access(&gateway.url());
    wrong_secret.access_key.secret = "canary-secret-of-yesterday".into();
    let error = fast().list_sessions(&tenant(), (|_| true, &[]), NO_LEAD, &wrong_secret).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::CredentialsRejected);
    let error = fast().probe(KillProcessList, NO_LEAD, &wrong_secret).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::CredentialsRejected);
    let mut other_tenant = tenant();
    other_tenant.tenant_id.push('x');
    let error =
        fast().list_sessions(&other_tenant, (|_| true, &[]), NO_LEAD, &access(&gateway.url())).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Rejected);
}

#[tokio::test]
async fn reads_go_by_the_gateways_clock() {
    let gateway = start(None).await;
    gateway.inject(Fault::new(FaultKind::ClockSkew).skewed(SignedDuration::from_hours(1)));
    let error = list(&gateway.url()).await.unwrap_err();
    let ErrorKind::ClockRefused { server_time: Some(gateway_time) } = error.kind else { panic!("{error}") };
    let lead = gateway_time.duration_since(Timestamp::now());
    let access = access(&gateway.url());
    assert_eq!(fast().list_sessions(&tenant(), (|_| true, &[]), lead, &access).await.unwrap().list.sessions.len(), 4);
    fast().probe(KillProcessList, lead, &access).await.unwrap();
}

#[tokio::test]
async fn every_read_has_a_nonce_of_its_own() {
    let gateway = start(None).await;
    list(&gateway.url()).await.unwrap();
    list(&gateway.url()).await.unwrap();
    assert_eq!(probe_both(&gateway.url()).await, [Ok(()), Ok(())]);
    let mut nonces: Vec<_> = gateway.calls().into_iter().filter_map(|call| call.nonce).collect();
    assert!(nonces.iter().all(|nonce| nonce.len() == 32), "{nonces:?}");
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), 4);
}

#[tokio::test]
async fn a_probe_ends_nothing_and_finds_what_there_is() {
    for v1 in [false, true] {
        let gateway = start(None).await;
        let before = gateway.sessions().await.unwrap();
        let access = signed(&gateway, v1, None);
        for (operation, action) in
            [(KillProcessList, "KillProcessList"), (BatchKillProcessList, "BatchKillProcessList")]
        {
            gateway.clear_calls();
            fast().probe(operation, NO_LEAD, &access).await.unwrap();
            let calls = gateway.calls();
            assert_eq!((calls.len(), calls[0].action.as_deref()), (1, Some(action)));
            assert_eq!((&calls[0].instance, &calls[0].tenant, calls[0].sessions.len()), (&None, &None, 0));
            assert_eq!(calls[0].result.as_deref(), Some("MissingInstanceId"));
        }
        assert_eq!(gateway.sessions().await.unwrap(), before);
    }
}

#[tokio::test]
async fn a_probe_names_nothing_that_could_be_ended() {
    let server = Server::answering(http("400 Bad Request", "", r#"{"Code":"MissingParameter"}"#)).await;
    for v1 in [false, true] {
        let mut access = access(&server.url());
        access.signature_v1 = v1;
        fast().probe(BatchKillProcessList, NO_LEAD, &access).await.unwrap();
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(form(&request), []);
        for name in ["InstanceId", "TenantId", "SessionList"] {
            assert!(!request.contains(name), "{request}");
        }
    }
}

#[tokio::test]
async fn a_probe_tells_which_operation_was_removed() {
    let gateway = start(None).await;
    gateway.inject(Fault::new(FaultKind::RemoveAction).on("KillProcessList"));
    let [first, second] = probe_both(&gateway.url()).await;
    assert_eq!(first.unwrap_err().kind, ErrorKind::OperationNotFound);
    second.unwrap();
    gateway.clear_faults();
    gateway.inject(Fault::new(FaultKind::RemoveAction).on("BatchKillProcessList"));
    let [first, second] = probe_both(&gateway.url()).await;
    first.unwrap();
    assert_eq!(second.unwrap_err().kind, ErrorKind::OperationNotFound);
}

#[tokio::test]
async fn a_probe_that_was_answered_by_a_success_has_found_it() {
    let server = Server::answering(http("200 OK", "", r#"{"RequestId":"R","Data":[]}"#)).await;
    assert_eq!(probe_both(&server.url()).await, [Ok(()), Ok(())]);
}

#[tokio::test]
async fn a_probe_takes_nothing_for_an_answer_that_is_none() {
    for answer in [http("200 OK", "", "<html>"), http("502 Bad Gateway", "", "{}"), String::new()] {
        let server = Server::answering(answer).await;
        for probed in probe_both(&server.url()).await {
            assert_eq!(probed.unwrap_err().kind, ErrorKind::Ambiguous);
        }
    }
    let port = testbed::port::free().unwrap();
    for probed in probe_both(&format!("http://127.0.0.1:{port}")).await {
        assert_eq!(probed.unwrap_err().kind, ErrorKind::Unreachable);
    }
    assert!(Endpoint::parse("http://127.0.0.1:99999").is_err(), "refused before there is anything to send");
}

/// A read must not use up the time in which the kill may be sent. So list and probe time out earlier than a kill.
#[tokio::test]
async fn reads_are_given_up_before_a_kill_is() {
    let server = Server::start(|mut connection| async move {
        connection.read_request().await;
        connection.wait_for_the_end().await;
    })
    .await;
    let (client, access) = (client(LIMIT), access(&server.url()));
    let (kill, tenant) = (kill(), tenant());
    let reads = async {
        let (listed, probed) = tokio::join!(
            client.list_sessions(&tenant, (|_| true, &[]), NO_LEAD, &access),
            client.probe(KillProcessList, NO_LEAD, &access)
        );
        [listed.unwrap_err(), probed.unwrap_err()]
    };
    let errors = tokio::select! {
        errors = reads => errors,
        called = client.kill(Permit::valid(), &kill, &access) => panic!("the kill was given up first: {called:?}"),
    };
    for error in errors {
        assert_eq!((error.code.as_str(), error.message.as_str()), ("AnswerLost", "no answer within 5 s"));
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn reads_wait_no_longer_than_any_call_does() {
    let server = Server::start(|mut connection| async move {
        connection.read_request().await;
        connection.wait_for_the_end().await;
    })
    .await;
    let client = client(Duration::from_secs(1));
    let error = client.list_sessions(&tenant(), (|_| true, &[]), NO_LEAD, &access(&server.url())).await.unwrap_err();
    assert_eq!(error.message, "no answer within 1 s");
    // The server accepts the connection, and never answers the first message of TLS.
    let error = client
        .list_sessions(&tenant(), (|_| true, &[]), NO_LEAD, &access(&format!("https://{}", server.authority)))
        .await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_list_is_read_up_to_its_limit_and_no_further() {
    const LIMIT_OF_A_LIST: usize = 16 * 1024 * 1024;
    let row = format!(r#"{{"SessionId":7,"ServerIp":"::1","SqlText":"{}"}}"#, "x".repeat(100_000));
    let mut body = format!(r#"{{"Data":{{"AllProcessList":[{row}]}}}}"#);
    body.push_str(&" ".repeat(LIMIT_OF_A_LIST - body.len()));
    let server = Server::answering(http("200 OK", "", &body)).await;
    let listed = list(&server.url()).await.unwrap();
    assert_eq!((listed.sessions[0].sql_text.as_str(), listed.complete), ("x".repeat(8192).as_str(), true));

    body.push(' ');
    let server = Server::start(move |mut connection| {
        let answer = http("200 OK", "", &body);
        async move {
            connection.read_request().await;
            // Ignore the error: the client may close the connection before the last byte.
            let _ = connection.stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let error = list(&server.url()).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Ambiguous, "AnswerTooLarge"));
    assert!(error.message.contains("more than 16777216 bytes"), "{error}");
}

/// An answer that lists this number of sessions.
fn list_of(sessions: i64) -> String {
    let row = |id| format!(r#"{{"SessionId":{id},"ServerIp":"10.0.0.1","User":"user-{id}","SqlText":"SELECT {id}"}}"#);
    let rows = (1..=sessions).map(row).collect::<Vec<_>>().join(",");
    format!(r#"{{"RequestId":"R","Data":{{"AllProcessList":[{rows}],"TotalSessionCount":{sessions}}}}}"#)
}

#[tokio::test]
async fn of_a_large_list_the_sessions_that_were_asked_for_are_kept() {
    let server = Server::answering(http("200 OK", "", &list_of(10_000))).await;
    let wanted = |id| [1, 5000, 10_000, 10_001].contains(&id);
    let list = fast().list_sessions(&tenant(), (wanted, &[]), NO_LEAD, &access(&server.url())).await.unwrap().list;
    let users: Vec<_> = list.sessions.iter().map(|session| session.user.as_str()).collect();
    assert_eq!((users, list.complete), (vec!["user-1", "user-5000", "user-10000"], true));
}

#[tokio::test]
async fn a_large_list_that_is_cut_off_is_no_list_even_where_it_seems_to_be_whole() {
    let body = list_of(10_000);
    let whole = http("200 OK", "", &format!("{body} "));
    let head = whole.len() - body.len() - 1;
    for end in [whole.len() - 1, head + 300_000, head + 100_000] {
        let server = Server::answering(&whole.as_bytes()[..end]).await;
        let error = list(&server.url()).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Ambiguous, "AnswerLost"), "{end}");
    }
    // The gateway says that the body is complete.
    for end in [body.len() - 1, 300_000] {
        let server = Server::answering(http("200 OK", "", &body[..end])).await;
        let error = list(&server.url()).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Ambiguous, "UnreadableAnswer"), "{end}");
    }
}

#[tokio::test]
async fn a_large_error_is_an_error() {
    let other = "x".repeat(400_000);
    for body in [
        format!(r#"{{"Code":"Throttling.User","Other":"{other}","Message":"m","RequestId":"R"}}"#),
        format!(r#"{{"Data":{{"AllProcessList":[{{"SqlText":"{other}"}}]}},"Code":"Throttling.User","Message":"m"}}"#),
    ] {
        let server = Server::answering(http("200 OK", "", &body)).await;
        let error = list(&server.url()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Throttled { retry_after: None }, "{error}");
    }
}

#[tokio::test]
async fn a_large_list_that_drips_is_given_up_in_time() {
    let server = Server::start(|mut connection| async move {
        connection.read_request().await;
        let head = "HTTP/1.1 200 OK\r\n\r\n{\"Data\":{\"AllProcessList\":[";
        let _ = connection.stream.write_all(head.as_bytes()).await;
        let _ = connection.stream.write_all(" ".repeat(300_000).as_bytes()).await;
        connection.write_for_ever(b" ", Duration::from_millis(20)).await;
    })
    .await;
    let client = client(Duration::from_secs(1));
    let error = client.list_sessions(&tenant(), (|_| true, &[]), NO_LEAD, &access(&server.url())).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("AnswerLost", "no answer within 1 s"));
    server.ended(1).await;
}
