//! `testbed up`, as somebody uses it from a shell.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::ensure;
use mysql_async::{Conn, OptsBuilder, prelude::Queryable};
use testbed::{
    process::{Output, Process},
    scratch,
};

const LIMIT: Duration = Duration::from_mins(3);

async fn up(directory: &Path, log: &str, arguments: &[&str]) -> anyhow::Result<Process> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.args(["up", "--no-operator"]).args(arguments).arg("--dir").arg(directory.join("stack"));
    let process = Process::start(&command, Output::together(directory.join(log)))?;
    process
        .ready(LIMIT, async || {
            ensure!(fs::read_to_string(process.log())?.contains("\nready\n"));
            Ok(())
        })
        .await?;
    Ok(process)
}

fn shell(directory: &Path, script: &str) -> anyhow::Result<String> {
    let output = Command::new("sh").args(["-euc", script]).arg(directory.join("stack/env")).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn the_env_file_is_enough_to_use_it_and_what_was_stored_is_there_the_next_time() {
    let directory = scratch::directory().unwrap();
    let memory = ["--backend", "memory"];
    let first = up(directory.path(), "first.log", &memory).await.unwrap();
    shell(directory.path(), r#". "$0"; $KUBECTL create namespace kept; printenv GATEWAY_URL SERVER_IP INSTANCE_ID"#)
        .unwrap();
    first.terminate().unwrap();
    let status = first.wait(LIMIT).await.expect("it ends when asked to");
    assert!(status.success(), "{status}; {}", first.tail());

    let second = up(directory.path(), "second.log", &memory).await.unwrap();
    let found = shell(directory.path(), r#". "$0"; $KUBECTL get namespace kept -o name"#).unwrap();
    assert_eq!(found.trim(), "namespace/kept");
    second.kill();
}

#[tokio::test]
async fn the_env_file_is_enough_to_get_temporary_keys() {
    let directory = scratch::directory().unwrap();
    let running = up(directory.path(), "log", &["--backend", "memory", "--sts-ttl", "60"]).await.unwrap();
    let script = r#". "$0"
        until $KUBECTL create serviceaccount ob-kill >&2; do sleep 1; done
        printenv STS_URL OIDC_PROVIDER_ARN OIDC_ROLE_ARN IMDS_URL IMDS_ROLE
        : "$ROLE_ARN" "$EXTERNAL_ROLE_ARN" "$EXTERNAL_ID" "$FORBIDDEN_ROLE_ARN"
        $KUBECTL create token ob-kill --audience sts.aliyuncs.com"#;
    let printed = shell(directory.path(), script).unwrap();
    let [sts, provider, role, metadata, instance_role, token] = printed.lines().collect::<Vec<_>>()[..] else {
        panic!("six lines: {printed}")
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let params = [
        ("Action", "AssumeRoleWithOIDC"),
        ("Version", "2015-04-01"),
        ("OIDCProviderArn", provider),
        ("RoleArn", role),
        ("RoleSessionName", "kills"),
        ("OIDCToken", token),
    ];
    let params = params.map(|(name, value)| format!("{name}={value}")).join("&");
    let answer = http.post(sts).body(params).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains(r#""AccessKeyId":"STS."#), "{answer}");

    let request = http.put(format!("{metadata}/latest/api/token"));
    let request = request.header("x-aliyun-ecs-metadata-token-ttl-seconds", "60");
    let token = request.send().await.unwrap().text().await.unwrap();
    let request = http.get(format!("{metadata}/latest/meta-data/ram/security-credentials/{instance_role}"));
    let answer = request.header("x-aliyun-ecs-metadata-token", token).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    running.kill();
}

#[tokio::test]
async fn the_env_file_is_enough_to_reach_the_engine_by_sql() {
    let directory = scratch::directory().unwrap();
    let running = up(directory.path(), "log", &["--sql-tls"]).await.unwrap();
    let value = |name: &str| {
        let printed = shell(directory.path(), &format!(r#". "$0"; printenv {name}"#)).unwrap();
        printed.trim_end().to_owned()
    };
    let options = OptsBuilder::default()
        .ip_or_hostname(value("SQL_HOST"))
        .tcp_port(value("SQL_PORT").parse().unwrap())
        .user(Some(format!("{}@{}", value("SQL_USER"), value("SQL_TENANT"))))
        .pass(Some(value("SQL_PASSWORD")))
        .prefer_socket(false);
    let mut operator = Conn::new(options.clone()).await.unwrap();
    let victim = Conn::new(options).await.unwrap();
    operator.query_drop("select * from oceanbase.V$OB_PROCESSLIST").await.unwrap();
    operator.query_drop(format!("kill {}", victim.id())).await.unwrap();
    let log = fs::read(value("ENGINE_LOG")).unwrap();
    assert!(String::from_utf8_lossy(&log).contains(&format!("server_sid={},", victim.id())));
    assert!(fs::read_to_string(value("SQL_CA")).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(value("SQL_CLUSTER"), "seekdb");
    running.kill();
}
