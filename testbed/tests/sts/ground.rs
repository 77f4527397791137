//! The control plane that all tests share, and gateways that know it.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use testbed::{
    control_plane::{ControlPlane, ISSUER},
    gateway::{Gateway, GatewayOptions, StsOptions},
};
use tokio::{sync::OnceCell, time::sleep};

/// Far longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(50);

/// The service account that the standard role trusts, and another one.
const ACCOUNTS: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: ob-kill, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: other, namespace: default}
";

/// The control plane of this test program, started by the first test that needs it. It ends with the program.
pub async fn control_plane() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED.get_or_init(start).await
}

async fn start() -> ControlPlane {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sts");
    // Remove the files of an earlier run.
    let _ = fs::remove_dir_all(&directory);
    let control_plane = ControlPlane::start(&directory).await.unwrap();
    // The namespace `default` is there a moment after the server.
    eventually("the service accounts", async || control_plane.apply(ACCOUNTS).await.is_ok()).await;
    control_plane
}

/// Repeats `check` until it is true. Fails the test after the limit.
pub async fn eventually(what: &str, check: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !check().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        sleep(POLL).await;
    }
}

/// The standard roles for the gateway's own key.
pub fn standard() -> StsOptions {
    StsOptions::standard(&["testbed"])
}

/// The standard roles, and the provider that takes tokens of the control plane.
pub async fn standard_with_tokens() -> StsOptions {
    standard().with_tokens_of(ISSUER, control_plane().await.kubeconfig())
}

/// A gateway with a few sessions in memory.
pub async fn gateway(sts: StsOptions) -> Gateway {
    Gateway::start(GatewayOptions { sts: Some(sts), ..GatewayOptions::default() }).await.unwrap()
}
