//! The parts of a stack, and where its operator runs.

use std::{path::PathBuf, time::Duration};

use crate::node::Source;

/// Which parts to start, and where.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// The directory for data and logs. Each part has a directory of its own in it.
    pub directory: PathBuf,
    /// The backend of the gateway.
    pub sessions: Sessions,
    /// Whether an operator runs.
    pub operator: OperatorChoice,
    /// Whether the gateway is STS too, with a metadata service beside it, and how long its temporary keys live.
    pub sts: Option<Duration>,
}

/// Where sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// In a real engine, which is started.
    OceanBase,
    /// In a real engine that speaks TLS, too.
    SecureOceanBase,
    /// In the gateway's memory.
    Memory,
}

/// Whether an operator runs, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorChoice {
    /// None: a person starts one.
    None,
    /// The operator of this source tree, built with cargo's `dev` profile.
    Build,
    /// This binary.
    Binary(PathBuf),
}

/// The installation of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Install {
    /// The definitions and `deploy/base`, without its admission limits.
    Base,
    /// The Helm chart, for these namespaces only. An empty list means all namespaces.
    Chart {
        /// The namespaces, which are made if missing.
        watch_namespaces: Vec<String>,
    },
    /// The Helm chart on real nodes, on which the operator runs as Pods. Use it only inside of [`crate::node::enter`].
    Pods(Pods),
}

/// The nodes and the image of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    /// How many nodes.
    pub nodes: u8,
    /// The image.
    pub image: Source,
    /// The duration of the Lease, in seconds. `None` means the chart's default.
    pub lease_seconds: Option<u16>,
    /// The names by which the operator may call the gateway, besides its address.
    pub gateway_names: Vec<String>,
}
