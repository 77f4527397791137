//! What the programs of a node are told.

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

/// How Pods of the node are reached.
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

/// For the node of this name, whose Pods are in this control group.
pub(super) fn kubelet(authority: &Path, group: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": group,
        // Of this version on such a machine by choice only.
        "failCgroupV1": false,
        "failSwapOn": false,
        // What it wants is there, in its own view: it does not set the machine's.
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
        // A full disk of the machine is no reason to end what is tried here.
        "evictionHard": {
            "memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        // A node that is lost is known to be so after seconds, as the controller manager is told as well.
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
        // These settings are no namespace's but the machine's.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s", "udpTimeout": "0s",
            "udpStreamTimeout": "0s",
        },
    })
}
