//! What kubectl shows of the kinds.

use serde_json::{Value, json};
use sessionkill::api::definitions;

use crate::{
    cases::Server,
    cluster_connection, connection,
    control_plane::{Said, cluster, repository},
    receipt, session_kill,
};

async fn kubectl(arguments: &[&str]) -> String {
    let Said { success, stdout, stderr } = cluster().await.kubectl(arguments).await;
    assert!(success, "kubectl {arguments:?}: {stderr}");
    stdout
}

/// The names of a table's columns, which are separated by at least two spaces.
fn headers(table: &str) -> Vec<&str> {
    table.lines().next().unwrap_or_default().split("  ").map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// A finished request whose tenant, instance and connection differ from those of the others.
async fn finished(server: &Server) {
    let mut request = session_kill::valid();
    request["metadata"]["name"] = "finished".into();
    request["spec"]["connectionRef"] = json!({"kind": "ClusterOceanBaseConnection", "name": "other-ob"});
    request["spec"]["instanceID"] = "ob2".into();
    request["spec"]["tenantID"] = "t2".into();
    let mut stored = server.create(&request).await;
    stored["status"] = json!({
        "observedGeneration": 1,
        "completionTime": "2026-10-05T09:10:02Z",
        "dispatch": {
            "receiptName": "sk-0", "attemptID": "a1", "operation": "KillProcessList", "requestID": "EE205C00",
            "startTime": "2026-10-05T09:10:00Z",
        },
        "counts": {"total": 3, "killed": 2, "gone": 0, "skipped": 0, "failed": 1, "unknown": 0},
        "conditions": [{
            "type": "Succeeded", "status": "False", "reason": "PartiallyKilled", "message": "2 of 3 killed",
            "lastTransitionTime": "2026-10-05T09:10:02Z",
        }],
    });
    server.store_status(&stored).await;
}

#[tokio::test]
async fn installing_the_definitions_prints_no_warning() {
    let crds = repository("crds");
    let said = cluster().await.kubectl(&["apply", "--server-side", "-f", crds.to_str().unwrap()]).await;
    assert_eq!(said.stdout.lines().count(), 4, "{}", said.stdout);
    assert_eq!(said.stderr, "");
}

#[test]
fn every_field_is_explained() {
    let mut silent = vec![];
    for definition in definitions() {
        let kind = &definition.spec.names.kind;
        let definition = serde_json::to_value(&definition).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert!(schema["description"].as_str().unwrap().starts_with(kind), "{kind} has no description of its own");
        unexplained(schema, kind, &mut silent);
    }
    assert!(silent.is_empty(), "kubectl explain has no text, or one with markup or broken lines, for {silent:?}");
}

fn unexplained(schema: &Value, at: &str, found: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        let description = property["description"].as_str().unwrap_or_default();
        // kubectl shows the text unchanged, so it must have no markup.
        if description.is_empty() || description.contains(['`', '[', '\n']) {
            found.push(at.clone());
        }
        unexplained(property, &at, found);
        unexplained(&property["items"], &at, found);
    }
}

#[tokio::test]
async fn explain_tells_how_a_field_is_written() {
    cluster().await;
    for (field, told) in [
        ("sessionkill", "kubectl wait sk/NAME"),
        ("sk.spec.notAfterTime", "such as 2026-10-05T09:30:00Z"),
        ("sk.spec.mode", "DryRun reports for each session what a Kill would do"),
        ("sk.spec.sessions.expect", "without expect any session that has the ID is ended"),
        ("sk.spec.sessions.expect.state", "Sleep: it waits for its client"),
        ("sk.spec.sessions.expect.proxySessionID", "in quotes"),
        ("sk.spec.verification.policy", "None: the API's answer counts"),
        ("sk.status.sessions.outcome", "Skipped: nothing was sent for it, on purpose"),
        ("obc.spec.alibabaCloud.killOperation", "Auto: KillProcessList, and BatchKillProcessList once"),
        ("sk.spec.scope", "only the statement that each of them runs"),
        ("sk.spec.sessions.sessionID", "by SQL at most 4294967295"),
        ("sk.spec.sessions.expect.transactionID", "in quotes"),
        ("obc.spec.alibabaCloud.credentials", "Exactly one of secretRef, serviceAccountRef, operatorIdentity"),
        ("obc.spec.alibabaCloud.credentials.instanceRole", "which all Pods of the node share. Write {}"),
        ("obc.spec.alibabaCloud.credentials.sessionPolicy", "Instances: these, and only on instanceIDs"),
        ("obc.spec.alibabaCloud.credentials.observe", "a DryRun never uses the identity that ends sessions"),
        ("obc.spec.alibabaCloud.credentials.observe.serviceAccountRef.roleARN", "the audience sts.aliyuncs.com"),
        ("obc.spec.sql.service", "Set this or host"),
        ("obc.spec.sql.host", "--allow-sql-host"),
        ("obc.spec.sql.credentials.secretRef", "sessionkill.dev/servers names the servers that may get the password"),
        ("obc.spec.sql.tls.mode", "Disabled: no TLS"),
        ("obc.spec.sqlText", "Digest: its SHA-256"),
        ("obc.status.operation", "With killOperation Auto it is the one that the gateway offers"),
        ("obc.status.lastProbeTime", "Such a probe ends no session"),
        ("sk.spec.connectionRef.kind", "Unset means OceanBaseConnection"),
        ("cobc.spec.allowedNamespaces", "Unset means none"),
        ("cobc.spec.allowedNamespaces.selector", "Whoever may label a namespace decides"),
        ("cobc.spec.alibabaCloud.credentials.secretRef", "A Secret in the operator's own namespace"),
        ("cobc.spec.sql.service", "A Service in the operator's own namespace"),
    ] {
        // kubectl wraps lines at the width of a terminal.
        let explained = kubectl(&["explain", field]).await.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(explained.contains(told), "{field}: {explained}");
    }
}

#[tokio::test]
async fn the_tables_answer_the_first_questions() {
    let server = Server::in_namespace("tables").await;
    finished(&server).await;
    let short = kubectl(&["get", "sk", "-n", "tables"]).await;
    assert_eq!(headers(&short), ["NAME", "SUCCEEDED", "REASON", "TENANT", "KILLED", "TOTAL", "AGE"]);
    let row: Vec<&str> = short.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..6], ["finished", "False", "PartiallyKilled", "t2", "2", "3"]);

    let wide = kubectl(&["get", "sessionkill", "-n", "tables", "-o", "wide"]).await;
    assert_eq!(headers(&wide)[7..], ["CONNECTION", "CONNECTION KIND", "NOT AFTER", "REQUEST ID", "MESSAGE"]);
    for shown in ["other-ob", "ClusterOceanBaseConnection", "2026-10-05T09:30:00Z", "EE205C00", "2 of 3 killed"] {
        assert!(wide.contains(shown), "{shown} is not in\n{wide}");
    }
    let mut stored = server.create(&connection::valid()).await;
    stored["status"] = connection::probed();
    server.store_status(&stored).await;
    let connections = kubectl(&["get", "obc", "-n", "tables", "-o", "wide"]).await;
    let columns =
        ["NAME", "BACKEND", "REGION", "READY", "REASON", "OPERATION", "AGE", "LAST PROBE", "ENDPOINT", "MESSAGE"];
    assert_eq!(headers(&connections), columns);
    let row: Vec<&str> = connections.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..6], ["prod-ob", "AlibabaCloud", "cn-hangzhou", "True", "CallAnswered", "KillProcessList"]);
    assert_eq!(row[8..], ["oceanbasepro.cn-hangzhou.aliyuncs.com", "m"]);
    let short = kubectl(&["get", "obc", "-n", "tables"]).await;
    assert_eq!(headers(&short), columns[..7]);
    let mut stored = server.create(&cluster_connection::valid()).await;
    stored["status"] = cluster_connection::probed();
    let stored = server.store_status(&stored).await;
    let name = stored["metadata"]["name"].as_str().unwrap();
    let shared = kubectl(&["get", "cobc", name]).await;
    let columns = ["NAME", "BACKEND", "REGION", "ALLOWED", "READY", "REASON", "OPERATION", "AGE"];
    assert_eq!(headers(&shared), columns);
    let row: Vec<&str> = shared.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..6], [name, "AlibabaCloud", "cn-hangzhou", "True", "True", "CallAnswered"]);
    server.create(&receipt::valid()).await;
    let receipts = kubectl(&["get", "skr", "-n", "tables", "-o", "wide"]).await;
    let columns = ["NAME", "OUTCOME", "REQUEST", "TENANT", "NOT AFTER", "AGE", "REQUEST ID", "HOLDER"];
    assert_eq!(headers(&receipts), columns);
}

#[tokio::test]
async fn one_category_shows_all_kinds_and_hides_none() {
    let server = Server::in_namespace("category").await;
    server.create(&session_kill::valid()).await;
    server.create(&connection::valid()).await;
    server.create(&cluster_connection::valid()).await;
    server.create(&receipt::valid()).await;
    let listed = async |what: &str| {
        let listed = kubectl(&["get", what, "-n", "category", "-o", "name"]).await;
        listed.lines().map(|name| name.split('.').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let mut all = listed("sessionkill-dev").await;
    all.sort();
    // Those of other tests are there too, as they are in no namespace.
    all.dedup();
    assert_eq!(all, ["clusteroceanbaseconnection", "oceanbaseconnection", "sessionkill", "sessionkillreceipt"]);
    // A category with the name of a kind would hide that kind, even in `kubectl delete`.
    assert_eq!(listed("sessionkill").await, ["sessionkill"]);
}

#[tokio::test]
async fn requests_are_selected_by_what_they_name_and_whether_they_ended() {
    let server = Server::in_namespace("selected").await;
    server.create(&session_kill::valid()).await;
    finished(&server).await;
    for (selector, expected) in [
        ("status.completionTime=", "incident"),
        ("status.completionTime!=", "finished"),
        ("spec.tenantID=t2", "finished"),
        ("spec.instanceID=ob317v4uif0000", "incident"),
        ("spec.connectionRef.name=other-ob", "finished"),
        ("spec.connectionRef.name!=other-ob", "incident"),
        ("spec.connectionRef.kind=ClusterOceanBaseConnection", "finished"),
        ("spec.connectionRef.kind!=ClusterOceanBaseConnection", "incident"),
    ] {
        let found = kubectl(&["get", "sk", "-n", "selected", "-o", "name", "--field-selector", selector]).await;
        assert_eq!(found.trim(), format!("sessionkill.sessionkill.dev/{expected}"), "{selector}");
    }
}

#[tokio::test]
async fn one_command_waits_for_any_outcome() {
    let server = Server::in_namespace("waited").await;
    let stored = server.create(&session_kill::valid()).await;
    let wait = ["wait", "-n", "waited", "sk/incident", "--for=jsonpath={.status.completionTime}", "--timeout=60s"];
    let ends = async {
        let mut stored = stored;
        stored["status"] = json!({"observedGeneration": 1, "completionTime": "2026-10-05T09:10:02Z"});
        server.store_status(&stored).await;
    };
    let (said, ()) = tokio::join!(kubectl(&wait), ends);
    assert!(said.contains("condition met"), "{said}");
}
