//! The engine with its sessions.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use mysql_async::{Conn, prelude::Queryable as _};
use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{
    super::plan::{NAMESPACE, Sessions},
    relay::{Asked, Relay},
};
use crate::oceanbase::Engine;

const SECRET: &str = "database";
/// The user of the sessions.
pub(super) const VICTIM: &str = "report_ro";
const RIGHTS: [&str; 2] = ["PROCESS, SUPER ON *.*", "SELECT ON oceanbase.*"];
/// How many sessions are opened at once: an engine takes long for each.
const AT_ONCE: usize = 8;
const GONE_LIMIT: Duration = Duration::from_secs(30);

/// A fresh engine behind a relay. It ends when this value is dropped.
pub(in super::super) struct Database {
    engine: Engine,
    relay: Relay,
    held: Mutex<Vec<Conn>>,
}

impl Database {
    /// The name of the cluster, which the engine does not check.
    pub(in super::super) const CLUSTER: &str = "obcluster";
    /// The engine's only tenant.
    pub(in super::super) const TENANT: &str = "sys";
    /// Who ends sessions.
    pub(in super::super) const USER: &str = "sessionkill";
    /// Its password.
    pub(in super::super) const PASSWORD: &str = "bench-password";

    /// Starts it with its data in `directory`.
    pub(in super::super) async fn start(directory: &Path) -> anyhow::Result<Self> {
        let engine = Engine::start(directory).await?;
        engine.create_user(Self::USER, Self::PASSWORD, &RIGHTS).await?;
        engine.create_user(VICTIM, Self::PASSWORD, &[]).await?;
        let relay = Relay::start(engine.port()).await?;
        Ok(Self { engine, relay, held: Mutex::default() })
    }

    /// Where contenders reach it.
    pub(in super::super) fn host(&self) -> String {
        self.relay.address().to_string()
    }

    /// The port of loopback where contenders reach it.
    pub(super) fn port(&self) -> u16 {
        self.relay.address().port()
    }

    /// The server that its sessions are on.
    pub(in super::super) fn server_ip(&self) -> &str {
        self.engine.server_ip()
    }

    /// The Secret with the login.
    pub(in super::super) fn secret() -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": NAMESPACE, "labels": {"sessionkill.dev/credentials": "true"}},
            "stringData": {"username": Self::USER, "password": Self::PASSWORD},
        })
    }

    /// The spec of a connection to it.
    pub(in super::super) fn connection_spec(&self) -> Value {
        json!({"sql": {
            "host": self.host(),
            "cluster": Self::CLUSTER,
            "tenant": Self::TENANT,
            "credentials": {"secretRef": {"name": SECRET}},
            "tls": {"mode": "Disabled"},
        }})
    }

    /// Opens this number of idle sessions instead of those of the load before, and returns their IDs in the order in which
    /// they were opened.
    pub(in super::super) async fn open(&self, count: u32) -> anyhow::Result<Vec<i64>> {
        let mut held = self.held.lock().await;
        held.clear();
        let options = self.engine.options().user(Some(VICTIM)).pass(Some(Self::PASSWORD));
        let opening = (0..count).map(|_| Conn::new(options.clone()));
        *held = stream::iter(opening).buffered(AT_ONCE).try_collect().await.context("not all sessions were opened")?;
        Ok(held.iter().map(|connection| connection.id().into()).collect())
    }

    /// Forgets what was asked.
    pub(in super::super) fn clear(&self) {
        self.relay.clear();
    }

    /// What contenders have asked.
    pub(in super::super) fn asked(&self) -> Asked {
        self.relay.asked()
    }

    /// How often each of `sessions` was ended, by the engine's own log.
    pub(in super::super) fn kills_per_session<'a>(
        &self,
        sessions: impl Iterator<Item = &'a Sessions>,
    ) -> anyhow::Result<BTreeMap<(String, i64), u32>> {
        let of_load: HashSet<i64> =
            sessions.flat_map(|it| if let Sessions::Of(ids) = it { ids.clone() } else { vec![] }).collect();
        let mut kills = BTreeMap::new();
        for ended in self.engine.executed_kills()?.into_iter().filter(|id| of_load.contains(id)) {
            *kills.entry((self.server_ip().to_owned(), ended)).or_default() += 1;
        }
        Ok(kills)
    }

    /// Waits until the engine lists no session of the load any more.
    pub(super) async fn all_gone(&self) -> anyhow::Result<()> {
        let mut root = self.engine.connect().await?;
        let left = format!("select count(*) from oceanbase.V$OB_PROCESSLIST where USER = '{VICTIM}'");
        let deadline = Instant::now() + GONE_LIMIT;
        while let Some(count) = root.query_first::<u64, _>(&left).await?.filter(|count| *count > 0) {
            ensure!(Instant::now() < deadline, "{count} sessions are still there");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(root.disconnect().await?)
    }
}
