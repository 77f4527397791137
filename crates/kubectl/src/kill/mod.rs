//! `kill`: shows what it would end, asks, makes the request, and waits for its end.

mod flags;
mod manifest;
mod pick;
mod printed;
mod wait;

use kube::api::PostParams;
use sessionkill_api::{SessionKill, SessionStatus};
use tokio::time::{Duration, timeout};

use crate::ask;
use crate::client::Place;
use crate::errors::{Failure, Result, failure};
use crate::exit::Exit;
use crate::interrupt::{Interrupt, interrupted};
use crate::output::{print, say};
use crate::sessions::rendered;
use crate::{session, target};

pub use flags::Flags;

use self::flags::Format;
use self::pick::Picked;
use self::printed::print_request;

/// How long the answer to the create is waited for after Ctrl-C.
const LAST_ANSWER: Duration = Duration::from_secs(3);

/// Ends sessions.
pub async fn run(place: &Place, flags: &Flags) -> Result<Exit> {
    refuse_what_makes_no_sense(flags)?;
    let mut interrupt = Interrupt::listen()?;
    let target = target::choose(place, flags.connection.as_deref(), &flags.target, &mut interrupt).await?;
    if flags.request.query && target.is_sql == Some(false) {
        return Err(failure("--query needs a connection by SQL: by the API only whole sessions can be ended"));
    }
    let Picked { sessions, notes } = pick::pick(place, &target, flags, &mut interrupt).await?;
    for note in &notes {
        say(note);
    }
    if sessions.is_empty() {
        say("nothing to end");
        return Ok(Exit::AllEnded);
    }
    let is_client_only = flags.request.dry_run.is_some();
    let is_for_programs = is_client_only || flags.request.detach || flags.request.output.is_some();
    show(&sessions, is_for_programs)?;
    let reason = reason(flags, &mut interrupt).await?;
    if !is_client_only {
        confirm(place, &target, flags, sessions.len(), &mut interrupt).await?;
    }
    let request = manifest::request(&place.namespace, &target, &sessions, flags, reason);
    if is_client_only {
        // A manifest is YAML unless it is asked for otherwise.
        print_request(&request, flags.request.output.unwrap_or(Format::Yaml))?;
        return Ok(Exit::AllEnded);
    }
    let made = create(place, &request, &mut interrupt).await?;
    if flags.request.detach {
        print_request(&made, flags.request.output.unwrap_or(Format::Name))?;
        return Ok(Exit::AllEnded);
    }
    wait::wait(place, made, flags.request.output, &mut interrupt).await
}

fn refuse_what_makes_no_sense(flags: &Flags) -> Result<()> {
    if !flags.sessions.is_empty() && flags.filters.is_any() {
        return Err(failure("give either SESSION or filters: each is to say all of what is meant"));
    }
    if flags.sessions.is_empty() {
        flags.filters.name_somebody()?;
    }
    if flags.sessions.len() > sessionkill_api::MAX_SESSIONS {
        return Err(failure("one request ends 100 sessions at most"));
    }
    if !flags.request.yes && flags.request.dry_run.is_none() && !ask::is_terminal() {
        return Err(failure("there is no terminal to ask on: look with kubectl sessionkill sessions, then give --yes"));
    }
    Ok(())
}

/// Shows what would be ended: beside the answer, if that is for programs.
fn show(sessions: &[SessionStatus], is_for_programs: bool) -> Result<()> {
    let table = rendered(sessions, false);
    if is_for_programs {
        say(table.trim_end());
        return Ok(());
    }
    print(&table)
}

async fn reason(flags: &Flags, interrupt: &mut Interrupt) -> Result<Option<String>> {
    let given = flags.request.reason.clone();
    if given.is_some() || flags.request.yes || !ask::is_terminal() {
        return Ok(given);
    }
    let answer = ask::line("Why (an incident number or a sentence, or nothing)? ", interrupt).await?;
    Ok(Some(answer).filter(|answer| !answer.is_empty()))
}

async fn confirm(
    place: &Place,
    target: &target::Target,
    flags: &Flags,
    count: usize,
    interrupt: &mut Interrupt,
) -> Result<()> {
    let what = session::count(count);
    let what = match (flags.request.query, count) {
        (false, _) => what,
        (true, 1) => format!("the statement of {what}"),
        (true, _) => format!("the statements of {what}"),
    };
    let what = if flags.request.selector { format!("what matches then, now {what}") } else { what };
    let target::Target { connection, instance_id, tenant_id, .. } = target;
    say(&format!(
        "tenant {tenant_id} of {instance_id}, through {connection} in namespace {}, within {}",
        place.namespace,
        session::duration(&flags.request.lifetime.to_string())
    ));
    if flags.request.yes || ask::yes(&format!("End {what}?"), interrupt).await? {
        return Ok(());
    }
    Err(Failure::Said("nothing was asked for".to_owned(), Exit::Other))
}

async fn create(place: &Place, request: &SessionKill, interrupt: &mut Interrupt) -> Result<SessionKill> {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let (requests, parameters) = (place.requests(), PostParams::default());
    let mut making = std::pin::pin!(requests.create(&parameters, request));
    tokio::select! {
        biased;
        () = interrupt.came() => match timeout(LAST_ANSWER, making).await {
            Ok(Err(kube::Error::Api(_))) => Err(interrupted()),
            _ => Err(wait::left(&place.namespace, name)),
        },
        made = &mut making => made.map_err(|error| place.attempt("create", "sessionkills", name).failed(&error)),
    }
}
