//! The token of the operator's own ServiceAccount in a file, as the kubelet mounts and rotates it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use jiff::Timestamp;
use testbed::gateway::sts::standard::AUDIENCE;

use crate::scene::Scene;

/// A projected volume with a token. The kubelet writes a new token beside the old one, and then replaces the link
/// `..data` that leads to it (<https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter>).
pub struct TokenFile {
    volume: PathBuf,
}

impl TokenFile {
    /// Mounts a token of this ServiceAccount.
    pub async fn mount(scene: &Scene, (namespace, account): (&str, &str)) -> Self {
        let volume = scene.cluster.directory.join(format!("{}-token", scene.namespace));
        fs::create_dir_all(&volume).unwrap();
        symlink("..data/token", volume.join("token")).unwrap();
        let file = Self { volume };
        file.rotate(scene, (namespace, account)).await;
        file
    }

    /// Replaces it by a new token of this ServiceAccount.
    pub async fn rotate(&self, scene: &Scene, (namespace, account): (&str, &str)) {
        let control_plane = &scene.cluster.control_plane;
        let token = control_plane.service_account_token(namespace, account, AUDIENCE).await.unwrap();
        let new = format!("..{}", Timestamp::now().as_nanosecond());
        fs::create_dir(self.volume.join(&new)).unwrap();
        fs::write(self.volume.join(&new).join("token"), token).unwrap();
        let link = self.volume.join("..data_tmp");
        symlink(new, &link).unwrap();
        let data = self.volume.join("..data");
        let old = fs::read_link(&data).ok();
        fs::rename(link, data).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(self.volume.join(old)).unwrap();
        }
    }

    /// The path that the operator reads.
    pub fn path(&self) -> PathBuf {
        self.volume.join("token")
    }
}
