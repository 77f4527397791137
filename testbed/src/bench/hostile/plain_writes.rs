//! The time that the API server itself takes beside an attack: the writes of a kill, made without an operator.

use std::{convert::Infallible, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::super::plan::NAMESPACE;

/// Four writes: the request, its claim, its outcome and its record.
const WRITES: usize = 4;
/// As often as the victim kills, half-way between its kills.
const PAUSE: Duration = Duration::from_secs(1);

/// Makes four plain writes one after the other, once per second, until it is dropped.
pub(super) struct PlainWrites {
    config_maps: Api<ConfigMap>,
    name: String,
    /// How long each group of four took, in milliseconds.
    took: Vec<f64>,
}

impl PlainWrites {
    pub(super) fn new(client: Client, name: &str) -> Self {
        Self { config_maps: Api::namespaced(client, NAMESPACE), name: name.into(), took: vec![] }
    }

    /// Returns the measurements when `others` have ended.
    pub(super) async fn beside<T>(mut self, others: impl Future<Output = T>) -> (T, Vec<f64>) {
        let ended = tokio::select! {
            ended = others => ended,
            never = self.go_on() => match never {},
        };
        (ended, self.took)
    }

    async fn go_on(&mut self) -> Infallible {
        let mut ticks = interval_at(Instant::now() + PAUSE / 2, PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            let started = Instant::now();
            // A write that the API server refuses counts with the time until the refusal.
            if let Err(error) = self.write(&format!("{}-{}", self.name, self.took.len())).await {
                eprintln!("a plain write failed: {error}");
            }
            self.took.push(started.elapsed().as_secs_f64() * 1000.0);
        }
    }

    async fn write(&self, name: &str) -> kube::Result<()> {
        let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
        let made = ConfigMap { metadata, ..ConfigMap::default() };
        self.config_maps.create(&PostParams::default(), &made).await?;
        for number in 1..WRITES {
            let data = json!({"data": {"write": number.to_string()}});
            self.config_maps.patch(name, &PatchParams::default(), &Patch::Merge(&data)).await?;
        }
        Ok(())
    }
}
