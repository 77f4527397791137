//! Alibaba Cloud's own host names in a region, which lead to the scene's gateway: for connections that cannot name an
//! endpoint.

use std::fs;
use std::path::PathBuf;

use kube::api::PostParams;
use serde_json::{Value, json};
use sessionkill::api::OceanBaseConnection;
use testbed::connect_proxy::ConnectProxy;

use crate::scene::Scene;

/// The region of the connections.
const REGION: &str = "cn-hangzhou";
/// Where sessions are ended.
pub const HOST: &str = "oceanbasepro.cn-hangzhou.aliyuncs.com";
/// Where keys are issued.
pub const STS_HOST: &str = "sts.cn-hangzhou.aliyuncs.com";

/// A proxy for the operators of a scene, through which both hosts are the scene's gateway.
pub struct Region {
    proxy: ConnectProxy,
    authority: PathBuf,
}

impl Region {
    pub async fn of(scene: &Scene) -> Self {
        let gateway = scene.gateway().address();
        let proxy = ConnectProxy::start(&[HOST, STS_HOST], gateway).await.unwrap();
        let authority = scene.cluster.directory.join(format!("{}-authority.pem", scene.namespace));
        fs::write(&authority, proxy.authority()).unwrap();
        Self { proxy, authority }
    }

    /// The variables with which an operator calls through it.
    pub fn variables(&self) -> [String; 2] {
        let authority = self.authority.display();
        [format!("SESSIONKILL_PROXY={}", self.proxy.url()), format!("SSL_CERT_FILE={authority}")]
    }

    /// The hosts that were called, each once, in the order of their first calls.
    pub fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = vec![];
        for asked in self.proxy.asked() {
            let host = asked.strip_suffix(":443").unwrap_or(&asked).to_owned();
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        hosts
    }
}

/// Creates a connection to the region's own host.
pub async fn connect_to_region(scene: &Scene, name: &str, credentials: &Value) {
    connect_to_region_within(scene, name, credentials, 5).await;
}

/// The same, and a call may take this many seconds.
pub async fn connect_to_region_within(scene: &Scene, name: &str, credentials: &Value, request_timeout_seconds: u32) {
    let connection = json!({
        "apiVersion": "sessionkill.dev/v1alpha1", "kind": "OceanBaseConnection", "metadata": {"name": name},
        "spec": {
            "alibabaCloud": {"regionID": REGION, "credentials": credentials},
            "requestTimeoutSeconds": request_timeout_seconds,
        },
    });
    let connection = serde_json::from_value(connection).unwrap();
    scene.api::<OceanBaseConnection>().create(&PostParams::default(), &connection).await.unwrap();
}
