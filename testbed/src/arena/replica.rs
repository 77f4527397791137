//! A replica of the operator: a process with its own doors to the API server and to the gateway.

use std::{fs, net::SocketAddr, time::Duration};

use anyhow::Context;

use crate::operator::Operator;

/// How a replica is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Launch {
    /// Uses HTTP/1.1 to the API server, which also offers HTTP/2.
    pub http1: bool,
    /// Takes part in the election, with a Lease of this number of seconds. See
    /// [`Arena::allow_election`](super::Arena::allow_election).
    pub lease_seconds: Option<u16>,
    /// How long its watches last, in seconds, if not the default.
    pub watch_seconds: Option<u32>,
    /// How many seconds after its claim a call may be sent. `None` means 8 s.
    pub dispatch_window_seconds: Option<u16>,
    /// Works in all namespaces. Use it only when all other arenas have finished their work.
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

/// One process. After a restart it is another replica.
pub struct Replica {
    /// Its name in the traces of both proxies.
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

    /// The answer of its health port at this path.
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

    /// Whether `identity`, from a claim or a Lease, is this replica's.
    #[must_use]
    pub fn is(&self, identity: &str) -> bool {
        identity.strip_prefix(&self.client).is_some_and(|random| random.starts_with('_'))
    }

    /// Whether a connection of it comes from `address`, of IPv4.
    pub(super) fn is_at(&self, address: SocketAddr) -> anyhow::Result<bool> {
        // `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode`
        let sockets = fs::read_to_string("/proc/net/tcp")?;
        let port = format!(":{:04X}", address.port());
        let of = |line: &str| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let is_its = fields.get(1).is_some_and(|local| local.ends_with(&port));
            fields.get(9).filter(|_| is_its).map(|inode| format!("socket:[{inode}]"))
        };
        let wanted: Vec<_> = sockets.lines().skip(1).filter_map(of).collect();
        let open = fs::read_dir(format!("/proc/{}/fd", self.operator.pid()))?;
        let mut open = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        Ok(open.any(|target| wanted.iter().any(|socket| target.to_string_lossy() == socket.as_str())))
    }

    /// Its log and its audit lines so far.
    pub(super) fn written(&self) -> anyhow::Result<String> {
        let audit = fs::read(self.operator.process().stdout())?;
        Ok(self.operator.logs()? + &String::from_utf8_lossy(&audit))
    }
}
