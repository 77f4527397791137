//! The worst that one user can do must not disturb another user's kill.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use sessionkill::api::SessionKill;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::scene::{Launch, Request as _, Scene, eventually, in_seconds};

/// An endpoint that accepts every call and answers none.
struct Dead {
    url: String,
    calls: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
}

impl Dead {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (calls, most_at_once, open) = <(Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (counted, most) = (calls.clone(), most_at_once.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                let open = open.clone();
                tokio::spawn(async move {
                    let mut heard = [0; 1024];
                    while stream.read(&mut heard).await.is_ok_and(|count| count > 0) {}
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { url, calls, most_at_once }
    }

    async fn was_called(&self, times: usize) {
        eventually("a call of the dead endpoint", async || match self.calls.load(Ordering::Relaxed) {
            calls if calls >= times => Ok(()),
            calls => Err(format!("{calls} calls")),
        })
        .await;
    }
}

#[tokio::test]
async fn made_up_tenants_at_an_endpoint_that_never_answers_take_nobody_elses_turn() {
    let scene = Scene::set("plain-beside-dead").await;
    let hostile = Scene::bare("dead-endpoint").await;
    let dead = Dead::start().await;
    hostile.good_secret().await;
    hostile.connection(json!({"endpoint": dead.url})).await;
    for number in 0..40 {
        hostile.request(&format!("waits-{number}")).tenant(&format!("t{number}")).dry_run().create().await;
    }
    let allow = vec![dead.url.as_str()];
    scene.launch(Launch { allow, namespaces: vec!["dead-endpoint"], ..Launch::default() }).await;
    dead.was_called(1).await;
    for number in 1..=5 {
        let name = format!("inc-{number}");
        scene.request(&name).sessions([number]).create().await;
        assert_eq!(scene.wait_finished(&name).await.reason(), "SessionsKilled");
    }
    scene.assert_killed_once(1..=5);
    // The requests of the dead connection all say why they wait, one after the other.
    for number in 0..40 {
        hostile.wait_for_reason(&format!("waits-{number}"), "EndpointUnreachable").await;
    }
    let most = dead.most_at_once.load(Ordering::Relaxed);
    assert!(most <= 5, "{most} calls at once: an eighth of 32, and the probe");
    hostile.end().await;
    scene.end().await;
}

#[tokio::test]
async fn a_connection_that_answers_again_wakes_all_that_wait_for_it() {
    let mut scene = Scene::set("answers-again").await;
    scene.stop_gateway().await;
    scene.operator().await;
    for number in 1..=8 {
        scene
            .request(&format!("inc-{number}"))
            .tenant(&format!("t{number}"))
            .sessions([number])
            .dry_run()
            .create()
            .await;
    }
    for number in 1..=8 {
        scene.wait_for_reason(&format!("inc-{number}"), "EndpointUnreachable").await;
    }
    scene.request("inc-0").create().await;
    scene.start_gateway().await;
    assert_eq!(scene.wait_finished("inc-0").await.reason(), "SessionsKilled");
    scene.assert_killed_once([1]);
    scene.end().await;
}

fn labels(count: usize) -> BTreeMap<String, String> {
    (0..count).map(|number| (format!("l{number:05}"), "x".repeat(63))).collect()
}

/// The largest number of labels that `template` may have. Beside these, no status fits into the object.
async fn most_labels(scene: &Scene, template: &SessionKill) -> usize {
    let requests = scene.requests();
    // Each label takes 75 bytes of the 1.5 MiB that etcd stores. The smallest status takes more than five labels.
    let (mut fits, mut too_many): (usize, usize) = (20_000, 21_200);
    while too_many - fits > 5 {
        let count = fits.midpoint(too_many);
        let mut object = template.clone();
        object.metadata.labels = Some(labels(count));
        match requests.create(&PostParams::default(), &object).await {
            Ok(_) => {
                fits = count;
                requests.delete(template.metadata.name.as_ref().unwrap(), &DeleteParams::default()).await.unwrap();
            }
            Err(error) => {
                assert!(error.to_string().contains("too large"), "{error}");
                too_many = count;
            }
        }
    }
    fits
}

/// A request whose name and tenant have a fixed length, so that the same number of labels fits into each.
fn template(scene: &Scene, name: &str, number: i64, tenant: &str, seconds: i64) -> SessionKill {
    let mut object = scene.request(name).sessions([number]).object();
    tenant.clone_into(&mut object.spec.tenant_id);
    object.spec.not_after_time.0 = in_seconds(seconds).round(jiff::Unit::Second).unwrap();
    object
}

#[tokio::test]
async fn a_request_whose_status_cannot_be_stored_is_recorded_and_holds_nobody_up() {
    let scene = Scene::set("too-large").await;
    let requests = scene.requests();
    let expired = |number| {
        let tenant = format!("{}{number}", &Scene::TENANT[1..]);
        template(&scene, &format!("expired-{number}"), 2, &tenant, -60)
    };
    let most = most_labels(&scene, &expired(0)).await;
    for mut object in [expired(0), expired(1), template(&scene, "is-killed", 1, Scene::TENANT, 600)] {
        object.metadata.labels = Some(labels(most));
        requests.create(&PostParams::default(), &object).await.unwrap();
    }
    // Only one permit for all calls: if a request kept it, the operator would stop.
    scene.launch(Launch { max_concurrent_calls: Some(1), ..Launch::default() }).await;

    let record = scene.wait_recorded("is-killed").await;
    assert_eq!(record.outcome.as_str(), "SessionsKilled");
    assert!(scene.wait_for_event("is-killed", "StatusNotStored").await.contains("SessionsKilled"));
    let told: Vec<Value> = scene.audit_lines().into_iter().filter(|line| line["name"] == "is-killed").collect();
    let subjects: Vec<&str> = told.iter().map(|line| line["audit"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["sessionkill.dev/kill", "sessionkill.dev/status-not-stored"]);
    for number in 3..=6 {
        let name = format!("inc-{number}");
        scene.request(&name).sessions([number]).create().await;
        assert_eq!(scene.wait_finished(&name).await.reason(), "SessionsKilled");
    }
    assert!(!requests.get("is-killed").await.unwrap().is_finished());

    // Once a user removes the labels, the outcome is written.
    let smaller = Patch::Merge(json!({"metadata": {"labels": null}}));
    for name in ["is-killed", "expired-0"] {
        requests.patch(name, &PatchParams::default(), &smaller).await.unwrap();
    }
    assert_eq!(scene.wait_finished("is-killed").await.reason(), "SessionsKilled");
    assert_eq!(scene.wait_finished("expired-0").await.reason(), "ExpiredOnArrival");
    scene.assert_killed_once([1, 3, 4, 5, 6]);
    requests.delete("expired-1", &DeleteParams::default()).await.unwrap();
    scene.end().await;
}
