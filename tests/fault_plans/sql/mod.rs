//! The same for sessions that are ended by SQL, on a real engine: one thing goes wrong at each statement that a kill makes,
//! or at a request to the API server before, between and after them. The engine's own log says what was executed.

mod permitted;
mod plan;
mod stage;

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use futures::future::join_all;
use testbed::arena::{Ground, Verdict};
use testbed::torture::{Schedule, play_all};
use tokio::sync::OnceCell;

use self::plan::{Plan, plans};
use self::stage::{Played, play};
use crate::plan::steps_of;
use crate::{AT_ONCE, PLAYING, REPEATS, prepared};

/// The random schedules: the first seed, and their number.
const FIRST_SEED: u64 = 2000;
const SCHEDULES: u64 = 8;

/// What the tests share. Its servers end with the process, however it ends.
async fn ground() -> Arc<Ground> {
    static SHARED: OnceCell<Arc<Ground>> = OnceCell::const_new();
    let start = async || {
        let mut ground = prepared("fault-plans-sql").await;
        ground.start_engine().await.unwrap();
        Arc::new(ground)
    };
    SHARED.get_or_init(start).await.clone()
}

/// The schedules are always the same, so that you can repeat a failure: `testbed torture --sql --seed S --schedules 1`.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_random_nothing_is_killed_twice_by_sql_and_nothing_is_lost() {
    let ground = ground().await;
    let schedules = (FIRST_SEED..FIRST_SEED + SCHEDULES).map(Schedule::by_sql);
    let tally = play_all(&ground, schedules, 4).await.unwrap();
    tally.print();
    let violations = &tally.verdict.violations;
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let Verdict { kills, interrupted, unanswered, .. } = tally.verdict;
    assert!(kills > 0 && interrupted > 0 && unanswered > 0, "{kills} kills, {interrupted} of statements");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_a_kill_by_sql_ends_as_it_may() {
    let _playing = PLAYING.lock().await;
    let started = Instant::now();
    let ground = ground().await;
    let references = join_all((0..3).map(|number| play_named(&ground, format!("sql-{number}"), Plan::None))).await;
    for (_, played) in &references {
        assert!(played.problems.is_empty(), "{:?}", played.problems);
    }
    let steps = steps_of(&references.iter().map(|(_, played)| played.trace.clone()).collect::<Vec<_>>());
    let named: Vec<_> = steps.iter().map(ToString::to_string).collect();
    println!("steps of a kill by SQL: {}", named.join(", "));
    let only = env::var("FAULT_PLANS").unwrap_or_default();
    let plans = plans(&steps).into_iter().filter(|plan| plan.to_string().contains(&only)).enumerate();
    let numbered = plans.map(|(number, plan)| play_named(&ground, format!("sql-plan-{number:03}"), plan));
    let played: Vec<_> = futures::stream::iter(numbered).buffer_unordered(AT_ONCE).collect().await;

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    let mut verdict = Verdict::default();
    for (plan, played) in &played {
        *counts.entry(plan.group()).or_default() += 1;
        for (outcome, reason) in &played.told {
            *told.entry(format!("{outcome:?}/{reason:?}")).or_default() += 1;
        }
        verdict = verdict.and(played.verdict.clone());
    }
    let unknown = verdict.unanswered - verdict.observed;
    println!("{} plans by SQL in {} s: {counts:?}", played.len(), started.elapsed().as_secs());
    println!(
        "kills {}, doubles {}, claims {}, without a certain answer {}, unknown after the list was read {unknown}; clients \
         cut off {}, served {}",
        verdict.kills, verdict.double_kills, verdict.records, verdict.unanswered, verdict.lost, verdict.served,
    );
    println!("sessions: {told:?}");
    let failed: Vec<_> = played.iter().filter(|(_, played)| !played.problems.is_empty()).collect();
    let words = failed.iter().map(|(plan, played)| format!("{plan}\n {}", played.problems.join("\n ")));
    assert!(failed.is_empty(), "{} plans failed\n{}", failed.len(), words.collect::<Vec<_>>().join("\n\n"));
    assert_eq!((verdict.double_kills, unknown), (0, 0));
    assert!(!only.is_empty() || verdict.kills > 0 && verdict.unanswered > 0);
}

async fn play_named(ground: &Arc<Ground>, name: String, plan: Plan) -> (Plan, Played) {
    let mut again = 0;
    loop {
        let (ground, at, name) = (ground.clone(), plan.clone(), format!("{name}-{again}"));
        let played = tokio::spawn(async move { play(&ground, &name, &at).await }).await;
        let played = played
            .unwrap_or_else(|panic| Played { problems: vec![format!("it panicked: {panic}")], ..Played::default() });
        if played.problems.is_empty() || !played.is_disturbed || again == REPEATS {
            return (plan, played);
        }
        println!("played again, as the machine was too busy: {plan}");
        again += 1;
    }
}
