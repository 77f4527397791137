//! A second backend, without a server-side fence and with an answer for each session. Its kills take the whole path,
//! and only the call itself depends on the backend. The tests add the backend to the API server's schema, as the
//! shipped schema does not have it.
//!
//! The operator needs its feature `scripted`, which tests enable. `cargo build` and `testbed up` in the same target
//! directory build the operator without it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use sessionkill::api::{OceanBaseConnection, Outcome, SessionOutcome, SessionReason, VerificationPolicy};
use sessionkill::backends::scripted::{Question, Said};
use testbed::gateway::Backend;
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

use crate::scene::{Cluster, Request as _, SERVER_IP, Scene, Shown as _, eventually, in_seconds, session_id};

const SCRIPTED: &str = "scripted-ob";

/// The result of the next kill.
#[derive(Clone, Copy, Default, PartialEq)]
enum Next {
    #[default]
    Answered,
    /// Executed, but the answer is lost.
    AnswerLost,
    /// Refused before execution.
    Busy,
}

/// The server of the backend: its sessions, and how many times each was ended.
#[derive(Default)]
struct Server {
    sessions: BTreeMap<i64, Said>,
    next: Next,
    kills: BTreeMap<i64, usize>,
}

struct Script {
    server: Arc<Mutex<Server>>,
    address: SocketAddr,
    serving: AbortHandle,
}

impl Drop for Script {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Script {
    /// Starts it with sessions 1 to 9.
    async fn start() -> Self {
        let mut server = Server::default();
        (1..=9).for_each(|number| server.add(number));
        let server = Arc::new(Mutex::new(server));
        let router = Router::new().route("/{action}", post(answer)).with_state(server.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { server, address, serving }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Server) -> T) -> T {
        f(&mut self.server.lock().unwrap())
    }

    fn next(&self, next: Next) {
        self.with(|server| server.next = next);
    }

    fn kills(&self) -> BTreeMap<i64, usize> {
        self.with(|server| server.kills.clone())
    }
}

async fn answer(State(server): State<Arc<Mutex<Server>>>, Path(action): Path<String>, body: Bytes) -> Response {
    let question: Question = serde_json::from_slice(&body).unwrap();
    let mut server = server.lock().unwrap();
    match action.as_str() {
        "probe" => json!(null).to_string().into_response(),
        "list" => {
            assert_eq!((question.instance.as_str(), question.tenant.as_str()), (Scene::INSTANCE, Scene::TENANT));
            json!(server.sessions.values().collect::<Vec<_>>()).to_string().into_response()
        }
        "kill" if server.next == Next::Busy => StatusCode::TOO_MANY_REQUESTS.into_response(),
        "kill" => {
            let said = question.sessions.iter().filter_map(|(_, id)| server.end(*id)).collect::<Vec<_>>();
            if server.next == Next::AnswerLost {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            json!(said).to_string().into_response()
        }
        other => panic!("no backend asks for {other}"),
    }
}

impl Server {
    fn add(&mut self, number: i64) {
        let session = session_id(number);
        let said = Said { server: SERVER_IP.into(), session, user: "report_ro".into(), error: String::new() };
        self.sessions.insert(session, said);
    }

    fn end(&mut self, id: i64) -> Option<Said> {
        let said = self.sessions.get(&id)?.clone();
        *self.kills.entry(id).or_default() += 1;
        if said.error.is_empty() {
            self.sessions.remove(&id);
        }
        Some(said)
    }
}

/// A cluster whose definition of connections has the second backend.
async fn cluster() -> Arc<Cluster> {
    static CLUSTER: OnceCell<Arc<Cluster>> = OnceCell::const_new();
    let start = async || {
        let cluster = Cluster::start("second-backend").await;
        let definitions: Api<CustomResourceDefinition> = Api::all(cluster.control_plane.client().await.unwrap());
        let name = "oceanbaseconnections.sessionkill.dev";
        let mut definition = json!(definitions.get(name).await.unwrap());
        let of_object = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        of_object["spec"]["properties"]["scripted"] =
            json!({"type": "object", "properties": {"address": {"type": "string"}}});
        let rules = of_object["spec"]["x-kubernetes-validations"].as_array_mut().unwrap();
        rules.retain(|rule| !rule["rule"].as_str().unwrap().starts_with("has(self.alibabaCloud)"));
        of_object["status"]["properties"]["backend"]["enum"].as_array_mut().unwrap().push("Scripted".into());
        let definition = serde_json::from_value(definition).unwrap();
        definitions.replace(name, &PostParams::default(), &definition).await.unwrap();
        cluster
    };
    CLUSTER.get_or_init(start).await.clone()
}

/// A scene with an operator and a connection to `script`.
async fn scene(name: &str, script: &Script) -> Scene {
    let scene = Scene::on(cluster().await, name, Backend::Memory(vec![])).await;
    let connection: Value = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": SCRIPTED},
        "spec": {"scripted": {"address": script.address.to_string()}, "tenantIDs": [Scene::TENANT]},
    });
    let connections: Api<OceanBaseConnection> = scene.api();
    let connection = serde_json::from_value(connection).unwrap();
    eventually("the definition with the second member", async || {
        connections.create(&PostParams::default(), &connection).await.map_err(|error| error.to_string())
    })
    .await;
    scene.operator().await;
    scene
}

#[tokio::test]
async fn a_kill_by_a_backend_without_a_fence_has_an_answer_for_each_session_and_all_that_follows() {
    let script = Script::start().await;
    script.with(|server| server.sessions.get_mut(&session_id(2)).unwrap().error = "You are not owner".into());
    let scene = scene("scripted", &script).await;
    scene.request("inc-1").through(SCRIPTED).sessions([1, 2, 12]).create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(
        ended.outcomes(),
        [
            (SessionOutcome::Killed, SessionReason::Verified),
            (SessionOutcome::Failed, SessionReason::KillRefused),
            (SessionOutcome::Gone, SessionReason::NotFound),
        ]
    );
    let status = ended.status.unwrap();
    assert_eq!(status.sessions[1].error_message, "You are not owner");
    assert_eq!(status.dispatch.unwrap().request_id, "script-1");
    assert_eq!(script.kills(), BTreeMap::from([(session_id(1), 1), (session_id(2), 1)]));
    let record = scene.wait_recorded("inc-1").await;
    assert_eq!((record.outcome, &record.sessions), (Outcome::PartiallyKilled, &status.sessions));
    assert_eq!(scene.audit_lines()[0]["sessions"][1]["outcome"], "Failed");

    let connections: Api<OceanBaseConnection> = scene.api();
    let summary = eventually("what the connection says", async || {
        let connection = connections.get(SCRIPTED).await.map_err(|error| error.to_string())?;
        let summary = connection.summary();
        let backend = connection.status.and_then(|status| status.backend);
        if summary.is_empty() { Err("nothing".to_owned()) } else { Ok((json!(backend), summary)) }
    })
    .await;
    assert_eq!(summary.0, "Scripted");
    assert!(summary.1.contains(&"Ready=True(CallAnswered)".to_owned()), "{summary:?}");
    assert!(summary.1.contains(&"ServerSideFence=False(NotYetKnown)".to_owned()), "{summary:?}");
    scene.end().await;
}

#[tokio::test]
async fn an_answer_of_another_backend_that_is_lost_is_found_out_by_its_list_and_nothing_is_sent_again() {
    let script = Script::start().await;
    script.next(Next::AnswerLost);
    let scene = scene("scripted-lost", &script).await;
    let request = scene.request("inc-1").through(SCRIPTED).sessions([1]).verified(VerificationPolicy::Required, 5);
    request.create().await;
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [(SessionOutcome::Gone, SessionReason::NotFound)]);
    assert_eq!(scene.wait_recorded("inc-1").await.outcome, Outcome::SessionsGone);
    // The same content under another name, while another session has the ID.
    script.next(Next::Answered);
    script.with(|server| server.add(1));
    request.named("inc-2").create().await;
    assert_eq!(scene.wait_finished("inc-2").await.reason(), "AlreadyExecuted");
    assert_eq!(script.kills(), BTreeMap::from([(session_id(1), 1)]));
    scene.end().await;
}

#[tokio::test]
async fn a_call_that_another_backend_refuses_before_execution_waits_and_goes_out_once() {
    let script = Script::start().await;
    script.next(Next::Busy);
    let scene = scene("scripted-busy", &script).await;
    scene.request("inc-1").through(SCRIPTED).sessions([1]).create().await;
    scene.wait_for("inc-1", "to wait", |request| (request.reason() == "Throttled").then_some(())).await;
    scene.request("inc-2").through(SCRIPTED).sessions([2]).not_after(in_seconds(2)).create().await;
    let late = scene.wait_finished("inc-2").await;
    assert_eq!((late.reason(), script.kills()), ("DeadlineExceeded", BTreeMap::new()));
    script.next(Next::Answered);
    let ended = scene.wait_finished("inc-1").await;
    assert_eq!(ended.outcomes(), [(SessionOutcome::Killed, SessionReason::Verified)]);
    assert_eq!(script.kills(), BTreeMap::from([(session_id(1), 1)]));
    scene.end().await;
}
