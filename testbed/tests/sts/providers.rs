//! Official credential providers, unchanged but for host and scheme. Each signs a call with the key that it gets.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
};

use testbed::{
    gateway::{
        Gateway, Identity,
        sts::standard::{AUDIENCE, instance_role, oidc_role, provider, role},
    },
    javascript, python, scratch,
};
use tokio::{process::Command, task::spawn_blocking};

use crate::{
    ground::{gateway, standard_with_tokens},
    tokens::token,
};

const SESSION: &str = "provider";

/// The path of a script beside this file.
fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sts").join(name)
}

/// Runs the client, which uses each provider once.
async fn run(command: std::process::Command, home: &Path) {
    let gateway = gateway(standard_with_tokens().await).await;
    let scratch = scratch::directory().unwrap();
    let token_file = scratch.path().join("token");
    std::fs::write(&token_file, token("ob-kill", AUDIENCE).await).unwrap();
    let (role, oidc_role) = (role().to_string(), oidc_role().to_string());
    let mut command = Command::from(command);
    for variable in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        command.env_remove(variable);
    }
    let output = command
        .env("GATEWAY", gateway.address().to_string())
        .env("METADATA", gateway.metadata_address().unwrap().to_string())
        .env("ROLE", &role)
        .env("OIDC_ROLE", &oidc_role)
        .env("OIDC_PROVIDER", provider())
        .env("OIDC_TOKEN_FILE", &token_file)
        .env("INSTANCE_ROLE", instance_role().name)
        .env("SESSION", SESSION)
        // No credentials but those of the script.
        .env("HOME", home)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let assumed =
        |role_arn: &String| Identity::AssumedRole { role_arn: role_arn.clone(), session_name: SESSION.into() };
    let callers = callers(&gateway, "DescribeProcessStatsComposition");
    let instance = Identity::InstanceRole { role_arn: instance_role().to_string() };
    assert_eq!(callers, [assumed(&role), assumed(&oidc_role), instance]);
    let tokens = gateway.metadata_requests().into_iter().filter(|it| it.action == Some("PutMetadataToken")).count();
    assert!(tokens > 0, "version 2 of the metadata service was used");
}

/// Who made the calls of this action that went well.
fn callers(gateway: &Gateway, action: &str) -> Vec<Identity> {
    let calls = gateway.calls().into_iter();
    let calls = calls.filter(|call| call.action.as_deref() == Some(action) && call.result.as_deref() == Some("OK"));
    calls.map(|call| call.identity.unwrap()).collect()
}

#[tokio::test]
async fn those_for_python_work() {
    let requirements = &[
        "alibabacloud-credentials==1.0.12",
        "alibabacloud-oceanbasepro20190901==12.0.0",
        "alibabacloud-tea-openapi==0.4.6",
    ];
    let environment = spawn_blocking(move || python::environment("credentials", requirements)).await.unwrap().unwrap();
    let mut command = std::process::Command::new(environment.join("bin/python"));
    command.arg(script("providers.py"));
    run(command, &environment).await;
}

#[tokio::test]
async fn those_for_node_work_where_there_is_node() {
    let packages = &["@alicloud/credentials@2.4.7", "@alicloud/openapi-client@0.4.15", "@alicloud/tea-util@1.4.11"];
    let Some(directory) = spawn_blocking(move || javascript::packages("credentials", packages)).await.unwrap().unwrap()
    else {
        println!("skipped, as this machine has no Node.js with npm");
        return;
    };
    let command = javascript::command(&directory, &script("providers.js"));
    assert_eq!(command.get_program(), OsStr::new("node"));
    run(command, &directory).await;
}
