//! The panels of `deploy/monitoring/dashboard.json`. Pure.

use anyhow::Context;
use serde::Deserialize;

const DASHBOARD: &str = include_str!("../../../deploy/monitoring/dashboard.json");

/// One panel.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    /// Its title.
    pub title: String,
    field_config: FieldConfig,
    /// Its queries.
    pub targets: Vec<Target>,
}

/// One query of a panel.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    ref_id: String,
    /// In `PromQL`, with Grafana's variables.
    pub expr: String,
    /// The name of each series, with its labels in double braces.
    pub legend_format: String,
}

#[derive(Clone, Debug, Deserialize)]
struct FieldConfig {
    defaults: Properties,
    overrides: Vec<Override>,
}

#[derive(Clone, Debug, Deserialize)]
struct Properties {
    unit: String,
}

/// Settings that apply to one query instead.
#[derive(Clone, Debug, Deserialize)]
struct Override {
    matcher: Matcher,
    properties: Vec<Property>,
}

#[derive(Clone, Debug, Deserialize)]
struct Matcher {
    /// The query's `refId`.
    options: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Property {
    id: String,
    value: String,
}

impl Panel {
    /// The unit of the panel, for people.
    #[must_use]
    pub fn unit(&self) -> &str {
        shown(&self.field_config.defaults.unit)
    }

    /// The unit of `target`, for people.
    #[must_use]
    pub fn unit_of(&self, target: &Target) -> &str {
        let of_it = self.field_config.overrides.iter().filter(|it| it.matcher.options == target.ref_id);
        let mut units = of_it.flat_map(|it| &it.properties).filter(|property| property.id == "unit");
        units.next().map_or_else(|| self.unit(), |property| shown(&property.value))
    }
}

/// The unit without the prefix by which Grafana marks a custom unit.
fn shown(unit: &str) -> &str {
    unit.strip_prefix("suffix:").unwrap_or(unit)
}

impl Target {
    /// The query as Grafana sends it, for a dashboard with this `range`, and rates over `interval`. Both are durations.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The unit of an expression, derived from the names of its metrics and its functions.
    fn measure(expr: &str) -> &'static str {
        let is_time = expr.contains("_seconds_bucket") || expr.contains("_seconds)");
        let is_rate = expr.contains("rate(") && !expr.contains(" / ") && !expr.contains("_bucket");
        match (is_time, is_rate) {
            (true, _) => "s",
            (false, true) => "/s",
            (false, false) => "",
        }
    }

    #[test]
    fn each_panel_says_what_it_is_measured_in() {
        let panels = panels().unwrap();
        assert!(panels.len() > 10);
        for panel in &panels {
            for target in &panel.targets {
                let (unit, expr) = (panel.unit_of(target), &target.expr);
                assert!(!["", "none", "short"].contains(&unit), "{}: {expr} has no unit", panel.title);
                let is_right = match measure(expr) {
                    "s" => unit == "s",
                    "/s" => unit.ends_with("/s"),
                    // A limit is in calls per second, although it is no rate.
                    _ if expr.contains("lowest_limit") => unit == "calls/s",
                    _ => unit != "s" && !unit.ends_with("/s"),
                };
                assert!(is_right, "{}: {expr} is shown in {unit}", panel.title);
            }
        }
    }
}
