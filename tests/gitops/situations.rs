//! Every situation in the table of statuses, and how the tools interpret it.

use std::fmt::Write as _;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use serde_json::{Value, json};
use sessionkill::api::{
    BackendName, ConnectionReason, Mode, OceanBaseConnection, OceanBaseConnectionStatus, Operation, SessionKill,
    SessionKillSpec,
};
use sessionkill::domain::backend::Fence;
use sessionkill::domain::connection::status::{Facts, Learned, connection_status};
use testbed::arena::{CONNECTION, kill_of, session};
use testbed::gateway::{Fault, FaultKind, Session};

use crate::page::{exactly, shows};
use crate::stage::{Stage, condition, eventually, text, verdict, verdicts};

/// How the tools should interpret a request.
#[derive(Clone, Copy, Debug)]
enum Class {
    Unseen,
    Working,
    HeldBack,
    Reached,
    Neutral,
    Failed,
}

impl Class {
    /// The status of the conditions `Succeeded`, `Ready`, `Reconciling` and `Stalled`, the results of kstatus and Argo
    /// CD, and whether `kubectl wait` ends.
    fn columns(self) -> [&'static str; 7] {
        match self {
            Self::Unseen => ["", "", "", "", "InProgress", "Progressing", "waits"],
            Self::Working => ["Unknown", "False", "True", "", "InProgress", "Progressing", "waits"],
            Self::HeldBack => ["Unknown", "False", "", "", "InProgress", "Suspended", "waits"],
            Self::Reached => ["True", "True", "", "", "Current", "Healthy", "ends"],
            Self::Neutral => ["False", "True", "", "", "Current", "Healthy", "ends"],
            Self::Failed => ["False", "False", "", "True", "Failed", "Degraded", "ends"],
        }
    }
}

/// A situation, the name of its request, and the reason of its `Succeeded` condition.
struct Row(&'static str, &'static str, &'static str, Class);

/// Longer than the test.
const LONG: Duration = Duration::from_mins(5);

static FRESH: Row = Row("created, not yet seen by an operator", "fresh", "", Class::Unseen);

static ROWS: [Row; 16] = [
    Row("waiting for its notBeforeTime", "scheduled", "Scheduled", Class::Working),
    Row("the call was made, its end is being verified", "lingering", "Verifying", Class::Working),
    Row("waiting: the connection's Secret is missing", "no-secret", "CredentialsUnavailable", Class::Working),
    Row("waiting: the connection is missing", "no-connection", "ConnectionNotFound", Class::Working),
    Row("suspended", "suspended", "Suspended", Class::HeldBack),
    Row("all killed", "killed", "SessionsKilled", Class::Reached),
    Row("all gone before", "gone", "SessionsGone", Class::Reached),
    Row("a dry run", "dry-run", "DryRunCompleted", Class::Reached),
    Row("created long after its notAfterTime", "late", "ExpiredOnArrival", Class::Neutral),
    Row("created less than an hour after it, never executed", "missed", "KillMissed", Class::Failed),
    Row("its notAfterTime passed while it waited", "deadline", "DeadlineExceeded", Class::Failed),
    Row("no session is as expect says", "other-user", "PreconditionFailed", Class::Failed),
    Row("the connection does not allow it", "not-allowed", "NotAllowed", Class::Failed),
    Row("some killed, some not", "partly", "PartiallyKilled", Class::Failed),
    Row("none killed", "refused", "KillFailed", Class::Failed),
    Row("killed, but still in the list", "lingering", "StillPresent", Class::Failed),
];

static AGAIN: Row = Row("the same content under another name", "again", "AlreadyExecuted", Class::Reached);
static THROTTLED: Row = Row("waiting: the gateway throttles", "throttled", "Throttled", Class::Working);
static LOST: Row = Row("cannot tell: no answer, and no list", "lost", "OutcomeUnknown", Class::Failed);

fn in_seconds(seconds: i64) -> Time {
    Time((Timestamp::now() + SignedDuration::from_secs(seconds)).round(Unit::Second).unwrap())
}

/// The sessions in the gateway. Some of them do not end as they should.
fn sessions() -> Vec<Session> {
    let of = |number| match number {
        6 | 8 => Session { protected: true, ..session(number) },
        9 => Session { lingering: true, ..session(number) },
        _ => session(number),
    };
    (1..=12).map(of).collect()
}

/// Creates another connection to the same gateway, with these changed fields of Alibaba Cloud.
async fn connection(stage: &Stage, name: &str, changes: Value) {
    let mut alibaba_cloud = json!({
        "regionID": "cn-hangzhou", "endpoint": stage.arena.gateway.url(),
        "credentials": {"secretRef": {"name": "aliyun-ak"}},
    });
    alibaba_cloud.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let object = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": name},
        "spec": {"alibabaCloud": alibaba_cloud},
    });
    let connections = stage.raw::<OceanBaseConnection>();
    connections.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// Creates the requests that need no fault of the gateway.
async fn create_all(stage: &Stage) -> SessionKillSpec {
    let of = |numbers: &[i64]| kill_of(numbers, 600).unwrap();
    let through = |name: &str| {
        let mut spec = of(&[5]);
        name.clone_into(&mut spec.connection_ref.name);
        spec
    };
    let killed = of(&[2]);
    let mut other_user = of(&[4]);
    other_user.sessions[0].expect.as_mut().unwrap().user = Some("somebody".to_owned());
    let late = |seconds: i64| SessionKillSpec { not_after_time: in_seconds(-seconds), ..of(&[5]) };
    let deadline = SessionKillSpec { suspend: true, not_after_time: in_seconds(4), ..of(&[5]) };
    // This request is seen twice, during its verification and at its end. The verification must take longer than a run
    // of kubectl.
    let mut lingering = of(&[9]);
    lingering.verification.timeout_seconds = 20;
    for (name, spec) in [
        ("lingering", lingering),
        ("deadline", deadline),
        ("scheduled", SessionKillSpec { not_before_time: Some(in_seconds(500)), ..of(&[5]) }),
        ("no-secret", through("bare-ob")),
        ("no-connection", through("absent-ob")),
        ("suspended", SessionKillSpec { suspend: true, ..of(&[5]) }),
        ("killed", killed.clone()),
        ("gone", of(&[99])),
        ("dry-run", SessionKillSpec { mode: Mode::DryRun, ..of(&[3]) }),
        ("late", late(7200)),
        ("missed", late(60)),
        ("other-user", other_user),
        ("not-allowed", through("narrow-ob")),
        ("partly", of(&[6, 7])),
        ("refused", of(&[8])),
    ] {
        stage.create(name, &json!({}), &spec).await;
    }
    killed
}

/// A situation as it was seen.
struct Met {
    row: &'static Row,
    object: Value,
    /// Whether `kubectl wait` for any outcome ended.
    waited: &'static str,
}

/// The request in this situation, and what kubectl shows for exactly this version of it.
async fn meet(stage: &Stage, row: &'static Row) -> Met {
    let Row(_, name, reason, _) = row;
    loop {
        let object = stage.saying(name, reason).await;
        let for_any = ["wait", &format!("sk/{name}"), "--for=jsonpath={.status.completionTime}", "--timeout=0"];
        let waited = match stage.kubectl(&for_any).await {
            Ok(_) => "ends",
            Err(error) if error.contains("condition not met") || error.contains("timed out") => "waits",
            Err(error) => panic!("{name}: {error}"),
        };
        let now = stage.raw::<SessionKill>().get(name).await.unwrap();
        if now.metadata.resource_version.as_deref() == object["metadata"]["resourceVersion"].as_str() {
            return Met { row, object, waited };
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_situation_is_seen_by_the_tools_as_the_status_table_says() {
    let stage = Stage::set("situations", sessions()).await;
    connection(&stage, "bare-ob", json!({"credentials": {"secretRef": {"name": "missing"}}})).await;
    connection(&stage, "narrow-ob", json!({"instanceIDs": ["another"]})).await;
    connection(&stage, "slow-ob", json!({})).await;
    stage.create("fresh", &json!({}), &kill_of(&[1], 600).unwrap()).await;
    let mut met = vec![meet(&stage, &FRESH).await];
    stage.start_operator().await;

    let killed = create_all(&stage).await;
    met.extend(join_all(ROWS.iter().map(|row| meet(&stage, row))).await);
    stage.saying("fresh", "SessionsKilled").await;
    stage.create("again", &json!({}), &killed).await;
    let again = meet(&stage, &AGAIN).await;
    let at = met.iter().position(|it| it.row.1 == "dry-run").unwrap();
    met.insert(at + 1, again);

    stage.arena.gateway.inject(Fault::new(FaultKind::Throttle).on_kills().times(1).retry_after(LONG));
    let mut throttled = kill_of(&[10], 600).unwrap();
    throttled.connection_ref.name = "slow-ob".to_owned();
    stage.create("throttled", &json!({}), &throttled).await;
    let throttled = meet(&stage, &THROTTLED).await;
    let at = met.iter().position(|it| it.row.1 == "suspended").unwrap();
    met.insert(at, throttled);

    stage.arena.gateway.inject(Fault::new(FaultKind::Drop).on_kills().times(1));
    stage.arena.gateway.inject(Fault::new(FaultKind::Error).on("DescribeProcessStatsComposition"));
    let mut lost = kill_of(&[11], 600).unwrap();
    lost.sessions[0].expect = None;
    lost.verification.timeout_seconds = 1;
    stage.create("lost", &json!({}), &lost).await;
    met.push(meet(&stage, &LOST).await);

    let matrix = matrix(&met).await;
    println!("{matrix}");
    shows("gitops.md", "situations", &matrix, exactly);
    assert!(stage.kills().iter().all(|kills| *kills == 1), "{:?}", stage.arena.gateway.kills_per_session());
}

/// The measured table. Each row must be as expected.
async fn matrix(met: &[Met]) -> String {
    let verdicts = verdicts(met.iter().map(|it| it.object.clone()).collect()).await;
    let mut table =
        "| situation | Succeeded (reason) | Ready | Reconciling | Stalled | kstatus | Argo CD | kubectl wait |\n\
                     |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for (it, verdict) in met.iter().zip(&verdicts) {
        let Row(situation, name, reason, class) = it.row;
        let [succeeded, ready, reconciling, stalled] =
            ["Succeeded", "Ready", "Reconciling", "Stalled"].map(|type_| text(condition(&it.object, type_), "status"));
        let measured = [succeeded, ready, reconciling, stalled, &verdict.kstatus, &verdict.argo_cd, it.waited];
        assert_eq!(measured, class.columns(), "{name}: {}", it.object);
        // The message that Argo CD shows is that of the condition.
        let message = text(condition(&it.object, "Succeeded"), "message");
        assert_eq!(verdict.argo_cd_message == message, !message.is_empty(), "{name}: {verdict:?}");
        let named = if reason.is_empty() { String::new() } else { format!("{succeeded} (`{reason}`)") };
        let columns = [situation, named.as_str()].into_iter().chain(measured[1..].iter().copied());
        writeln!(table, "| {} |", columns.collect::<Vec<_>>().join(" | ")).unwrap();
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_ready_when_the_gateway_has_answered_and_stalled_when_it_needs_somebody() {
    let stage = Stage::set("connections", vec![]).await;
    let secret = ["create", "secret", "generic", "refused", "--from-literal=accessKeyID=LTAI5tExampleKeyID000001"];
    stage.kubectl(&[&secret[..], &["--from-literal=accessKeySecret=wrong"]].concat()).await.unwrap();
    stage.kubectl(&["label", "secret", "refused", "sessionkill.dev/credentials=true"]).await.unwrap();
    connection(&stage, "bare-ob", json!({"credentials": {"secretRef": {"name": "missing"}}})).await;
    connection(&stage, "refused-ob", json!({"credentials": {"secretRef": {"name": "refused"}}})).await;
    connection(&stage, "elsewhere-ob", json!({"endpoint": "oceanbase.example.com"})).await;
    let connections = stage.raw::<OceanBaseConnection>();
    let now = async |name: &str| serde_json::to_value(connections.get(name).await.unwrap()).unwrap();
    let fresh = now(CONNECTION).await;
    stage.start_operator().await;
    let told = async |name: &str, ready: &str| {
        eventually(&format!("{name} to be Ready={ready}"), async || {
            let object = now(name).await;
            if text(condition(&object, "Ready"), "status") == ready { Ok(object) } else { Err(object.to_string()) }
        })
        .await
    };
    let met = [
        ("not yet asked", fresh, ["InProgress", "Progressing"]),
        ("the gateway answered", told(CONNECTION, "True").await, ["Current", "Healthy"]),
        ("its Secret is missing", told("bare-ob", "False").await, ["InProgress", "Progressing"]),
        ("the gateway refuses its access key", told("refused-ob", "False").await, ["Failed", "Degraded"]),
        ("its endpoint is not allowed", told("elsewhere-ob", "False").await, ["Failed", "Degraded"]),
    ];
    let verdicts = verdicts(met.iter().map(|(_, object, _)| object.clone()).collect()).await;
    let mut table =
        "| situation of the connection | Ready (reason) | Stalled | kstatus | Argo CD |\n|---|---|---|---|---|\n"
            .to_owned();
    for ((situation, object, expected), verdict) in met.iter().zip(&verdicts) {
        assert_eq!([verdict.kstatus.as_str(), &verdict.argo_cd], *expected, "{object}");
        let (ready, stalled) = (condition(object, "Ready"), text(condition(object, "Stalled"), "status"));
        let (status, reason) = (text(ready, "status"), text(ready, "reason"));
        assert_eq!(verdict.argo_cd_message == text(ready, "message"), !status.is_empty(), "{verdict:?}");
        let named = if status.is_empty() { String::new() } else { format!("{status} (`{reason}`)") };
        writeln!(table, "| {situation} | {named} | {stalled} | {} | {} |", verdict.kstatus, verdict.argo_cd).unwrap();
    }
    println!("{table}");
    shows("gitops.md", "connections", &table, exactly);
}

/// By SQL: what a connection lacks in protection is told by conditions that are False, and it works all the same.
#[tokio::test]
async fn a_connection_that_is_neither_encrypted_nor_has_a_fence_is_healthy() {
    let facts = Facts {
        generation: 1,
        backend: BackendName::Sql,
        fence: Fence { holds: false, reason: ConnectionReason::ConditionNotSupported, message: "m" },
        operation: Operation::Kill,
        is_encrypted: Some(false),
        probed: Some(Timestamp::UNIX_EPOCH),
        clock_lead: None,
        allowed_namespaces: None,
    };
    let fresh = OceanBaseConnectionStatus::default();
    let status = connection_status(&fresh, Learned::Answered, &facts, Timestamp::UNIX_EPOCH);
    let object = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection",
        "metadata": {"name": "shop-ob", "namespace": "shop", "generation": 1}, "status": status,
    });
    for type_ in ["Encrypted", "ServerSideFence"] {
        assert_eq!(text(condition(&object, type_), "status"), "False", "{object}");
    }
    assert_eq!(verdict(&object).await, ("Current".to_owned(), "Healthy".to_owned()));
}
