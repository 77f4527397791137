//! What is different about an API server where nodes run.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use super::{ControlPlane, pki};

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

impl ControlPlane {
    /// A kubeconfig that is exactly this user of this group, by a certificate, for a component that reaches the API server at
    /// `host`. The file has the user's name.
    pub(crate) fn component_kubeconfig(
        &self,
        user: &str,
        group: Option<&str>,
        host: Ipv4Addr,
    ) -> anyhow::Result<PathBuf> {
        let identity = self.authority.client(user, group)?;
        self.access.kubeconfig_of(&user.replace(':', "-"), &identity, host)
    }

    /// The file with the certificate of who signs for everybody, clients of a kubelet among them.
    pub(crate) fn authority_file(&self) -> PathBuf {
        self.directory.join(pki::CA)
    }

    /// The file with the key of service accounts' tokens.
    pub(crate) fn token_key_file(&self) -> PathBuf {
        self.directory.join(pki::TOKEN_KEY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch;

    #[tokio::test]
    async fn nothing_listens_for_nodes_outside_of_their_namespaces() {
        let directory = scratch::directory().unwrap();
        let refused = ControlPlane::start_for_nodes(directory.path(), Ipv4Addr::LOCALHOST).await.unwrap_err();
        assert!(format!("{refused:#}").contains("call node::enter first"), "{refused:#}");
    }
}
