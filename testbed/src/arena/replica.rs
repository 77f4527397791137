//! A replica of the operator: a process with doors of its own to the API server and to the gateway.

use std::{fs, time::Duration};

use anyhow::Context;

use crate::operator::Operator;

/// How a replica is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Launch {
    /// Speaks HTTP/1.1 to the API server, where it is offered HTTP/2.
    pub http1: bool,
    /// Stands for election, with a Lease of so many seconds; see [`Arena::allow_election`](super::Arena::allow_election).
    pub lease_seconds: Option<u16>,
    /// How long its watches last, where it is not the default.
    pub watch_seconds: Option<u32>,
    /// For how long after its claim a call may be sent; 8 s if none.
    pub dispatch_window_seconds: Option<u16>,
    /// Works in all namespaces: for an arena beside which no other has anything left to do.
    pub everywhere: bool,
}

impl Launch {
    pub(super) fn arguments(self, namespace: &str) -> Vec<String> {
        let window = self.dispatch_window_seconds.unwrap_or(8).to_string();
        let mut arguments = vec!["--dispatch-window-seconds".to_owned(), window];
        if !self.everywhere {
            arguments.extend(["--namespace", namespace].map(str::to_owned));
        }
        if let Some(seconds) = self.lease_seconds {
            arguments.extend(["--leader-election", "--leader-election-namespace", namespace].map(str::to_owned));
            arguments.extend(["--lease-duration-seconds".to_owned(), seconds.to_string()]);
        }
        if let Some(seconds) = self.watch_seconds {
            arguments.extend(["--watch-seconds".to_owned(), seconds.to_string()]);
        }
        arguments
    }
}

/// One process. A replica that is started again is another one.
pub struct Replica {
    /// As the traces of both proxies name it.
    pub client: String,
    /// The process.
    pub operator: Operator,
    /// How it was started.
    pub launch: Launch,
}

impl Replica {
    /// Waits until its caches are synced.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let check = async || Ok(self.asked("/readyz").await?.error_for_status().map(drop)?);
        self.operator.process().ready(Duration::from_mins(2), check).await
    }

    /// What it answers at this path of its health checks.
    pub async fn asked(&self, path: &str) -> anyhow::Result<reqwest::Response> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(http.get(format!("{}{path}", self.operator.health_url())).send().await?)
    }

    /// Whether it says that it leads.
    pub async fn leads(&self) -> anyhow::Result<bool> {
        let text = self.asked("/metrics").await?.error_for_status()?.text().await?;
        let gauge = text.lines().find_map(|line| line.strip_prefix("sessionkill_leader "));
        Ok(gauge.context("it does not say whether it leads")? == "1")
    }

    /// Whether `identity`, of a claim or a Lease, is its own.
    #[must_use]
    pub fn is(&self, identity: &str) -> bool {
        identity.strip_prefix(&self.client).is_some_and(|random| random.starts_with('_'))
    }

    /// Its log and its audit lines so far.
    pub(super) fn written(&self) -> anyhow::Result<String> {
        let audit = fs::read(self.operator.process().stdout())?;
        Ok(self.operator.logs()? + &String::from_utf8_lossy(&audit))
    }
}
