//! What is compared between contenders.

use serde::{Deserialize, Serialize};

use super::super::statistics::Spread;

/// Processor seconds for a thousand requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuSpread {
    /// Of the contender.
    pub contender: Spread,
    /// Of kube-apiserver.
    pub api_server: Spread,
    /// Of etcd.
    pub etcd: Spread,
}

/// One contender's medians, divided by another's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ratios {
    /// Below 1 is faster.
    pub p50: f64,
    /// Below 1 is faster.
    pub p99: f64,
    /// Above 1 is faster.
    pub requests_per_second: f64,
    /// Processor time of contender, API server and etcd together. Below 1 is cheaper.
    pub cpu: Option<f64>,
    /// Processor time of the contenders alone.
    #[serde(default)]
    pub own_cpu: Option<f64>,
    /// The most memory that the contenders took.
    #[serde(default)]
    pub peak_memory: Option<f64>,
}
