//! Lets one thing go wrong at each request that a kill makes, with the real binary: a fault of the API server, of a
//! watch or of the gateway, or an operator that is killed or frozen. Each kill must end as if nothing had gone wrong,
//! except where the design allows another end because an answer or a holder was lost. It may make only a few more
//! writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a fixture that fails fails its test")]

mod outages;
mod pages;
mod permitted;
mod plan;
mod scenes;
mod sql;
mod stage;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt as _;
use futures::future::join_all;
use testbed::arena::Ground;
use testbed::control_plane::Outage;
use testbed::torture::{Schedule, play_all};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use crate::outages::fail_at_each_moment;
use crate::permitted::allowance;
use crate::plan::{Case, Plan, Scene, Step, steps_of};
use crate::stage::{Played, play};

/// Plans at once. A plan mostly waits, so 32 can run at the same time.
const AT_ONCE: usize = 32;

/// Whose plans are played: on two cores those of both backends together would keep each other from their deadlines.
static PLAYING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// How many times a plan is repeated if the machine disturbed it.
const REPEATS: usize = 2;
/// The random schedules: the first seed, and their number.
const FIRST_SEED: u64 = 1000;
const SCHEDULES: u64 = 12;

/// What all arenas of a test share. Its servers end with the process, however it ends.
async fn ground(name: &str) -> Arc<Ground> {
    Arc::new(prepared(name).await)
}

async fn prepared(name: &str) -> Ground {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Remove the files of an earlier run.
    let _ = fs::remove_dir_all(&directory);
    let binary = Path::new(env!("CARGO_BIN_EXE_sessionkill-operator"));
    Ground::prepare(&directory, binary).await.unwrap()
}

/// The ground whose control plane is made to fail. Only one test at a time may use it, as a failure affects all its
/// arenas.
async fn failing_ground() -> MappedMutexGuard<'static, Arc<Ground>> {
    static SHARED: Mutex<Option<Arc<Ground>>> = Mutex::const_new(None);
    let mut shared = SHARED.lock().await;
    if shared.is_none() {
        *shared = Some(ground("failing").await);
    }
    MutexGuard::map(shared, |ground| ground.as_mut().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_a_kill_ends_as_it_may() {
    let _playing = PLAYING.lock().await;
    let started = Instant::now();
    let ground = ground("fault-plans").await;
    let recorded = join_all(Scene::ALL.map(|scene| record(&ground, scene))).await;
    // To play only the cases whose name has this text.
    let only = env::var("FAULT_PLANS").unwrap_or_default();
    let all_of_them = env::var("FAULT_PLANS_OF_ALL_STEPS").is_ok();
    let cases = recorded
        .iter()
        .flat_map(|(scene, steps, well)| scene.cases(steps, all_of_them).into_iter().map(move |case| (case, well)));
    let cases = cases.filter(|(case, _)| case.to_string().contains(&only)).enumerate();
    let numbered =
        cases.map(|(number, (case, well))| play_named(&ground, format!("plan-{number:03}"), case, Some(well)));
    let played: Vec<_> = futures::stream::iter(numbered).buffer_unordered(AT_ONCE).collect().await;

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (case, _) in &played {
        *counts.entry(case.group()).or_default() += 1;
    }
    println!("{} plans in {} s: {counts:?}", played.len(), started.elapsed().as_secs());
    let failed: Vec<_> = played.iter().filter(|(_, played)| !played.problems.is_empty()).collect();
    let words = failed.iter().map(|(case, played)| format!("{case}\n {}", played.problems.join("\n ")));
    assert!(failed.is_empty(), "{} plans failed\n{}", failed.len(), words.collect::<Vec<_>>().join("\n\n"));
}

/// The steps of a kill in `scene` without other faults, and the largest count of each kind of write over three runs.
async fn record(ground: &Arc<Ground>, scene: Scene) -> (Scene, Vec<Step>, BTreeMap<String, usize>) {
    let well = |number| {
        let case = Case { scene, plan: Plan::None };
        play_named(ground, format!("{}-{number}", scene.name()), case, None)
    };
    let references = join_all((0..3).map(well)).await;
    for (case, played) in &references {
        assert!(played.problems.is_empty(), "{case}: {:?}", played.problems);
    }
    let traces: Vec<_> = references.iter().map(|(_, played)| played.trace.clone()).collect();
    let steps = steps_of(&traces);
    let named: Vec<_> = steps.iter().map(ToString::to_string).collect();
    println!("steps of a kill, {}: {}", scene.name(), named.join(", "));
    (scene, steps, most_of_each(references.iter().map(|(_, played)| &played.writes)))
}

/// The largest count of each kind of write.
fn most_of_each<'a>(all: impl Iterator<Item = &'a BTreeMap<String, usize>>) -> BTreeMap<String, usize> {
    let mut most = BTreeMap::<String, usize>::new();
    for (kind, count) in all.flatten() {
        let known = most.entry(kind.clone()).or_default();
        *known = (*known).max(*count);
    }
    most
}

fn too_many_writes(case: &Case, stored: &BTreeMap<String, usize>, well: &BTreeMap<String, usize>) -> Vec<String> {
    const GIVEN_UP: &str = "delete sessionkillreceipts";
    let given_up = stored.get(GIVEN_UP).copied().unwrap_or_default();
    let is_too_many = |(kind, count): &(&String, &usize)| {
        let more = match kind.as_str() {
            "create sessionkillreceipts" => given_up,
            // One for the planned fault, and one for a claim that expired on a busy machine.
            GIVEN_UP => 2,
            _ => 0,
        };
        **count > well.get(*kind).copied().unwrap_or_default() + allowance(case, kind) + more
    };
    let too_many = stored.iter().filter(is_too_many);
    too_many.map(|(kind, count)| format!("{kind} was stored {count} times, see {well:?}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_server_of_the_control_plane_fails_a_kill_ends_as_if_it_had_not() {
    let ground = failing_ground().await;
    for outage in Outage::ALL {
        let problems = fail_at_each_moment(&ground, outage).await;
        assert!(problems.is_empty(), "{outage:?}\n{}", problems.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_the_first_page_of_a_list_is_worked_on() {
    let ground = failing_ground().await;
    assert!(pages::ends_when_first_of_two_pages(&ground).await, "it is forgotten");
}

/// The schedules are always the same, so that you can repeat a failure: `testbed torture --seed S --schedules 1`.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_random_nothing_is_killed_twice_and_nothing_is_lost() {
    let ground = failing_ground().await;
    let schedules = (FIRST_SEED..FIRST_SEED + SCHEDULES).map(Schedule::of);
    let tally = play_all(&ground, schedules, 6).await.unwrap();
    tally.print();
    let violations = &tally.verdict.violations;
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    assert!(tally.verdict.kills > 0 && tally.verdict.unanswered > 0, "{tally:?}");
}

/// Plays `case`, and compares its writes with those of kills without faults, if `well` has them.
async fn play_named(
    ground: &Arc<Ground>,
    name: String,
    case: Case,
    well: Option<&BTreeMap<String, usize>>,
) -> (Case, Played) {
    let mut again = 0;
    loop {
        let (ground, at, name) = (ground.clone(), case.clone(), format!("{name}-{again}"));
        let played = tokio::spawn(async move { play(&ground, &name, &at).await }).await;
        let mut played = played.unwrap_or_else(|panic| Played {
            trace: vec![],
            writes: BTreeMap::new(),
            problems: vec![format!("it panicked: {panic}")],
            is_disturbed: false,
        });
        played.problems.extend(well.into_iter().flat_map(|well| too_many_writes(&case, &played.writes, well)));
        if played.problems.is_empty() || !played.is_disturbed || again == REPEATS {
            return (case, played);
        }
        println!("played again, as the machine was too busy: {case}");
        again += 1;
    }
}
