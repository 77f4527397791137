//! The list of sessions, which is a DryRun of a short life: whoever makes one deletes it again, whatever happens.

use std::ops::ControlFlow;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use sessionkill_api::{Mode, Outcome, Session, SessionKill, SessionKillSpec, SessionSelector};
use tokio::time::timeout;

use crate::advice;
use crate::client::Place;
use crate::errors::{Failure, Result, failure};
use crate::exit::Exit;
use crate::follow::follow;
use crate::interrupt::{Interrupt, interrupted};
use crate::output::say;
use crate::request::{ended_with, is_ended, reason_and_message};
use crate::target::Target;

/// The label that says who made an object.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "kubectl-sessionkill");
/// The life of a list: long enough for a slow gateway, short enough for one that is left behind by a lost laptop.
const LIFE: SignedDuration = SignedDuration::from_mins(2);
/// How long an operator may take.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long the answer to a create is waited for after Ctrl-C, so that what it made is deleted.
const LAST_ANSWER: Duration = Duration::from_secs(3);
/// Why a request may wait without anybody doing something about it.
const PASSING: [&str; 9] = [
    "",
    "Throttled",
    "ObservationFailed",
    "EndpointUnreachable",
    "STSUnavailable",
    "Dispatching",
    "Verifying",
    "Pending",
    "Scheduled",
];

/// Which sessions are looked at.
#[derive(Clone)]
pub enum Wanted {
    /// All that match, of which up to 100 are shown.
    Selector(Box<SessionSelector>),
    /// These, wherever they stand in the list.
    Sessions(Vec<Session>),
}

/// Reads the list once by a `DryRun`, and returns it as it ended. It is deleted in any case, also after Ctrl-C.
pub async fn look(place: &Place, target: &Target, wanted: Wanted, interrupt: &mut Interrupt) -> Result<SessionKill> {
    let request = dry_run(target, wanted);
    let name = request.metadata.name.clone().unwrap_or_default();
    let made = create(place, &request, interrupt).await;
    let seen = match made {
        Ok(made) => interrupt.or(outcome(place, made)).await,
        Err(NotMade::Refused(failure)) => return Err(failure),
        Err(NotMade::Unknown(failure)) => Err(failure),
    };
    if !delete(place, &name).await && !matches!(seen, Err(Failure::Said(_, Exit::Other))) {
        say(&format!(
            "the list sessionkill/{name} could not be deleted: it ends nothing, and the operator deletes it in 2 minutes"
        ));
    }
    seen
}

/// Why there is no list.
enum NotMade {
    /// The API server did not make it.
    Refused(Failure),
    /// No answer came: it may have been made.
    Unknown(Failure),
}

async fn create(
    place: &Place,
    request: &SessionKill,
    interrupt: &mut Interrupt,
) -> std::result::Result<SessionKill, NotMade> {
    let (requests, parameters) = (place.requests(), PostParams::default());
    let mut making = std::pin::pin!(requests.create(&parameters, request));
    let made = tokio::select! {
        biased;
        () = interrupt.came() => {
            let _ = timeout(LAST_ANSWER, making).await;
            return Err(NotMade::Unknown(interrupted()));
        }
        made = &mut making => made,
    };
    made.map_err(|error| {
        let failure = place.attempt("create", "sessionkills", "").failed(&error);
        if matches!(error, kube::Error::Api(_)) { NotMade::Refused(failure) } else { NotMade::Unknown(failure) }
    })
}

/// Whether it is deleted now, or was not there.
async fn delete(place: &Place, name: &str) -> bool {
    match timeout(LAST_ANSWER, place.requests().delete(name, &DeleteParams::background())).await {
        Ok(Ok(_)) => true,
        Ok(Err(kube::Error::Api(status))) => status.code == 404,
        _ => false,
    }
}

/// Waits for the end of the list.
async fn outcome(place: &Place, made: SessionKill) -> Result<SessionKill> {
    let mut last = made.clone();
    let ended = follow(place, made, |request| {
        last = request.clone();
        let (reason, _) = reason_and_message(request);
        if is_ended(request) || !PASSING.contains(&reason) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Ok(ended) = timeout(PATIENCE, ended).await {
        ended?;
    }
    judge(last)
}

/// The list, or why there is none.
fn judge(request: SessionKill) -> Result<SessionKill> {
    if let Some(Outcome::DryRunCompleted | Outcome::NothingMatched) = ended_with(&request) {
        return Ok(request);
    }
    let (reason, message) = reason_and_message(&request);
    if reason.is_empty() {
        return Err(failure(format!(
            "no operator has answered within {} s: is one running, and does it watch namespace {}? Look with: kubectl sessionkill check",
            PATIENCE.as_secs(),
            request.metadata.namespace.as_deref().unwrap_or_default(),
        )));
    }
    let advice = match reason {
        "ExpiredOnArrival" | "KillMissed" => {
            "the clock of this machine is behind that of the API server by minutes: set it right"
        }
        "InvalidObject" => "the operator may be older than this plugin: compare with kubectl sessionkill version",
        _ => advice::of(reason).map_or("", |advice| advice.todo),
    };
    let exit = if is_ended(&request) { Exit::Refused } else { Exit::Other };
    let mut said = format!("the sessions cannot be listed: {reason}: {message}");
    if !advice.is_empty() {
        said = format!("{said}\nwhat to do: {advice}");
    }
    Err(Failure::Said(said, exit))
}

fn dry_run(target: &Target, wanted: Wanted) -> SessionKill {
    let (selector, sessions) = match wanted {
        Wanted::Selector(selector) => (Some(*selector), vec![]),
        Wanted::Sessions(sessions) => (None, sessions),
    };
    let spec = SessionKillSpec {
        mode: Mode::DryRun,
        selector,
        sessions,
        not_after_time: Time(Timestamp::now() + LIFE),
        reason: None,
        ttl_seconds_after_finished: Some(0),
        ..target.spec()
    };
    SessionKill { metadata: metadata(format!("list-{}", random())), spec, status: None }
}

/// The metadata of an object that this program makes. The name is made here, and not by the API server: so what it
/// names can be deleted although the answer to the create is lost.
pub fn metadata(name: String) -> ObjectMeta {
    let labels = [(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())];
    ObjectMeta { name: Some(name), labels: Some(labels.into()), ..ObjectMeta::default() }
}

/// Twelve hexadecimal digits for a name.
pub fn random() -> String {
    let (high, low, ..) = uuid::Uuid::new_v4().as_fields();
    format!("{high:08x}{low:04x}")
}
