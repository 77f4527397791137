//! A connection may list sessions with another access key than the one that ends them.

use std::sync::Arc;
use std::time::Duration;

use sessionkill::api::{KillOperation, WaitReason};
use sessionkill::backends::Backend;
use sessionkill::oceanbase::{AccessKey, Caller, Callers, Gateway, LIST_ACTION, Operation};

use crate::{
    calls::{Permit, access, client, kill, tenant},
    server::{Server, http},
};

const OBSERVER: &str = "STS.observer";

/// Whose keys sign calls.
#[derive(Clone, Copy)]
enum Who {
    One,
    Two,
    Observer,
}

fn backend(url: &str, who: Who) -> Backend {
    let mut observing = access(url);
    observing.access_key = AccessKey { id: OBSERVER.to_owned(), secret: "s".into(), security_token: Some("t".into()) };
    let kills = Caller { access: access(url), key_source: "Secret killer".to_owned() };
    let lists = Caller { access: observing, key_source: "role observer".to_owned() };
    let callers = match who {
        Who::One => Callers::Same(kills),
        Who::Two => Callers::Apart { kills, lists },
        Who::Observer => Callers::Lists(lists),
    };
    Backend::AlibabaCloud(Gateway {
        client: client(Duration::from_secs(30)),
        callers,
        kill_operation: KillOperation::Auto,
        stored_operation: None,
        known: Arc::default(),
    })
}

/// The IDs of the keys that signed a list, a kill and a probe.
async fn signed_by(who: Who) -> Vec<String> {
    let server = Server::answering(http("200 OK", "", r#"{"RequestId":"R","Data":{"AllProcessList":[]}}"#)).await;
    let backend = backend(&server.url(), who);
    backend.list(&tenant(), Arc::default(), None).await.unwrap();
    let _ = backend.kill(Permit::valid(), &kill().target, 0).await;
    let _ = backend.probe(Operation::KillProcessList, None).await;
    let key = |request: String| request.split("Credential=").nth(1)?.split(',').next().map(str::to_owned);
    server.requests().into_iter().filter_map(key).collect()
}

#[tokio::test]
async fn only_the_list_is_signed_by_whoever_observes() {
    let killer = crate::calls::KEY_ID;
    assert_eq!(signed_by(Who::Two).await, [OBSERVER, killer, killer], "a probe asks whether kills would be taken");
    assert_eq!(signed_by(Who::One).await, [killer; 3]);
    assert_eq!(signed_by(Who::Observer).await, [OBSERVER; 2], "a list and a probe: it ends nothing");
}

#[tokio::test]
async fn a_refusal_names_the_key_that_was_refused_and_an_expired_one_is_told() {
    let body = r#"{"Code":"InvalidAccessKeyId.NotFound","Message":"not found","RequestId":"R"}"#;
    let server = Server::answering(http("404 Not Found", "", body)).await;
    let backend = backend(&server.url(), Who::Two);
    let error = backend.list(&tenant(), Arc::default(), None).await.unwrap_err();
    let said = |action| backend.refusal(action, "ob1", &error).unwrap();
    assert_eq!(said(LIST_ACTION).0, WaitReason::CredentialsRejected);
    assert!(said(LIST_ACTION).1.ends_with("correct the access key in role observer"), "{:?}", said(LIST_ACTION));
    assert!(said("KillProcessList").1.ends_with("correct the access key in Secret killer"));
    assert_eq!(backend.expired_key(LIST_ACTION, &error).unwrap().id, OBSERVER, "it is temporary");
    assert!(backend.expired_key("KillProcessList", &error).is_none(), "a lasting key does not expire");
}
