//! Access keys, tokens and statements do not leak, even at the most detailed log level and with every kind of failure.
//! Every scene checks this at its end. Here everything is logged, and every failure is provoked.

use serde_json::json;
use sessionkill::api::SessionKill;
use testbed::gateway::{Fault, FaultKind};

use crate::scene::{
    KEY_ID, KEY_SECRET, Keys, Launch, Request as _, SQL_MARK, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN, Scene,
};

const STS_KEYS: Keys<'_> =
    &[("accessKeyID", STS_KEY_ID), ("accessKeySecret", STS_KEY_SECRET), ("securityToken", STS_TOKEN)];

const LONG_TERM_KEYS: Keys<'_> = &[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET)];

/// A request for the session `number`, with its own connection and its own labelled Secret with these keys.
async fn request_with(scene: &Scene, name: &str, method: &str, keys: Keys<'_>, number: i64) {
    scene.put_secret(name, true, keys).await;
    scene.put_connection(name, name, json!({"signatureMethod": method, "sqlText": "Truncated"})).await;
    scene.request(name).through(name).sessions([number]).create().await;
}

fn is_refused(object: &SessionKill) -> Option<()> {
    ["CredentialsRejected", "CredentialsUnavailable"].contains(&object.reason()).then_some(())
}

#[tokio::test]
async fn no_secret_and_no_statement_is_told_even_when_everything_is_logged() {
    let scene = Scene::set("canaries").await;
    scene.launch(Launch { log: Some("trace"), ..Launch::default() }).await;
    let refused: [(&str, Keys<'_>); 6] = [
        ("swapped", &[("accessKeyID", KEY_ID), ("accessKeySecret", STS_KEY_SECRET)]),
        ("unknown", &[("accessKeyID", STS_TOKEN), ("accessKeySecret", KEY_SECRET)]),
        ("wrong-token", &[STS_KEYS[0], STS_KEYS[1], ("securityToken", KEY_SECRET)]),
        ("no-token", &STS_KEYS[..2]),
        ("no-id", &STS_KEYS[1..]),
        ("malformed", &[("accessKeyID", KEY_ID), ("accessKeySecret", concat!("CanaryKeySecret7f3a", " and more"))]),
    ];
    let faults = [
        ("throttled", Fault::new(FaultKind::Throttle)),
        ("forbidden", Fault::new(FaultKind::Error)),
        ("incomplete", Fault::new(FaultKind::Error).answering(400, "IncompleteSignature")),
        ("dropped", Fault::new(FaultKind::Drop)),
        ("truncated", Fault::new(FaultKind::Truncated)),
        ("html", Fault::new(FaultKind::Html)),
    ];
    let mut numbers = 1..;
    let mut number = || numbers.next().unwrap();
    for (method, suffix) in [("ACS3-HMAC-SHA256", "v3"), ("HMAC-SHA1", "v1")] {
        for (kind, keys) in [("long-term", LONG_TERM_KEYS), ("temporary", STS_KEYS)] {
            let name = format!("{kind}-{suffix}");
            request_with(&scene, &name, method, keys, number()).await;
            let ended = scene.wait_finished(&name).await;
            assert_eq!(ended.reason(), "SessionsKilled");
            let observed = ended.status.unwrap().sessions[0].observed.clone().unwrap();
            assert!(observed.sql_text.contains(SQL_MARK), "the user may see it in the status");
        }
        for (kind, keys) in refused {
            let name = format!("{kind}-{suffix}");
            request_with(&scene, &name, method, keys, number()).await;
            scene.wait_for(&name, "to be refused", is_refused).await;
            scene.assert_secrecy().await;
            // Without this, the request would be tried again, and take the faults that are meant for others.
            scene.delete(&name).await;
        }
        for (kind, fault) in &faults {
            let name = format!("{kind}-{suffix}");
            scene.inject(fault.clone().on("KillProcessList").times(1));
            request_with(&scene, &name, method, STS_KEYS, number()).await;
            scene.wait_finished(&name).await;
        }
    }
    scene.put_secret("unlabelled", false, STS_KEYS).await;
    scene.put_connection("unlabelled", "unlabelled", json!({})).await;
    scene.request("unlabelled").through("unlabelled").create().await;
    scene.wait_for_reason("unlabelled", "CredentialsUnavailable").await;

    assert!(scene.logs().contains("TRACE"), "everything was logged");
    scene.end().await;
}
