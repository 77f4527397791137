//! A burst of requests with every kind of event.

use std::time::Duration;

use anyhow::{Context, ensure};
use sessionkill::api::SessionKill;
use tokio::time::{Instant, sleep};

use crate::{
    arena::{Arena, kill_of},
    gateway::{Fault, FaultKind},
};

/// How many requests are made each second.
const EACH_SECOND: i64 = 4;
/// How long requests may take to end.
const LIMIT: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(200);

/// The number of things that were made to happen, to compare with what the dashboard shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scene {
    /// Requests in all.
    pub requests: usize,
    /// Requests with the same content as another one.
    pub duplicates: usize,
    /// Requests that are held back until they expire.
    pub expired: usize,
    /// Calls that are throttled.
    pub throttled: u32,
    /// Calls whose answer is lost after execution.
    pub lost: u32,
}

impl Scene {
    /// The sessions that the gateway must hold.
    pub const SESSIONS: i64 = 400;
}

/// Makes requests for `seconds`. After a third of the time the gateway throttles, and after two thirds it loses
/// answers. Returns when all requests have ended.
pub async fn play(arena: &Arena, seconds: u32) -> anyhow::Result<Scene> {
    ensure!(i64::from(seconds) * EACH_SECOND <= Scene::SESSIONS, "{seconds} s are too long for the sessions there are");
    let mut scene = Scene { requests: 0, duplicates: 0, expired: 1, throttled: 6, lost: 2 };
    let mut held = kill_of(&[Scene::SESSIONS], 3)?;
    held.suspend = true;
    arena.request("held-back", held).await?;
    let started = Instant::now();
    for second in 0..seconds {
        if second == seconds / 3 {
            arena.gateway.inject(Fault { count: Some(scene.throttled), ..kills(FaultKind::Throttle) });
        }
        if second == seconds * 2 / 3 {
            arena.gateway.inject(Fault { count: Some(scene.lost), ..kills(FaultKind::Drop).after() });
        }
        for number in 1..=EACH_SECOND {
            let number = i64::from(second) * EACH_SECOND + number;
            let spec = kill_of(&[number], 600)?;
            if number % 20 == 0 {
                arena.request(&format!("twin-{number}"), spec.clone()).await?;
                scene.duplicates += 1;
            }
            arena.request(&format!("kill-{number}"), spec).await?;
            scene.requests += 1;
        }
        tokio::time::sleep_until(started + Duration::from_secs(u64::from(second) + 1)).await;
    }
    scene.requests += scene.duplicates + scene.expired;
    all_end(arena).await?;
    Ok(scene)
}

fn kills(kind: FaultKind) -> Fault {
    Fault { kills_only: true, ..Fault::new(kind) }
}

async fn all_end(arena: &Arena) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    let is_open = |request: &SessionKill| request.status.as_ref().is_none_or(|status| status.completion_time.is_none());
    loop {
        let open: Vec<_> = arena.requests().await?.into_iter().filter(is_open).collect();
        let Some(one) = open.first() else { return Ok(()) };
        let still = || format!("{} requests have not ended, such as {:?}", open.len(), one.metadata.name);
        (Instant::now() < deadline).then_some(()).with_context(still)?;
        sleep(POLL).await;
    }
}
