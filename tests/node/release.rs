//! A second release, besides the shared one. It is installed into its own namespace and works only there.

use std::fs;

use serde_json::{Value, json};
use testbed::{chart, stack::SERVICE_ACCOUNT};

use crate::ground::{BothNodes, Ground};

/// A release that stays until the nodes end.
pub struct Release<'a> {
    ground: &'a Ground,
    /// The namespace that it is installed in.
    pub namespace: &'static str,
    _nodes: BothNodes<'a>,
}

impl<'a> Release<'a> {
    /// Installs the chart with these values, and with one replica by default. While this guard exists, no test drains a
    /// node or cuts one off.
    pub async fn install(ground: &'a Ground, namespace: &'static str, values: &Value) -> Self {
        let nodes = ground.both_nodes().await;
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}});
        ground.site.stack.control_plane.apply(&object.to_string()).await.unwrap();
        let first: Value = serde_json::from_str(&fs::read_to_string(ground.values()).unwrap()).unwrap();
        let mut all = json!({
            "image": first["image"], "watchNamespaces": [namespace], "replicas": 1, "crds": {"install": false},
            "userRoles": {"create": false}, "admissionLimits": {"enabled": false},
        });
        all.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
        let file = ground.directory(namespace).join("values.json");
        fs::write(&file, all.to_string()).unwrap();
        let (chart, file) = (chart::directory(), file.to_str().unwrap().to_owned());
        let install =
            ["install", SERVICE_ACCOUNT, chart.to_str().unwrap(), "--namespace", namespace, "--values", &file];
        let kubeconfig = ground.site.stack.control_plane.kubeconfig();
        ground.helm.run(Some(kubeconfig), &[&install[..], &["--wait"]].concat()).await.unwrap();
        Self { ground, namespace, _nodes: nodes }
    }

    /// Its Pods.
    pub async fn pods(&self) -> Vec<Value> {
        self.ground.pods_in(self.namespace).await
    }

    /// Its only Pod.
    pub async fn pod(&self) -> Value {
        let pods = self.pods().await;
        assert_eq!(pods.len(), 1, "{pods:?}");
        pods[0].clone()
    }

    /// Waits until its Deployment has its desired state and no old Pod is left.
    pub async fn rolled_out(&self) {
        self.ground.site.settled_in(self.namespace).await.unwrap();
    }

    /// The log of its container. An error while the kubelet of its node restarts.
    pub async fn logs(&self) -> Result<String, String> {
        let logs = ["logs", "-n", self.namespace, &format!("deployment/{SERVICE_ACCOUNT}"), "--tail=-1"];
        self.ground.site.stack.control_plane.run_kubectl(&logs).await.map_err(|error| error.to_string())
    }
}
