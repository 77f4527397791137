//! `testbed measure`: the cost of the operator on a real control plane, in memory and in requests to the API server.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, PostParams};
use secrecy::ExposeSecret;
use serde_json::json;
use sessionkill::api::{OceanBaseConnection, SessionKill};
use tokio::task::spawn_blocking;

use crate::{
    gateway::Session,
    operator::{Operator, build_operator},
    scratch,
    stack::{OperatorChoice, Sessions, Stack, StackOptions},
};

const LIMIT: Duration = Duration::from_mins(15);
const SERVER: &str = "192.168.13.119";

/// Options of `testbed measure`.
#[derive(Args, Debug)]
#[command(about = "Measure the operator's memory and its requests to the API server")]
pub struct MeasureArgs {
    /// The number of SessionKills to create at once, each for one session of one tenant.
    #[arg(long, default_value_t = 1000)]
    requests: u32,
    /// The cargo profile of the operator.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Measures, and prints a table.
pub async fn measure(args: MeasureArgs) -> anyhow::Result<()> {
    let directory = scratch::directory()?;
    let stack = Stack::start(StackOptions {
        directory: directory.path().into(),
        sessions: Sessions::Memory,
        operator: OperatorChoice::Binary(spawn_blocking(move || build_operator(&args.profile)).await??),
        sts: None,
    })
    .await?;
    let measured = measure_on(&stack, args.requests).await;
    stack.stop().await;
    measured
}

async fn measure_on(stack: &Stack, requests: u32) -> anyhow::Result<()> {
    let operator = stack.operator.as_ref().context("the stack has no operator")?;
    let client = stack.control_plane.client().await?;
    let session_kills: Api<SessionKill> = Api::default_namespaced(client.clone());
    prepare(stack, &client, requests).await?;

    // Make one request first: it loads connections, certificates and the watch, which all later ones use.
    create(stack, &session_kills, 0).await?;
    finished(&session_kills, 1).await?;
    let at_rest = operator.rss_bytes()?;
    let before = stack.control_plane.requests_by_verb(&stack.operator_user())?;
    let calls_before = calls_by_action(stack);

    let started = Instant::now();
    futures::stream::iter(1..=requests)
        .map(|number| create(stack, &session_kills, number))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await?;
    let peak = watch_memory(operator, finished(&session_kills, requests as usize + 1)).await?;
    let took = started.elapsed();
    let kills = stack.gateway.kills_per_session();
    ensure!(
        kills.values().all(|kills| *kills == 1) && kills.len() == requests as usize + 1,
        "not one kill per session"
    );

    println!(
        "{requests} SessionKills of one tenant, one session each: all ended {:.1} s after the first was made",
        took.as_secs_f64()
    );
    println!("operator, at rest           {:>8.1} MiB", mebibytes(at_rest));
    println!("operator, most              {:>8.1} MiB", mebibytes(peak));
    println!("operator, afterwards        {:>8.1} MiB", mebibytes(operator.rss_bytes()?));
    println!("calls of the operator to the gateway, per SessionKill:");
    for (action, count) in calls_by_action(stack) {
        print_share(&action, count - calls_before.get(&action).copied().unwrap_or_default(), requests)?;
    }
    println!("requests of the operator to the API server, per SessionKill:");
    for (request, count) in stack.control_plane.requests_by_verb(&stack.operator_user())? {
        print_share(&request.to_string(), count - before.get(&request).copied().unwrap_or_default(), requests)?;
    }
    Ok(())
}

fn calls_by_action(stack: &Stack) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for call in stack.gateway.calls() {
        *counts.entry(call.action.unwrap_or_default()).or_default() += 1;
    }
    counts
}

/// A row of the table: how many of `count` there are for each of `requests`. `None` if there are none.
fn print_share(what: &str, count: u64, requests: u32) -> anyhow::Result<()> {
    if count > 0 {
        println!("  {what:<32}{:>8.3}", f64::from(u32::try_from(count)?) / f64::from(requests));
    }
    Ok(())
}

async fn prepare(stack: &Stack, client: &kube::Client, requests: u32) -> anyhow::Result<()> {
    let sessions = (0..=requests).map(|number| Session {
        server_ip: SERVER.into(),
        session_id: i64::from(number) + 1,
        status: "SLEEP".into(),
        user: "report_ro".into(),
        ..Session::default()
    });
    stack.gateway.set_sessions(sessions.collect())?;
    let key = stack.access_key();
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "aliyun-ak", "labels": {"sessionkill.dev/credentials": "true"}},
        "stringData": {"accessKeyID": key.id, "accessKeySecret": key.secret.expose_secret()},
    }))?;
    Api::default_namespaced(client.clone()).create(&PostParams::default(), &secret).await?;
    let connection: OceanBaseConnection = serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "OceanBaseConnection",
        "metadata": {"name": "prod-ob"},
        "spec": {
            "alibabaCloud": {
                "regionID": "cn-hangzhou",
                "endpoint": stack.gateway.url(),
                "credentials": {"secretRef": {"name": "aliyun-ak"}},
            },
        },
    }))?;
    Api::default_namespaced(client.clone()).create(&PostParams::default(), &connection).await?;
    Ok(())
}

async fn create(stack: &Stack, session_kills: &Api<SessionKill>, number: u32) -> anyhow::Result<()> {
    let not_after = Timestamp::now() + SignedDuration::from_hours(1);
    let request: SessionKill = serde_json::from_value(json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "SessionKill",
        "metadata": {"name": format!("request-{number:06}")},
        "spec": {
            "connectionRef": {"name": "prod-ob"},
            "instanceID": stack.instance(),
            "tenantID": stack.tenant(),
            "sessions": [{"serverIP": SERVER, "sessionID": number + 1}],
            "notAfterTime": not_after,
        },
    }))?;
    session_kills.create(&PostParams::default(), &request).await?;
    Ok(())
}

/// Waits until `count` requests have ended.
async fn finished(session_kills: &Api<SessionKill>, count: usize) -> anyhow::Result<()> {
    let ended = ListParams::default().fields("status.completionTime!=");
    let deadline = Instant::now() + LIMIT;
    while session_kills.list_metadata(&ended).await?.items.len() < count {
        ensure!(Instant::now() < deadline, "not all requests ended within {} min", LIMIT.as_secs() / 60);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// The peak memory of `operator` while `work` runs.
async fn watch_memory(operator: &Operator, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<u64> {
    let mut most = 0;
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done.map(|()| most),
            () = tokio::time::sleep(Duration::from_millis(50)) => most = most.max(operator.rss_bytes()?),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "memory in MiB with one decimal")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
