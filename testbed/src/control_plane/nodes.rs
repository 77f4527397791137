//! What is different about an API server where nodes run.

use std::{net::Ipv4Addr, path::Path};

use super::pki;

/// The first address of services: what Pods know of the API server.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Where the server is reached beside loopback.
pub(super) fn addresses(nodes: Option<Ipv4Addr>) -> Vec<Ipv4Addr> {
    nodes.into_iter().chain(nodes.map(|_| SERVICE)).collect()
}

/// For nodes, which reach it at this address, or for none.
pub(super) fn flags(nodes: Option<Ipv4Addr>, directory: &Path) -> Vec<String> {
    let Some(address) = nodes else {
        let flags = [
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            // It publishes no endpoint for itself: a loopback address is not accepted as one.
            "--endpoint-reconciler-type=none",
            "--authorization-mode=RBAC",
            // Without a controller manager no namespace gets its default service account, and this plugin would refuse
            // every Pod for the lack of it.
            "--disable-admission-plugins=ServiceAccount",
        ];
        return flags.map(str::to_owned).into();
    };
    let file = |name: &str, file: &str| format!("--{name}={}", directory.join(file).display());
    vec![
        // All addresses of a network namespace that nobody else is in.
        "--bind-address=0.0.0.0".into(),
        format!("--advertise-address={address}"),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        "--kubelet-preferred-address-types=InternalIP".into(),
        file("kubelet-client-certificate", pki::ADMINISTRATOR_CERTIFICATE),
        file("kubelet-client-key", pki::ADMINISTRATOR_KEY),
    ]
}
