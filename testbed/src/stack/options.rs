//! What a stack is made of, and where its operator runs.

use std::path::PathBuf;

use crate::node::Source;

/// Which parts to start, and where.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Data and logs of all parts, each in a directory of its own.
    pub directory: PathBuf,
    /// Where the gateway finds sessions.
    pub sessions: Sessions,
    /// Whether an operator runs.
    pub operator: OperatorChoice,
}

/// Where sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// In a real engine, which is started.
    OceanBase,
    /// In the gateway's memory.
    Memory,
}

/// Whether an operator runs, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorChoice {
    /// None: somebody starts one by hand.
    None,
    /// The one in this source tree, built as cargo's `dev` profile says.
    Build,
    /// This binary.
    Binary(PathBuf),
}

/// What is installed for the operator before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Install {
    /// The definitions and `deploy/base`, without its limits of objects.
    Base,
    /// The Helm chart; to work in these namespaces only, or if there is none, in all.
    Chart {
        /// They are made if they are not there.
        watch_namespaces: Vec<String>,
    },
    /// The Helm chart on nodes of its own, on which it runs as Pods. Only inside of [`crate::node::enter`].
    Pods(Pods),
}

/// On which nodes the operator runs, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pods {
    /// How many nodes.
    pub nodes: u8,
    /// The image.
    pub image: Source,
    /// The duration of the Lease; the chart's own without.
    pub lease_seconds: Option<u16>,
}
