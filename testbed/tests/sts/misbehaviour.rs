//! Faults of STS, which a test orders as those of other calls.

use serde_json::json;
use testbed::gateway::{Fault, FaultKind, sts::standard::role};

use crate::{
    ground::{gateway, standard},
    signed::{Key, client},
};

#[tokio::test]
async fn sts_refuses_and_lies_as_ordered() {
    let gateway = gateway(standard()).await;
    let own = Key::own();
    let ordered = |kind| Fault::new(kind).on("AssumeRole").times(1);
    for (fault, status, code) in [
        (ordered(FaultKind::Throttle), 400, "Throttling.User"),
        (ordered(FaultKind::Status5xx), 503, "ServiceUnavailable"),
        (ordered(FaultKind::Status5xx).answering(500, "InternalError"), 500, "InternalError"),
        (ordered(FaultKind::ErrorBody200), 200, "InternalError"),
    ] {
        gateway.inject(fault);
        assert_eq!(own.list(&gateway).await, "OK", "a fault for another action");
        let answer = own.assume(&gateway, &role(), &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
    }
    gateway.inject(ordered(FaultKind::PastExpiration));
    let answer = own.assume(&gateway, &role(), &[]).await;
    assert_eq!(answer.body["Credentials"]["Expiration"], "2020-01-02T03:04:05Z");
    assert_eq!(answer.key().list(&gateway).await, "OK", "only the answer is wrong");
    assert_eq!(own.assume(&gateway, &role(), &[]).await.code(), "OK");
}

#[tokio::test]
async fn a_redirect_leads_where_it_is_told_to() {
    let gateway = gateway(standard()).await;
    let elsewhere = "http://127.0.0.1:1/steal";
    let fault = json!({"kind": "redirect", "action": "AssumeRole", "location": elsewhere});
    let ordered = client().post(format!("{}/_testbed/faults", gateway.url())).body(fault.to_string());
    assert_eq!(ordered.send().await.unwrap().status(), 204);
    let call = client().get(format!("{}/?Action=AssumeRole&Version=2015-04-01", gateway.url()));
    let answer = call.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (307, elsewhere));
    assert_eq!(gateway.calls()[0].fault.as_deref(), Some("redirect"));
}

#[tokio::test]
async fn requests_to_the_metadata_service_are_told_over_http() {
    let gateway = gateway(standard()).await;
    let url = format!("{}/_testbed/metadata", gateway.url());
    client().get(format!("http://{}/other", gateway.metadata_address().unwrap())).send().await.unwrap();
    let told = client().get(&url).send().await.unwrap().text().await.unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told[0]["path"], &told[0]["httpStatus"]), (&json!("/other"), &json!(404)));
    assert_eq!(client().delete(&url).send().await.unwrap().status(), 204);
    assert!(gateway.metadata_requests().is_empty());
}
