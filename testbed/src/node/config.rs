//! The configuration of the programs of a node.

use std::path::Path;

use serde_json::{Value, json};

use super::network::{DNS, PODS, REGISTRY, pods_of};

pub(super) fn containerd(directory: &Path, plugins: &str) -> String {
    let directory = directory.display();
    format!(
        r#"version = 2
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{REGISTRY}/pause:3"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE nobody may lower the value of another.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    # Works on every file system.
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{directory}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{directory}/registries"
"#
    )
}

/// The registry speaks HTTP.
pub(super) fn registry() -> String {
    format!("[host.\"http://{REGISTRY}\"]\n  capabilities = [\"pull\", \"resolve\"]\n")
}

/// The network of the node's Pods.
pub(super) fn network(number: u8) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isDefaultGateway": true,
            "hairpinMode": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": pods_of(number)}]]},
        }],
    })
}

/// The kubelet's configuration. Its Pods are in this control group.
pub(super) fn kubelet(authority: &Path, group: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": group,
        // Required: this version refuses a machine with control groups v1 by default.
        "failCgroupV1": false,
        "failSwapOn": false,
        // Do not change the machine's kernel settings. The node's own view already has the right ones.
        "protectKernelDefaults": true,
        "makeIPTablesUtilChains": false,
        "enforceNodeAllocatable": [],
        "seccompDefault": true,
        "authentication": {
            "anonymous": {"enabled": false},
            "x509": {"clientCAFile": authority},
            "webhook": {"enabled": true},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        // Do not evict Pods when the machine's disk is almost full.
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        // Make a lost node known after seconds. The controller manager has a matching setting.
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusUpdateFrequency": "2s",
    })
}

pub(super) fn proxy(kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "mode": "iptables",
        "clusterCIDR": PODS,
        // Leave these settings alone: they are the machine's, not those of a namespace.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s", "udpTimeout": "0s",
            "udpStreamTimeout": "0s",
        },
    })
}
