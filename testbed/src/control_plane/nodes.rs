//! The settings of an API server with nodes.

use std::{net::Ipv4Addr, path::Path};

use super::pki;

/// The first address of services, at which Pods reach the API server.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Where the server is reached, beside loopback.
pub(super) fn addresses(nodes: Option<Ipv4Addr>) -> Vec<Ipv4Addr> {
    nodes.into_iter().chain(nodes.map(|_| SERVICE)).collect()
}

/// For nodes that reach it at this address, or without nodes.
pub(super) fn flags(nodes: Option<Ipv4Addr>, directory: &Path) -> Vec<String> {
    let Some(address) = nodes else {
        let flags = [
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            // Publish no endpoint: the API server does not accept a loopback address as one.
            "--endpoint-reconciler-type=none",
            "--authorization-mode=RBAC",
            // Without a controller manager, no namespace gets its default service account, and this plugin would refuse
            // every Pod.
            "--disable-admission-plugins=ServiceAccount",
        ];
        return flags.map(str::to_owned).into();
    };
    let file = |name: &str, file: &str| format!("--{name}={}", directory.join(file).display());
    vec![
        // All addresses are safe here: nobody else is in this network namespace.
        "--bind-address=0.0.0.0".into(),
        format!("--advertise-address={address}"),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--kubelet-preferred-address-types=InternalIP".into(),
        file("kubelet-client-certificate", pki::ADMINISTRATOR_CERTIFICATE),
        file("kubelet-client-key", pki::ADMINISTRATOR_KEY),
    ]
}
