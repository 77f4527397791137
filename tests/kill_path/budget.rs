//! The amount of stored objects does not decide how much memory the operator uses. Requests that do not fit into its
//! cache are processed too.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use sessionkill::api::{Expect, OceanBaseConnection, SessionKill};
use testbed::control_plane::Request as Asked;
use testbed::operator::{Operator, peak_rss_bytes};

use crate::scene::{At, Launch, Request as _, Scene, eventually, in_seconds};

const MIB: u64 = 1 << 20;

/// An operator whose cache budget is 0 MiB: no request fits into it.
async fn without_room(scene: &Scene) -> Arc<Operator> {
    let rights = scene.own_account(&Scene::full_rights()).await;
    let variables = vec!["SESSIONKILL_CACHE_BUDGET_MIB=0".to_owned()];
    scene.launch(Launch { kubeconfig: Some(rights), variables, ..Launch::default() }).await
}

/// How many times operators that run as the scene's own account have read a single request.
fn reads(scene: &Scene) -> u64 {
    scene.own_requests().get(&Asked::new("get", "sessionkills", "")).copied().unwrap_or_default()
}

async fn metric(operator: &Operator, name: &str) -> u64 {
    let metrics = Scene::metrics(operator).await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

async fn cache_bytes(operator: &Operator) -> u64 {
    metric(operator, "sessionkill_cache_bytes").await
}

#[tokio::test]
async fn a_request_that_the_cache_has_no_room_for_comes_to_the_same_end() {
    let scene = Scene::set("no-room").await;
    // Requests that exist at the start, and requests that are created later.
    scene.request("held").sessions([1, 2]).suspended().create().await;
    scene.request("before").sessions([3]).create().await;
    let operator = without_room(&scene).await;
    scene.request("after").sessions([4, 5]).create().await;
    scene.request("dry").sessions([6]).dry_run().create().await;
    scene.request("early").sessions([7]).not_before(in_seconds(3)).create().await;
    scene.request("late").sessions([8]).suspended().not_after(in_seconds(3)).create().await;
    let other = Expect { user: Some("somebody".into()), ..Expect::default() };
    scene.request("other").sessions([9]).expecting(&other).create().await;
    scene.request("elsewhere").sessions([10]).through("missing").create().await;

    for (name, reason) in [
        ("before", "SessionsKilled"),
        ("after", "SessionsKilled"),
        ("dry", "DryRunCompleted"),
        ("early", "SessionsKilled"),
        ("late", "DeadlineExceeded"),
        ("other", "PreconditionFailed"),
    ] {
        let ended = scene.wait_finished(name).await;
        assert_eq!(ended.reason(), reason, "{name}: {}", ended.message());
        assert_eq!(ended.outcomes().len(), ended.spec.sessions.len(), "{name}: {:?}", ended.outcomes());
    }
    let missing = scene.wait_for_reason("elsewhere", "ConnectionNotFound").await;
    assert_eq!(missing.outcomes().len(), 1);
    let held = scene.wait_for_reason("held", "Suspended").await;
    assert_eq!(held.outcomes().len(), 2, "of each session is told that it waits");
    scene.edit("held", json!({"spec": {"suspend": false}})).await;
    assert_eq!(scene.wait_finished("held").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1, 2, 3, 4, 5, 7]);
    assert_eq!(cache_bytes(&operator).await, 0);
    eventually("the reads in the audit log", async || {
        let reads = reads(&scene);
        // Each request that ended was read at least once.
        if reads >= 7 { Ok(()) } else { Err(format!("{reads} reads")) }
    })
    .await;
    scene.end().await;
}

#[tokio::test]
async fn a_request_that_the_cache_has_room_for_is_not_read_again() {
    let scene = Scene::set("room").await;
    let rights = scene.own_account(&Scene::full_rights()).await;
    let operator = scene.launch(Launch { kubeconfig: Some(rights), ..Launch::default() }).await;
    scene.request("held").sessions([9]).suspended().create().await;
    scene.wait_for_reason("held", "Suspended").await;
    for number in 1..=3 {
        let name = format!("inc-{number}");
        scene.request(&name).sessions([number]).create().await;
        assert_eq!(scene.wait_finished(&name).await.reason(), "SessionsKilled");
    }
    scene.wait_swept(1).await;
    assert_eq!(reads(&scene), 0);
    // A request that has ended frees its memory. One that waits keeps it.
    eventually("the room of one request", async || {
        let bytes = cache_bytes(&operator).await;
        if (1000..6000).contains(&bytes) { Ok(()) } else { Err(format!("{bytes} bytes")) }
    })
    .await;
    scene.end().await;
}

#[tokio::test]
async fn a_request_that_is_re_created_while_it_is_read_is_another_one() {
    let scene = Scene::set("re-created-unread").await;
    let api = scene.api_relay().await;
    let variables = vec!["SESSIONKILL_CACHE_BUDGET_MIB=0".to_owned()];
    scene.launch(Launch { api: Some(&api), variables, ..Launch::default() }).await;
    let read = api.hold(At::Request, Method::GET, "sessionkills/inc-1");
    scene.request("inc-1").sessions([1]).create().await;
    read.reached().await;
    scene.delete("inc-1").await;
    scene.request("inc-1").sessions([2]).suspended().create().await;
    read.release();
    assert_eq!(scene.wait_for_reason("inc-1", "Suspended").await.outcomes().len(), 1);
    scene.assert_nothing_sent();
    scene.edit("inc-1", json!({"spec": {"suspend": false}})).await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    scene.assert_killed_once([2]);
    scene.end().await;
}

/// Metadata with annotations as large as the API server accepts, and with this number of labels.
fn large_metadata(name: &str, labels: usize) -> Value {
    let label = |number| (format!("{}.example.com/{number}", "l".repeat(200)), "v".repeat(63));
    let labels: BTreeMap<String, String> = (0..labels).map(label).collect();
    json!({"name": name, "annotations": {"large": "x".repeat(250 * 1024)}, "labels": labels})
}

/// Creates `count` objects like `template` with large metadata.
async fn store<K>(scene: &Scene, template: &Value, count: usize, labels: usize)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + std::fmt::Debug,
    K: serde::de::DeserializeOwned + serde::Serialize,
{
    let all: Api<K> = scene.api();
    let create = async |number: usize| {
        let mut object = template.clone();
        object["metadata"] = large_metadata(&format!("large-{labels}-{number}"), labels);
        let object: K = serde_json::from_value(object).unwrap();
        all.create(&PostParams::default(), &object).await.map(drop)
    };
    stream::iter(0..count).map(create).buffer_unordered(4).try_collect::<()>().await.unwrap();
}

#[tokio::test]
async fn metadata_of_any_size_take_no_memory_of_the_operator() {
    let scene = Scene::set("large-metadata").await;
    // Requests of another tenant: why they wait does not matter here.
    let held = scene.request("template").sessions([9]).tenant("other").suspended().create().await;
    let mut held = json!(held);
    held["status"] = Value::Null;
    scene.delete("template").await;
    let mut connection = json!(scene.connection_now().await);
    connection["status"] = Value::Null;
    store::<SessionKill>(&scene, &held, 120, 0).await;
    store::<SessionKill>(&scene, &held, 20, 1000).await;
    store::<OceanBaseConnection>(&scene, &connection, 60, 0).await;

    let operator = scene.operator().await;
    scene.request("inc-1").sessions([1]).create().await;
    assert_eq!(scene.wait_finished("inc-1").await.reason(), "SessionsKilled");
    // All of them are in the cache. The memory that the lists needed on arrival is freed.
    let now = eventually("memory to be given back", async || {
        let now = operator.rss_bytes().unwrap() / MIB;
        if now <= 60 { Ok(now) } else { Err(format!("{now} MiB")) }
    })
    .await;
    let peak = peak_rss_bytes(operator.pid()).unwrap() / MIB;
    println!("now {now} MiB, at most {peak} MiB");
    assert!(peak <= 120, "at most {peak} MiB");
    assert!(metric(&operator, "sessionkill_unfinished_requests").await >= 140);
    scene.assert_killed_once([1]);
    operator.kill();
    // The test ends here: not all of their statuses need to be written.
    scene.requests().delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    scene.end().await;
}
