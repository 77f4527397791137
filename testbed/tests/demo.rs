//! `testbed demo`, as a newcomer runs it.

use std::process::Command;

#[test]
fn a_service_account_ends_a_session_and_the_cluster_has_no_secret() {
    let output = Command::new(env!("CARGO_BIN_EXE_testbed")).args(["demo", "--identity", "rrsa"]).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "sessionkill.dev/credentials=true",
        r#"{"serviceAccountRef":{"name":"ob-kill","#,
        "Kills executed by the gateway, in all: 1",
        r#"{"kind":"oidcSubject","subject":"system:serviceaccount:default:ob-kill"}"#,
        r#""roleArn":"acs:ram::123456789012:role/kill-oidc","sessionName":"sk-default-prod-ob"}"#,
        "items: []",
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
}
