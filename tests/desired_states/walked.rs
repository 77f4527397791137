//! Changes the connection, the Secret and the requests of one namespace in a random order. At the end everything must
//! be as it should be.

use fastrand::Rng;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use sessionkill::api::SessionKill;

use crate::created::{assert_alive, changed, full_connection, judge, spec_changes};
use crate::scene::{KEY_ID, KEY_SECRET, Keys, Request as _, Scene, eventually};
use crate::seed;
use crate::server::{refuse_unknown_fields, replace_spec};

const STEPS: usize = 60;

/// Contents of the Secret. Some of them are good.
const SECRETS: [Keys<'static>; 9] = [
    &[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET)],
    &[("accessKeyID", KEY_ID), ("accessKeySecret", KEY_SECRET), ("securityToken", "")],
    &[("accessKeyID", "\n LTAI5tCanaryKeyID\r\n"), ("accessKeySecret", KEY_SECRET), ("other", "x")],
    &[("accessKeyID", KEY_ID)],
    &[("accessKeyID", KEY_ID), ("accessKeySecret", "")],
    &[("accessKeyID", KEY_ID), ("accessKeySecret", "of yesterday")],
    &[("accessKeyID", KEY_ID), ("accessKeySecret", "0f-yesterday")],
    &[("accessKeyID", "LTAInobody"), ("accessKeySecret", "数")],
    &[],
];

/// One random change by a user.
async fn step(scene: &Scene, number: usize, choices: &mut Rng) {
    match choices.usize(..5) {
        0 => {
            let good = full_connection(scene, Scene::CONNECTION);
            let (object, changes) = changed(&good, &spec_changes(&good), choices);
            let put = |stored: &mut Value| stored["spec"] = object["spec"].clone();
            let answer = replace_spec(scene, "OceanBaseConnection", Scene::CONNECTION, put).await;
            judge(&object, &changes, &answer);
        }
        1 => scene.put_secret(Scene::SECRET, choices.usize(..3) > 0, SECRETS[choices.usize(..SECRETS.len())]).await,
        2 | 3 => {
            let request = scene.request(&format!("step-{number}")).sessions([i64::try_from(number % 50).unwrap() + 1]);
            let request = match choices.usize(..4) {
                0 => request.suspended(),
                1 => request.dry_run(),
                _ => request,
            };
            request.create().await;
        }
        _ => {
            let requests = scene.requests().list(&ListParams::default()).await.unwrap().items;
            if requests.is_empty() {
                return;
            }
            let name = choices.choice(&requests).unwrap().metadata.name.clone().unwrap();
            let changes = [
                ("suspend", json!(true), true),
                ("suspend", json!(false), true),
                ("ttlSecondsAfterFinished", json!(0), true),
                ("tenantID", json!("t-other"), false),
                ("notAfterTime", json!("2999-01-01T00:00:00Z"), false),
                ("mode", json!("Other"), false),
            ];
            let (field, value, free) = choices.choice(changes).unwrap();
            let answer =
                replace_spec(scene, "SessionKill", &name, |stored| stored["spec"][field] = value.clone()).await;
            assert_eq!(answer.is_ok(), free, "{field}: {answer:?}");
            assert!(free || answer.unwrap_err().contains(&format!("spec.{field}")), "{field} is not named");
        }
    }
}

#[tokio::test]
async fn after_any_walk_through_states_everything_ends_once_the_state_is_good() {
    let mut choices = seed::of_this_run("walk");
    let scene = Scene::set("walk").await;
    refuse_unknown_fields(&scene).await;
    let operator = scene.operator().await;
    for number in 0..STEPS {
        step(&scene, number, &mut choices).await;
        if number % 20 == 19 {
            assert_alive(&scene, &operator, 51 + i64::try_from(number / 20).unwrap()).await;
        }
    }
    scene.good_secret().await;
    let good = full_connection(&scene, Scene::CONNECTION);
    let put = |stored: &mut Value| stored["spec"] = good["spec"].clone();
    replace_spec(&scene, "OceanBaseConnection", Scene::CONNECTION, put).await.unwrap();
    let requests: Api<SessionKill> = scene.requests();
    for request in requests.list(&ListParams::default()).await.unwrap().items {
        let name = request.metadata.name.unwrap();
        replace_spec(&scene, "SessionKill", &name, |stored| stored["spec"]["suspend"] = false.into()).await.unwrap();
    }
    eventually("every request to end", async || {
        let requests = requests.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
        requests.into_iter().find(|it| !it.is_finished()).map_or(Ok(()), |it| Err(json!(it).to_string()))
    })
    .await;
    assert_alive(&scene, &operator, 60).await;
    scene.end().await;
}
