//! The limits on the size of objects in `deploy/base`, which apply to the whole cluster.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::{
    control_plane::{Cluster, Said},
    installed,
};

const NAMESPACE: &str = "limited";
const LIMIT: Duration = Duration::from_mins(2);

fn connection(metadata: &Value) -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": metadata,
        "spec": {"alibabaCloud": {"regionID": "cn-hangzhou", "credentials": {"secretRef": {"name": "aliyun-ak"}}}},
    })
}

/// A request whose `notAfterTime` is in `hours` hours.
fn kill(metadata: &Value, hours: i64) -> Value {
    let not_after = Timestamp::now() + SignedDuration::from_hours(hours);
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "SessionKill", "metadata": metadata,
        "spec": {
            "connectionRef": {"name": "prod-ob"}, "instanceID": "ob317v4uif0001", "tenantID": "t4louaeei0001",
            "sessions": [{"serverIP": "192.168.13.119", "sessionID": 1}],
            "notAfterTime": not_after.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        },
    })
}

fn labelled(count: usize) -> Value {
    let labels: Map<_, _> = (0..count).map(|number| (format!("n{number}"), json!(""))).collect();
    json!({"name": "a", "labels": labels})
}

async fn tried(cluster: &Cluster, object: &Value) -> Said {
    cluster.kubectl_with(&["create", "--dry-run=server", "-n", NAMESPACE, "-f", "-"], &object.to_string()).await
}

#[tokio::test]
async fn the_base_refuses_metadata_that_nobody_needs_and_requests_that_live_for_longer_than_a_week() {
    let cluster = installed().await;
    cluster.namespace(NAMESPACE, &[]).await;
    let deadline = Instant::now() + LIMIT;
    // Try again, as a policy takes effect some time after it was stored.
    while tried(cluster, &kill(&labelled(65), 1)).await.success {
        assert!(Instant::now() < deadline, "the limits are not in force");
        sleep(Duration::from_millis(100)).await;
    }
    for object in [kill(&labelled(64), 7 * 24), connection(&labelled(64))] {
        let said = tried(cluster, &object).await;
        assert!(said.success, "{said:?}");
    }
    let labels = "denied request: metadata.labels has 65 entries, and the limit is 64: remove some";
    for (object, because) in [
        (kill(&labelled(65), 1), labels),
        (connection(&labelled(65)), labels),
        (kill(&labelled(1), 7 * 24 + 1), " is more than 7 days after creation: set it to "),
    ] {
        let said = tried(cluster, &object).await;
        assert!(!said.success && said.stderr.contains(because), "{because}: {said:?}");
    }
}
