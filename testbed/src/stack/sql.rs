//! Access to the stack's engine by SQL, with the least rights that ending sessions takes.

use std::{fs, path::Path};

use anyhow::Context;

use crate::oceanbase::Engine;

/// The user that ends sessions.
const USER: &str = "sessionkill";
const PASSWORD: &str = "testbed-password";
const GRANTS: [&str; 2] = ["PROCESS, SUPER ON *.*", "SELECT ON oceanbase.*"];
/// The engine's only tenant.
pub const TENANT: &str = "sys";
/// The engine has no cluster, and no parameter that names one.
pub const CLUSTER: &str = "seekdb";

/// Creates the user.
pub(super) async fn prepare(engine: &Engine) -> anyhow::Result<()> {
    engine.create_user(USER, PASSWORD, &GRANTS).await
}

/// The variables with which a person or a script uses it. The operator reaches the engine at `host`. Writes the authority of the engine's certificate into
/// `directory`; `SQL_CA` is empty without TLS.
pub(super) fn variables(
    engine: &Engine,
    host: String,
    directory: &Path,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let ca = match engine.ca_pem() {
        Some(pem) => {
            let path = directory.join("sql-ca.pem");
            fs::write(&path, pem).with_context(|| format!("cannot write {}", path.display()))?;
            path.to_string_lossy().into_owned()
        }
        None => String::new(),
    };
    Ok(vec![
        ("SQL_HOST", host),
        ("SQL_PORT", engine.port().to_string()),
        ("SQL_USER", USER.to_owned()),
        ("SQL_PASSWORD", PASSWORD.to_owned()),
        ("SQL_TENANT", TENANT.to_owned()),
        ("SQL_CLUSTER", CLUSTER.to_owned()),
        ("SQL_CA", ca),
        ("ENGINE_LOG", engine.log().to_string_lossy().into_owned()),
    ])
}
