//! The control plane fails in the middle of kills. There is one kill at each step that involves the API server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use testbed::arena::{Arena, Ground, Launch, session};
use testbed::control_plane::Outage;
use testbed::fault_proxy::{At, Fault, Order, Passed, Rule};

use crate::permitted::End;
use crate::stage::Stage;

/// The steps of the kills at the time of the failure: before the claim is stored, after that but before the holder
/// knows it, between claim and call, after the call, before and after the end of the request is stored, and before the
/// record of the claim is stored.
const MOMENTS: [(&str, At); 7] = [
    ("create sessionkillreceipts", At::Request),
    ("create sessionkillreceipts", At::Answer),
    ("KillProcessList", At::Request),
    ("KillProcessList", At::Answer),
    ("patch sessionkills/status", At::Request),
    ("patch sessionkills/status", At::Answer),
    ("patch sessionkillreceipts/status", At::Request),
];

/// Longer than the time-out of a request to the API server.
const PAUSE: Duration = Duration::from_secs(20);

struct Scene {
    stage: Stage,
    moment: (&'static str, At),
    order: Arc<Order>,
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at the {:?} of {} in {}", self.moment.1, self.moment.0, self.stage.arena.namespace)
    }
}

/// Plays all steps at once, with one failure for all of them. Returns the problems as text.
pub async fn fail_at_each_moment(ground: &Arc<Ground>, outage: Outage) -> Vec<String> {
    let numbered = MOMENTS.into_iter().enumerate();
    let setting = numbered.map(|(number, moment)| Scene::set(ground, format!("{outage:?}-{number}"), moment));
    let scenes = join_all(setting).await;
    join_all(scenes.iter().map(|scene| scene.order.reached())).await;
    let begun = || scenes.iter().for_each(|scene| scene.order.release());
    ground.fail(outage, PAUSE, begun).await.unwrap();
    let mut problems = join_all(scenes.iter().map(Scene::problems)).await.concat();
    let passed = scenes.iter().flat_map(|scene| scene.stage.arena.api.trace());
    let failed = passed.filter(has_failed).count();
    println!("{outage:?}: {} kills, {failed} requests of their operators failed", MOMENTS.len());
    if failed == 0 {
        problems.push("no operator noticed".into());
    }
    problems
}

fn has_failed(passed: &Passed) -> bool {
    passed.abandoned || passed.told.is_none_or(|status| status >= 500)
}

impl Scene {
    async fn set(ground: &Arc<Ground>, name: String, moment: (&'static str, At)) -> Self {
        let arena = Arena::set(ground, &name.to_lowercase(), vec![session(1), session(2)]).await.unwrap();
        let (kind, at) = moment;
        let proxy = if kind.starts_with(char::is_uppercase) { &arena.calls } else { &arena.api };
        let order = proxy.order(Rule::of(Fault::Hold(at), kind).times(1));
        let stage = Stage::of(arena, Launch::default(), crate::plan::Scene::Plain);
        stage.ask().await;
        stage.arena.start(stage.launch).await.unwrap();
        Self { stage, moment, order }
    }

    async fn problems(&self) -> Vec<String> {
        self.stage.all_is_done().await;
        let mut problems: Vec<_> = self.stage.compare(&[End::Done]).await.into_iter().collect();
        problems.extend(self.stage.arena.verdict().await.unwrap().violations);
        if problems.is_empty() {
            self.stage.arena.clean();
        }
        problems.into_iter().map(|problem| format!("{self}: {problem}")).collect()
    }
}
