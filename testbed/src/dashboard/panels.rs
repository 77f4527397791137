//! The panels of `deploy/monitoring/dashboard.json`. Pure.

use anyhow::Context;
use serde::Deserialize;

const DASHBOARD: &str = include_str!("../../../deploy/monitoring/dashboard.json");

/// One panel.
#[derive(Clone, Debug, Deserialize)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// Its queries.
    pub targets: Vec<Target>,
}

/// One query of a panel.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// In `PromQL`, with Grafana's variables.
    pub expr: String,
    /// What each series is called, with its labels in double braces.
    pub legend_format: String,
}

impl Target {
    /// The query as Grafana sends it, for a dashboard that shows `range` and rates over `interval`, both as durations.
    #[must_use]
    pub fn query(&self, interval: &str, range: &str) -> String {
        self.expr.replace("$__rate_interval", interval).replace("$__range", range)
    }
}

/// All panels, in their order.
pub fn panels() -> anyhow::Result<Vec<Panel>> {
    #[derive(Deserialize)]
    struct Dashboard {
        panels: Vec<Panel>,
    }
    let dashboard: Dashboard = serde_json::from_str(DASHBOARD).context("dashboard.json is not a dashboard")?;
    Ok(dashboard.panels)
}
