//! The competitors do the same job on the same real parts: what is measured against each other is the same work.

// Clippy takes only functions marked as tests for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use secrecy::ExposeSecret;
use serde_json::json;
use sessionkill::{
    api::{Outcome, SessionKill, SessionKillReceipt},
    domain::kill::claim::receipt_name,
};
use testbed::{
    control_plane::Request,
    gateway::{Fault, FaultKind, Session},
    peers::{self, Peer, PeerOptions},
    process::Process,
    scratch,
    stack::{OperatorChoice, Sessions, Stack, StackOptions},
};

const LIMIT: Duration = Duration::from_mins(2);
const SERVER: &str = "192.168.13.119";
const OPERATORS: [Peer; 2] = [Peer::ControllerRuntime, Peer::Kopf];

/// A stack without an operator, with the objects that every peer needs.
struct Field {
    // Before the directory: the parts end first.
    stack: Stack,
    requests: Api<SessionKill>,
    receipts: Api<SessionKillReceipt>,
    directory: tempfile::TempDir,
}

impl Field {
    async fn prepare() -> Self {
        let directory = scratch::directory().unwrap();
        let options = StackOptions {
            directory: directory.path().join("stack"),
            sessions: Sessions::Memory,
            operator: OperatorChoice::None,
            sts: None,
        };
        let stack = Stack::start(options).await.unwrap();
        let key = stack.access_key();
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "ak", "namespace": "default", "labels": {"sessionkill.dev/credentials": "true"}},
                "stringData": {"accessKeyID": key.id, "accessKeySecret": key.secret.expose_secret()},
            },
            {
                "apiVersion": "sessionkill.dev/v1alpha1",
                "kind": "OceanBaseConnection",
                "metadata": {"name": "ob", "namespace": "default"},
                "spec": {
                    "alibabaCloud": {
                        "regionID": "cn-hangzhou",
                        "endpoint": stack.gateway.url(),
                        "credentials": {"secretRef": {"name": "ak"}},
                    },
                },
            },
        ]});
        stack.control_plane.apply(&objects.to_string()).await.unwrap();
        let client = stack.control_plane.client().await.unwrap();
        let (requests, receipts) = (Api::namespaced(client.clone(), "default"), Api::namespaced(client, "default"));
        Self { stack, requests, receipts, directory }
    }

    async fn start(&self, peer: Peer, equal_writes: bool) -> Process {
        let kubeconfig = peers::kubeconfig(peer, &self.stack.control_plane).await.unwrap();
        let directory = self.directory.path().join(format!("{}-{equal_writes}", peer.name()));
        peers::start(peer, &PeerOptions { kubeconfig, directory, equal_writes }).await.unwrap()
    }

    /// Gives the gateway these sessions, each with something to be seen in a status.
    fn open(&self, ids: &[i64]) {
        let session = |session_id: &i64| Session {
            server_ip: SERVER.into(),
            session_id: *session_id,
            user: "report".into(),
            client_ip: "10.2.3.4".into(),
            database: "reports".into(),
            command: "Query".into(),
            status: "ACTIVE".into(),
            sql_text: "select 1".into(),
            execute_time: 742,
            ..Session::default()
        };
        self.stack.gateway.set_sessions(ids.iter().map(session).collect()).unwrap();
    }

    async fn request(&self, session_id: i64, mode: &str) -> SessionKill {
        let request = json!({
            "apiVersion": "sessionkill.dev/v1alpha1",
            "kind": "SessionKill",
            "metadata": {"name": format!("kill-{session_id}")},
            "spec": {
                "connectionRef": {"name": "ob"},
                "instanceID": self.stack.instance(),
                "tenantID": self.stack.tenant(),
                "sessions": [{"serverIP": SERVER, "sessionID": session_id}],
                "notAfterTime": (Timestamp::now() + SignedDuration::from_mins(30)).to_string(),
                "mode": mode,
                "verification": {"policy": "None"},
            },
        });
        self.requests.create(&PostParams::default(), &serde_json::from_value(request).unwrap()).await.unwrap()
    }

    /// The request when it has ended; `process` is asked for its log if that does not happen.
    async fn ended(&self, request: &SessionKill, process: &Process) -> SessionKill {
        wait_until(process, async || {
            let request = self.requests.get(&request.name_any()).await?;
            let status = request.status.as_ref().context("no status")?;
            ensure!(status.completion_time.is_some(), "not ended: {status:?}");
            Ok(request)
        })
        .await
    }

    /// The writes of `peer` until now.
    fn writes(&self, peer: Peer) -> BTreeMap<Request, u64> {
        let mut counts = self.stack.control_plane.requests_by_verb(&peer.user()).unwrap_or_default();
        counts.retain(|request, _| !["get", "list", "watch"].contains(&request.verb.as_str()));
        counts
    }

    fn kills(&self, session_id: i64) -> u32 {
        self.stack.gateway.kills_per_session().get(&(SERVER.to_owned(), session_id)).copied().unwrap_or_default()
    }
}

/// What a peer writes for each request.
fn promised_writes(peer: Peer, equal_writes: bool) -> Vec<(Request, u64)> {
    let status = |count| (Request::new("patch", "sessionkills", "status"), count);
    match (peer, equal_writes) {
        (Peer::Script, _) => vec![status(1)],
        (_, false) => vec![status(2)],
        (_, true) => vec![
            status(1),
            (Request::new("create", "sessionkillreceipts", ""), 1),
            (Request::new("patch", "sessionkillreceipts", "status"), 1),
            (Request::new("create", "events", ""), 1),
        ],
    }
}

#[tokio::test]
async fn each_peer_kills_each_session_once_and_says_so_with_the_writes_it_promises() {
    let field = Field::prepare().await;
    let mut next_id = 3_221_614_618;
    for (peer, equal_writes) in
        OPERATORS.into_iter().flat_map(|peer| [(peer, false), (peer, true)]).chain([(Peer::Script, false)])
    {
        let [left_alone, ids @ ..] = [next_id, next_id + 1, next_id + 2, next_id + 3];
        next_id += 4;
        field.open(&[&[left_alone], &ids[..]].concat());
        let before = field.writes(peer);
        let process = field.start(peer, equal_writes).await;
        field.request(left_alone, "DryRun").await;
        for id in ids {
            let request = field.request(id, "Kill").await;
            let request = field.ended(&request, &process).await;
            assert_reads_like_ours(&field, &request, &format!("{peer:?} {equal_writes}")).await;
            if equal_writes {
                assert_is_recorded(&field, &request, &process).await;
            }
        }
        let expected: BTreeMap<_, _> =
            promised_writes(peer, equal_writes).into_iter().map(|(request, each)| (request, each * 3)).collect();
        wait_until(&process, async || {
            let mut made = field.writes(peer);
            for (request, count) in &mut made {
                *count -= before.get(request).copied().unwrap_or_default();
            }
            made.retain(|_, count| *count > 0);
            ensure!(made == expected, "{peer:?} {equal_writes} wrote {made:?}, not {expected:?}");
            Ok(())
        })
        .await;
        for id in ids {
            assert_eq!(field.kills(id), 1, "{peer:?} {equal_writes}");
        }
        assert_eq!(field.kills(left_alone), 0, "{peer:?} {equal_writes} does not know what a dry run is");
    }
    assert_eq!(field.receipts.list(&ListParams::default()).await.unwrap().items.len(), 6);
    field.stack.stop().await;
}

async fn assert_reads_like_ours(field: &Field, request: &SessionKill, who: &str) {
    let name = request.name_any();
    let line = field.stack.control_plane.run_kubectl(&["get", "sk", &name, "--no-headers"]).await.unwrap();
    let columns: Vec<_> = line.split_whitespace().collect();
    assert_eq!(columns[..6], [name.as_str(), "True", "SessionsKilled", field.stack.tenant(), "1", "1"], "{who}");
    let status = request.status.as_ref().unwrap();
    assert!(status.start_time.is_some(), "{who}");
    assert!(!status.dispatch.as_ref().unwrap().request_id.is_empty(), "{who}");
    let observed = status.sessions[0].observed.as_ref().unwrap();
    assert_eq!((observed.user.as_str(), observed.client_ip.as_str()), ("report", "10.2.3.4"), "{who}");
}

async fn assert_is_recorded(field: &Field, request: &SessionKill, process: &Process) {
    wait_until(process, async || {
        // The name that sessionkill itself would look for.
        let receipt = field.receipts.get(&receipt_name(&request.spec)).await?;
        let record = receipt.status.context("nothing recorded yet")?;
        ensure!(record.outcome == Outcome::SessionsKilled, "{record:?}");
        Ok(())
    })
    .await;
}

/// The script promises nothing of the kind.
#[tokio::test]
async fn an_operator_that_died_during_its_call_does_not_call_again() {
    let field = Field::prepare().await;
    let mut id = 3_221_614_618;
    for (peer, equal_writes) in OPERATORS.into_iter().flat_map(|peer| [(peer, false), (peer, true)]) {
        id += 1;
        field.open(&[id]);
        field.stack.gateway.inject(Fault { delay_ms: Some(600_000), ..Fault::new(FaultKind::Delay).after() });
        let process = field.start(peer, equal_writes).await;
        let request = field.request(id, "Kill").await;
        wait_until(&process, async || {
            ensure!(field.kills(id) == 1, "no kill yet");
            Ok(())
        })
        .await;
        process.kill();
        // The session is there again: a second call would end it again.
        field.open(&[id]);
        field.stack.gateway.clear_faults();

        let process = field.start(peer, equal_writes).await;
        let request = field.ended(&request, &process).await;
        let conditions = request.status.unwrap().conditions;
        assert_eq!(conditions[0].reason, "OutcomeUnknown", "{peer:?} {equal_writes}");
        assert_eq!(field.kills(id), 1, "{peer:?} {equal_writes}");
    }
    field.stack.stop().await;
}

async fn wait_until<T>(process: &Process, mut check: impl AsyncFnMut() -> anyhow::Result<T>) -> T {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        match check().await {
            Ok(found) => return found,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error:#}; {}", process.tail()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
