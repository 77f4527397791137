//! The official SDKs work against the gateway unchanged. What they do is in `sdk/*.py`.

// Clippy takes only functions marked as tests for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

use testbed::{
    gateway::{AccessKey, Backend, Gateway, GatewayOptions, Session},
    python,
};
use tokio::process::Command;

/// Runs a script that kills the sessions with the ids `1..=sessions`, each once.
async fn run(script: &str, requirements: &'static [&'static str], sessions: i64) {
    let name = script.trim_end_matches(".py");
    let environment = format!("sdk-{name}");
    let environment = tokio::task::spawn_blocking(move || python::environment(&environment, requirements));
    let environment = environment.await.unwrap().unwrap();

    let temporary = AccessKey { id: "STS.temporary".into(), secret: "sts-secret".into(), token: Some("t+/=".into()) };
    let mut options =
        GatewayOptions { backend: Backend::Memory((1..=sessions).map(session).collect()), ..GatewayOptions::default() };
    options.access_keys.push(temporary);
    let gateway = Gateway::start(options).await.unwrap();

    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(script);
    let output = Command::new(environment.join("bin/python"))
        .arg(script)
        .env("GATEWAY", gateway.url())
        // Nothing between the SDK and the gateway, and no credentials but those of the script.
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1")
        .env("HOME", environment)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let expected = (1..=sessions).map(|id| (("192.168.13.119".to_owned(), id), 1));
    assert_eq!(gateway.kills_per_session(), expected.collect());
}

fn session(session_id: i64) -> Session {
    Session {
        server_ip: "192.168.13.119".into(),
        session_id,
        user: "report 用户*~".into(),
        status: "ACTIVE".into(),
        sql_text: "SELECT 'a+b %'".into(),
        execute_time: 742,
        proxy_sess_id: Some("12402504630519660553".into()),
        ..Session::default()
    }
}

#[tokio::test]
async fn the_current_sdk_works_in_both_signature_versions() {
    run("current.py", &["alibabacloud-oceanbasepro20190901==12.0.0", "alibabacloud-tea-openapi==0.4.6"], 8).await;
}

#[tokio::test]
async fn the_legacy_sdk_works() {
    run("legacy.py", &["aliyun-python-sdk-oceanbasepro==1.0.31", "aliyun-python-sdk-core==2.16.1"], 4).await;
}
