//! `--short-keys`: kills at a steady rate with keys that live for seconds, so that most kills meet a renewal.

use std::time::Duration;

use sessionkill::api::Outcome;

use super::{
    super::{
        args::Agenda,
        contender::Contender,
        plan::{Place, Plan, Sessions, Stream},
        reasons,
        record::ShortKeysRun,
        request, run,
        scene::Scene,
    },
    ground, sts_calls,
};
use crate::{
    gateway::{CallRecord, GatewayOptions},
    scratch,
};

const PER_SECOND: u32 = 5;
/// The shortest `requestTimeoutSeconds`: a key is not used unless it outlives such a call.
const CALL_SECONDS: u32 = 1;
/// The time after which a kill that has not ended is given up.
const LIMIT: Duration = Duration::from_mins(2);

/// Lets a contender kill for `length` with keys that live for `life`.
pub(super) async fn measure(
    agenda: &Agenda,
    contender: &Contender,
    life: Duration,
    length: Duration,
) -> anyhow::Result<ShortKeysRun> {
    let directory = scratch::directory()?;
    let places = [Place::default()];
    let options = GatewayOptions { sts: Some(ground::sts(&places, life)), ..agenda.gateway.clone() };
    let scene = Scene::start(directory.path(), options).await?;
    scene.control_plane.apply(&ground::namespaces(&places).to_string()).await?;
    let connection = ground::connection(&places[0], &scene.gateway.url(), CALL_SECONDS.into());
    scene.control_plane.apply(&connection.to_string()).await?;
    let running = contender.start(&scene, directory.path()).await?;
    scene.connected().await?;

    let plan = plan(&scene, length);
    scene.gateway.set_sessions(request::all_sessions(&plan)?)?;
    scene.gateway.clear_calls();
    let report = run::make(&plan, &running, directory.path()).await?;
    let ends = run::ends(&scene, &plan, &report, plan.streams[0].requests)?;
    let reasons = reasons::of_load(scene.client.clone(), &plan).await?;
    let killed = reasons.iter().filter(|reason| *reason == Outcome::SessionsKilled.as_str()).count();
    let (of_sts, others): (Vec<CallRecord>, Vec<CallRecord>) =
        scene.gateway.calls().into_iter().partition(sts_calls::is_of_sts);
    running.stop().await;
    scene.stop().await;
    Ok(ShortKeysRun {
        contender: contender.name.clone(),
        key_seconds: life.as_secs(),
        seconds: seconds(&others),
        requests: ends.sessions,
        killed: ends.sessions_killed,
        most_kills_of_one: ends.most_kills_of_one,
        failed: ends.sessions - u32::try_from(killed)?.min(ends.sessions),
        refused_calls: u32::try_from(others.iter().filter(|call| call.result.as_deref() != Some("OK")).count())?,
        calls: u32::try_from(others.len())?,
        renewals: u32::try_from(of_sts.len())?,
        used_seconds: used(life, Duration::from_secs(CALL_SECONDS.into())).as_secs_f64(),
    })
}

/// How long a key is used for calls that may take as long as `call`, if it lives for `life`: as docs/credentials.md says, as
/// long as it outlives such a call by a minute, or by a quarter of its life if that is less.
fn used(life: Duration, call: Duration) -> Duration {
    // STS tells the end in whole seconds, and the testbed's rounds it up. The operator counts from the `Date` of the answer,
    // which is rounded down.
    let told = life + Duration::from_secs(1);
    told.saturating_sub(call + (told / 4).min(Duration::from_mins(1)))
}

/// From the first call to the last one.
fn seconds(calls: &[CallRecord]) -> f64 {
    let times = || calls.iter().map(|call| call.received_time);
    let length = times().min().zip(times().max()).map(|(first, last)| last.duration_since(first));
    length.unwrap_or_default().as_secs_f64()
}

fn plan(scene: &Scene, length: Duration) -> Plan {
    let stream = Stream {
        tenants: scene.tenants.clone(),
        sessions: Sessions::From(1),
        requests: u32::try_from(length.as_secs()).unwrap_or(u32::MAX).saturating_mul(PER_SECOND),
        rate: Some(PER_SECOND.into()),
        while_others_last: false,
    };
    scene.plan("short-keys", LIMIT, vec![stream])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_seconds_is_used_for_what_a_call_and_the_margin_leave() {
        let used = |life, call| used(Duration::from_secs(life), Duration::from_secs(call)).as_secs_f64();
        assert!((used(5, 1) - 3.5).abs() < 1e-9, "of 6 s, without 1 s and 1.5 s");
        assert!((used(3, 1) - 2.0).abs() < 1e-9, "of 4 s, without 1 s and 1 s");
        assert!((used(899, 10) - 830.0).abs() < 1e-9, "the margin is a minute at most");
        assert!(used(5, 10).abs() < 1e-9, "never");
    }
}
