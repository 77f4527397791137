//! `testbed bench`: how fast `SessionKill`s are finished and what it costs, beside the least that it can cost.
//!
//! ```text
//!                load (a process of its own) ── creates ──→ API server + etcd ── watch of ends ──→ load
//!                                                               ↑ writes
//!  floor (four requests, told by the load) or another contender ─┴─ calls ──→ gateway (stated delay and quota)
//! ```
//!
//! Each contender gets, in turn and as often as the others, a fresh control plane and a fresh process. Beside that it can be
//! attacked (`--hostile`, see [`crate::hostile`]), run for long (`--soak`), or given keys that expire (`--short-keys`,
//! `--roles`).

mod args;
mod by_sql;
mod client;
mod contender;
mod floor;
mod hostile;
mod load;
mod markdown;
mod plan;
mod plot;
mod reasons;
mod record;
mod request;
mod run;
mod scene;
mod soak;
mod start;
pub(crate) mod statistics;
mod summary;
mod table;
mod temporary_keys;
mod usage;

use std::{fs, path::Path};

use anyhow::Context;

use self::{
    args::Agenda,
    contender::Contender,
    record::{Failure, Load},
    run::Trial,
    scene::Scene,
};
pub use self::{
    args::BenchArgs,
    floor::{FloorArgs, floor},
    load::{LoadArgs, load},
    record::{Record, Summary},
};
use crate::scratch;

/// Measures what the arguments ask for, writes it down, and prints it as Markdown. Fails if a contender did not finish
/// every request, or killed a session twice.
pub async fn bench(args: BenchArgs) -> anyhow::Result<()> {
    let records = match &args.from {
        Some(earlier) => read(earlier)?,
        None => measure(args.agenda()?, args.json.as_deref()).await?,
    };
    if let Some(plot) = &args.plot {
        let svg = plot::plot(&summary::summaries(&records)).context("nothing to draw: no rate was measured")?;
        fs::write(plot, svg).with_context(|| format!("cannot write {}", plot.display()))?;
    }
    print!("{}", table::report(&records));
    hostile::verdict(&records)?;
    soak::verdict(&records)?;
    temporary_keys::verdict(&records)
}

/// Write the measurements after each contender, so that a later failure does not lose them.
async fn measure(mut agenda: Agenda, json: Option<&Path>) -> anyhow::Result<Vec<Record>> {
    let keep = |records: &[Record]| json.map_or(Ok(()), |json| write(json, records));
    for contender in &mut agenda.contenders {
        contender.build(&agenda.setting.profile).await?;
    }
    let mut records = vec![Record::Setting(agenda.setting.clone())];
    if !agenda.loads.is_empty() {
        for repeat in 1..=agenda.setting.repeats {
            for index in 0..agenda.contenders.len() {
                records.extend(one_life(&agenda, index, repeat).await?);
                keep(&records)?;
            }
        }
    }
    records.extend(starts(&agenda).await?);
    for attack in &agenda.attacks {
        for contender in &agenda.contenders {
            tell(1, &contender.name, &attack.name());
            let run = Box::pin(hostile::measure(&agenda, contender, *attack)).await;
            let run = run.map(|run| Record::Attack(Box::new(run)));
            records.push(run.unwrap_or_else(|error| failure(contender, &attack.name(), &error)));
            keep(&records)?;
        }
    }
    for (length, contender) in agenda.soak.iter().flat_map(|it| agenda.contenders.iter().map(move |one| (*it, one))) {
        tell(1, &contender.name, &format!("5 kills a second for {} s", length.as_secs()));
        let run = Box::pin(soak::soak(&agenda, contender, length)).await;
        let run = run.map(|run| Record::Soak(Box::new(run)));
        records.push(run.unwrap_or_else(|error| failure(contender, "for long", &error)));
        keep(&records)?;
    }
    for (keys, contender) in agenda.keys.iter().flat_map(|it| agenda.contenders.iter().map(move |one| (*it, one))) {
        tell(1, &contender.name, &keys.to_string());
        let run = Box::pin(temporary_keys::measure(&agenda, contender, keys)).await;
        records.push(run.unwrap_or_else(|error| failure(contender, &keys.to_string(), &error)));
        keep(&records)?;
    }
    let summaries = summary::summaries(&records);
    records.extend(summaries.into_iter().map(|summary| Record::Summary(Box::new(summary))));
    keep(&records)?;
    Ok(records)
}

/// All loads on one contender, on its own control plane.
async fn one_life(agenda: &Agenda, index: usize, repeat: u32) -> anyhow::Result<Vec<Record>> {
    let contender = &agenda.contenders[index];
    let directory = scratch::directory()?;
    let scene = Scene::start_on(agenda.setting.backend, directory.path(), agenda.gateway.clone()).await?;
    let running = match contender.tool() {
        Some(_) => None,
        None => Some(contender.start(&scene, &directory.path().join(&contender.name)).await?),
    };
    let mut records = vec![];
    // A fresh engine takes a second for statements that it has never seen: those of a login, above all.
    let warming = scene.database.as_ref().map(|_| Load::AtOnce { requests: 1 });
    for (load, is_measured) in warming.iter().map(|load| (load, false)).chain(agenda.loads.iter().map(|it| (it, true)))
    {
        tell(repeat, &contender.name, &load.to_string());
        let trial = Trial {
            repeat,
            contender,
            load: *load,
            sessions: agenda.setting.sessions,
            verification: agenda.setting.verification,
        };
        let runs = match (&running, contender.tool()) {
            (Some(running), _) => run::run(&scene, running, trial, directory.path()).await,
            (None, tool) => {
                let tool = tool.context("neither a tool nor running")?;
                by_sql::tools::run(&scene, tool, trial, directory.path()).await.map(|run| run.into_iter().collect())
            }
        };
        let runs = runs.with_context(|| format!("{}: {load}", contender.name))?;
        let records_of = runs.into_iter().filter(|_| is_measured).map(|run| Record::Run(Box::new(run)));
        records.extend(records_of);
    }
    if let Some(running) = running {
        running.stop().await;
    }
    scene.stop().await;
    Ok(records)
}

/// Starts of all contenders beside more and more finished requests, on one control plane.
async fn starts(agenda: &Agenda) -> anyhow::Result<Vec<Record>> {
    let mut records = vec![];
    let is_started = |contender: &&Contender| !contender.is_floor() && contender.tool().is_none();
    let contenders: Vec<_> = agenda.contenders.iter().filter(is_started).collect();
    if agenda.finished.is_empty() || contenders.is_empty() {
        return Ok(records);
    }
    let directory = scratch::directory()?;
    let scene = Scene::start_on(agenda.setting.backend, directory.path(), agenda.gateway.clone()).await?;
    let mut stored = 0;
    for finished in &agenda.finished {
        start::store_finished(&scene, stored, *finished).await?;
        stored = *finished;
        for repeat in 1..=agenda.setting.repeats {
            for contender in &contenders {
                tell(repeat, &contender.name, &format!("start beside {finished} finished requests"));
                let log = directory.path().join(&contender.name);
                let start = start::start(&scene, contender, (repeat, *finished), &log).await;
                records.push(Record::Start(start.with_context(|| contender.name.clone())?));
            }
        }
    }
    scene.stop().await;
    Ok(records)
}

/// Goes on to measure the others.
fn failure(contender: &Contender, what: &str, error: &anyhow::Error) -> Record {
    Record::Failure(Failure { contender: contender.name.clone(), what: what.into(), why: format!("{error:#}") })
}

/// Prints on standard error, so that the tables can be redirected.
fn tell(repeat: u32, contender: &str, what: &str) {
    eprintln!("{repeat}: {contender}: {what}");
}

fn write(path: &Path, records: &[Record]) -> anyhow::Result<()> {
    let mut text = String::new();
    for record in records {
        text += &serde_json::to_string(record)?;
        text.push('\n');
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Vec<Record>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let record = |line| serde_json::from_str(line).with_context(|| format!("{}: not a record: {line}", path.display()));
    text.lines().map(record).collect()
}
