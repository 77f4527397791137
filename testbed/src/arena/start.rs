//! Starts replicas, each with its own doors to the API server and to the gateway.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    namespace::Arena,
    replica::{Launch, Replica},
};
use crate::{operator::Operator, sql_relay::SqlRelay};

impl Arena {
    /// Starts one more replica, and does not wait until it is ready.
    pub async fn start(&self, launch: Launch) -> anyhow::Result<Arc<Replica>> {
        let mut replicas = self.replicas.lock().await;
        let client = format!("replica-{}", replicas.len() + 1);
        let directory = self.directory.join(&client);
        fs::create_dir_all(&directory)?;
        let api = self.api.tls_door(&client, &self.ground.certificate).await?;
        let kubeconfig = self.rerouted(&api, &directory)?;
        // Run it through `env`, which replaces itself by the operator: these arguments are variables.
        let proxy = format!("SESSIONKILL_PROXY={}", self.calls.door(&client).await?);
        let http1 = format!("SESSIONKILL_API_SERVER_HTTP1={}", launch.http1);
        let binary = self.ground.binary.to_str().context("the binary's path is not in UTF-8")?;
        let gateway = self.gateway.url();
        let sql = format!("SESSIONKILL_ALLOW_SQL_HOSTS={}", self.sql.as_ref().map(SqlRelay::host).unwrap_or_default());
        let mut arguments = vec!["RUST_LOG=info", &proxy, &http1];
        arguments.extend(self.sql.is_some().then_some(sql.as_str()));
        arguments.extend([binary, "run", "--identity", &client]);
        arguments.extend(["--allow-endpoint", &gateway]);
        arguments.extend(["--sweep-interval-seconds", "4"]);
        let chosen = launch.arguments(&self.namespace);
        arguments.extend(chosen.iter().map(String::as_str));
        let operator = Operator::start(Path::new("env"), &kubeconfig, &directory, &arguments)?;
        let replica = Arc::new(Replica { client, operator, launch });
        replicas.push(replica.clone());
        Ok(replica)
    }

    /// The replica that is connected from `address`.
    pub async fn replica_at(&self, address: SocketAddr) -> Option<Arc<Replica>> {
        let replicas = self.replicas.lock().await;
        replicas.iter().find(|replica| replica.is_at(address).unwrap_or_default()).cloned()
    }

    /// A kubeconfig of the same user, with the server address `url`.
    fn rerouted(&self, url: &str, directory: &Path) -> anyhow::Result<PathBuf> {
        let mut config: Value = serde_json::from_slice(&fs::read(&self.ground.kubeconfig)?)?;
        let cluster = &mut config["clusters"][0]["cluster"];
        cluster["server"] = url.into();
        cluster["certificate-authority-data"] = STANDARD.encode(self.ground.certificate.pem()).into();
        let path = directory.join("kubeconfig");
        fs::write(&path, config.to_string())?;
        Ok(path)
    }
}
