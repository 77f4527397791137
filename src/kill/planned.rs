//! Step 4 for one request: the state of each of its sessions, by one process list. No I/O.

use std::sync::Arc;

use crate::api::{SessionKill, SessionKillSpec, SessionOutcome, SessionStatus, SqlTextPolicy, WaitReason};
use crate::connections::route::Route;
use crate::domain::backend::{CallError, ErrorKind};
use crate::domain::kill::admission::{needs_list, rests_on_list};
use crate::domain::kill::precheck::{Undecided, precheck};
use crate::domain::selection::{Choice, Filter, choose, needed};
use crate::domain::snapshot::Snapshot;
use crate::kill::request::Request;

/// The result of reading the process list; `None` if no request needs it.
pub type Observed = Option<Result<Arc<Snapshot>, CallError>>;

/// Why nothing can be said of the sessions of a request.
pub enum Unplanned {
    /// The list cannot be read, or does not tell what it must: the request waits, and says why.
    Waits(WaitReason, String),
    /// The selector cannot be used, for reasons that the API server does not know.
    Unusable(String),
}

/// The sessions of a request right before its claim.
pub struct Planned {
    /// The request with its sessions: with a selector, those that it takes.
    pub object: Arc<SessionKill>,
    /// The state of each.
    pub sessions: Vec<SessionStatus>,
    /// How many sessions its selector matched.
    pub matched: Option<i32>,
}

impl Planned {
    /// Whether it names sessions of which none is left to be killed. What a selector matched is claimed, however little it is: one
    /// attempt alone may decide that.
    pub fn is_nothing_left(&self) -> bool {
        self.matched.is_none() && self.sessions.iter().all(|session| session.outcome != SessionOutcome::Pending)
    }
}

/// What the request of `spec` takes of what its filter has selected.
fn chosen(
    spec: &SessionKillSpec,
    snapshot: Option<&Snapshot>,
    filter: &Arc<Filter>,
    policy: SqlTextPolicy,
) -> Result<Choice, Undecided> {
    let snapshot = snapshot.ok_or(Undecided::Incomplete(""))?;
    if let Some(field) = spec.selector.as_ref().and_then(|selector| snapshot.cannot_tell_of(&needed(selector))) {
        return Err(Undecided::Unselectable(field));
    }
    let selected = snapshot.selected(filter).filter(|_| snapshot.is_complete());
    let selected = selected.ok_or(Undecided::Incomplete(snapshot.gap()))?;
    if selected.is_cut {
        return Err(Undecided::TooMuchText);
    }
    Ok(choose(spec, selected, policy, snapshot.time))
}

impl Request {
    /// The state of each session.
    pub fn planned(&self, route: &Route, observed: &Observed) -> Result<Planned, Unplanned> {
        let filter = self.filter.as_ref().map_err(|why| Unplanned::Unusable(why.clone()))?;
        let (spec, must_see) = (&self.object.spec, route.connection().must_see());
        let observed = observed.as_ref().filter(|_| needs_list(spec, must_see));
        let snapshot = observed.and_then(|read| read.as_ref().ok()).map(Arc::as_ref);
        let policy = route.connection().spec().sql_text;
        let why = match observed {
            Some(Err(error)) if rests_on_list(spec, must_see) => {
                let why = self.not_read(route, error);
                // It concerns all that is asked of the server, and not the list alone.
                if error.kind == ErrorKind::ProxyNotSupported {
                    let message = format!("{}: {why}", spec.connection_ref);
                    return Err(Unplanned::Waits(WaitReason::ProxyNotSupported, message));
                }
                why
            }
            _ => {
                let planned = match filter {
                    Some(filter) => chosen(spec, snapshot, filter, policy).map(|choice| self.taking(choice)),
                    None => precheck(&spec.sessions, snapshot, must_see, policy).map(|sessions| self.naming(sessions)),
                };
                match planned {
                    Ok(planned) => return Ok(planned),
                    Err(undecided) => undecided.to_string(),
                }
            }
        };
        let message = format!(
            "{}: the process list of tenant {} cannot be read ({why}), and without it a session could be the wrong one: nothing \
             was sent; trying again until {}",
            spec.connection_ref, spec.tenant_id, spec.not_after_time.0
        );
        Err(Unplanned::Waits(WaitReason::ObservationFailed, message))
    }

    fn naming(&self, sessions: Vec<SessionStatus>) -> Planned {
        Planned { object: self.object.clone(), sessions, matched: None }
    }

    fn taking(&self, choice: Choice) -> Planned {
        let mut object = SessionKill::clone(&self.object);
        object.spec.sessions = choice.sessions;
        Planned { object: Arc::new(object), sessions: choice.planned, matched: Some(choice.matched) }
    }

    /// Why the list could not be read. If the cause is the access key or the way to the gateway, it stops every call
    /// through the connection, so that the connection reports it too.
    fn not_read(&self, route: &Route, error: &CallError) -> String {
        let instance = &self.object.spec.instance_id;
        let action = route.backend.list_action();
        let Some((reason, message)) = route.backend.refusal(action, instance, error) else { return error.to_string() };
        if matches!(
            reason,
            WaitReason::CredentialsRejected
                | WaitReason::EndpointUnreachable
                | WaitReason::EndpointNotAllowed
                | WaitReason::ProxyNotSupported
        ) {
            self.context.connection_reports.failed(route.connection(), reason, &message);
        }
        message
    }
}
