//! Measures starts of a contender beside finished requests.

use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use sessionkill::api::SessionKill;

use super::{
    contender::Contender,
    plan::{NAMESPACE, Plan, Sessions, Stream},
    record::Start,
    request,
    scene::Scene,
};
use crate::operator;

const AT_ONCE: usize = 32;

/// Stores requests `from` up to `to` with their outcomes through the API, as if they had been executed long ago.
pub(super) async fn store_finished(scene: &Scene, from: u32, to: u32) -> anyhow::Result<()> {
    let session_kills: Api<SessionKill> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let now = Timestamp::now();
    let stream = Stream {
        tenants: scene.tenants.clone(),
        sessions: Sessions::From(1_000_000_000),
        requests: to,
        rate: None,
        while_others_last: false,
    };
    let plan = Plan {
        name: "finished".into(),
        not_after: now + SignedDuration::from_hours(24),
        ..scene.plan("finished", std::time::Duration::ZERO, vec![stream])
    };
    let store = |number| {
        let (plan, session_kills) = (&plan, &session_kills);
        async move {
            let (request, _) = request::session_kill(plan, 0, number)?;
            let stored = session_kills.create(&PostParams::default(), &request).await?;
            let status = Patch::Merge(json!({"status": request::ended_status(&stored, now)}));
            session_kills.patch_status(&stored.name_any(), &PatchParams::default(), &status).await?;
            anyhow::Ok(())
        }
    };
    stream::iter(from..to).map(store).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(())
}

/// Starts `contender`, waits until it has come to rest, and ends it.
pub(super) async fn start(
    scene: &Scene,
    contender: &Contender,
    (repeat, finished_objects): (u32, u32),
    directory: &Path,
) -> anyhow::Result<Start> {
    let running = contender.start(scene, directory).await?;
    let pid = running.process().pid();
    let mut counter = scene.control_plane.count_requests(&running.user)?;
    scene.quiet(&mut counter, pid).await?;
    let start = Start {
        repeat,
        contender: contender.name.clone(),
        finished_objects,
        ready_ms: running.ready_after.as_secs_f64() * 1000.0,
        resting_bytes: operator::rss_bytes(pid)?,
    };
    running.stop().await;
    Ok(start)
}
