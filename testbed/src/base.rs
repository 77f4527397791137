//! `deploy/base` on a control plane: what runs there without the Helm chart.

use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::control_plane::ControlPlane;

/// The namespace of `deploy/base`.
pub const NAMESPACE: &str = "sessionkill-system";
/// The service account of the operator.
pub const SERVICE_ACCOUNT: &str = "sessionkill-operator";
/// Selects the admission limits in `deploy/base`, or everything else.
const LIMITS: &str = "app.kubernetes.io/component=limits";
const WITHOUT_LIMITS: &str = "app.kubernetes.io/component!=limits";

/// A control plane in `directory/control-plane` with the custom resources and `deploy/base` installed, but without its
/// admission limits: tests need objects beyond them.
pub async fn start_control_plane(directory: &Path) -> anyhow::Result<ControlPlane> {
    let control_plane = ControlPlane::start(&directory.join("control-plane")).await?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let crds = repository.join("crds");
    if crds.is_dir() {
        control_plane.install_kinds(&crds).await?;
    }
    make_namespace(&control_plane, NAMESPACE).await?;
    apply_base(&control_plane, WITHOUT_LIMITS).await?;
    Ok(control_plane)
}

/// Accept a namespace that is there from an earlier start.
pub(crate) async fn make_namespace(control_plane: &ControlPlane, name: &str) -> anyhow::Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    control_plane.apply(&namespace.to_string()).await.map(drop)
}

/// Installs the admission limits too. Every installation has them unless somebody leaves them out.
pub async fn install_limits(control_plane: &ControlPlane) -> anyhow::Result<()> {
    apply_base(control_plane, LIMITS).await
}

async fn apply_base(control_plane: &ControlPlane, selector: &str) -> anyhow::Result<()> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/base");
    if base.is_dir() {
        let base = base.to_str().context("kubectl needs a path in UTF-8")?;
        control_plane.run_kubectl(&["apply", "-k", base, "-l", selector]).await?;
    }
    Ok(())
}
