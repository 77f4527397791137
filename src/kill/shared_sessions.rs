//! Keeps two namespaces from ending the same session through one `ClusterOceanBaseConnection`. No I/O.
//!
//! Requests of one namespace and tenant are called one batch after the other, and each batch reads the process list after the
//! call before it. Those of different namespaces do not wait for each other. So a session that a call for another namespace
//! names is left alone until that call is over, and until a list was read after it: that shows whether the session has ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api::{SessionOutcome, SessionStatus};
use crate::connections::allowed_use::AllowedUse;
use crate::domain::backend::Tenant;
use crate::domain::tenant::TenantKey;

/// A session that was ended may be in the process list for 1 s more.
const LEAVES: Duration = Duration::from_secs(1);

/// How long a call that is over is remembered: longer than it takes from the beginning of a use of a connection, which is
/// before its list, to its claims.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Old entries are removed once there are this many, or twice as many as the last removal left, whichever is more.
const MIN_KEPT: usize = 1024;

/// The sessions that calls through connections of no namespace name, or named a moment ago. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SharedSessions(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    by_session: HashMap<Shared, Named>,
    prune_at: usize,
}

/// A session, by its connection's UID, its tenant, its server and its ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shared {
    connection: Arc<str>,
    tenant: Arc<Tenant>,
    server_ip: String,
    session_id: i64,
}

/// The calls that name a session, all for one namespace.
#[derive(Debug)]
struct Named {
    namespace: String,
    /// How many claims for such calls there are.
    claims: usize,
    /// When the last of these calls was over.
    over: Option<Instant>,
}

impl Named {
    fn is_remembered(&self) -> bool {
        self.claims > 0 || self.over.is_some_and(|over| over.elapsed() < REMEMBERED)
    }

    /// Whether a list that was read after `began` may not show yet what these calls ended.
    fn may_hide(&self, began: Instant) -> bool {
        self.claims > 0 || self.over.is_some_and(|over| over + LEAVES > began)
    }
}

/// The sessions of one claim, until its call is over.
#[derive(Debug, Default)]
pub struct Taken {
    of: SharedSessions,
    sessions: Vec<Shared>,
}

impl SharedSessions {
    /// Takes the pending sessions of `planned` for a call for `key`. `None` if a call for another namespace names one of them,
    /// or named it after `used` began: then the list is read again first. Sessions of a connection that only one namespace uses
    /// can always be taken.
    pub fn take(&self, used: &AllowedUse, key: &TenantKey, planned: &[SessionStatus]) -> Option<Taken> {
        if used.connection().allowed_namespaces().is_none() {
            return Some(Taken::default());
        }
        let (connection, tenant) = (Arc::from(used.connection().uid()), Arc::new(key.tenant()));
        let pending = planned.iter().filter(|session| session.outcome == SessionOutcome::Pending);
        let sessions = pending.map(|session| Shared {
            connection: Arc::clone(&connection),
            tenant: tenant.clone(),
            server_ip: session.server_ip.clone(),
            session_id: session.session_id,
        });
        self.take_all(key.namespace(), sessions.collect(), used.began())
    }

    fn take_all(&self, namespace: &str, sessions: Vec<Shared>, began: Instant) -> Option<Taken> {
        let mut known = self.known();
        let is_hidden = |session: &Shared| {
            let named = known.by_session.get(session).filter(|named| named.namespace != namespace);
            named.is_some_and(|named| named.may_hide(began))
        };
        // What was over before that is forgotten.
        if began.elapsed() >= REMEMBERED || sessions.iter().any(is_hidden) {
            return None;
        }
        for session in &sessions {
            let none = || Named { namespace: namespace.to_owned(), claims: 0, over: None };
            let named = known.by_session.entry(session.clone()).or_insert_with(none);
            if named.namespace != namespace {
                *named = none();
            }
            named.claims += 1;
        }
        if known.by_session.len() >= known.prune_at.max(MIN_KEPT) {
            known.by_session.retain(|_, named| named.is_remembered());
            known.prune_at = known.by_session.len() * 2;
        }
        Some(Taken { of: self.clone(), sessions })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut known = self.of.known();
        for session in &self.sessions {
            if let Some(named) = known.by_session.get_mut(session) {
                named.claims = named.claims.saturating_sub(1);
                named.over = Some(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(session_id: i64) -> Shared {
        let tenant = Tenant { instance_id: "ob1".to_owned(), tenant_id: "t1".to_owned() };
        Shared {
            connection: "uid-1".into(),
            tenant: Arc::new(tenant),
            server_ip: "192.168.13.119".to_owned(),
            session_id,
        }
    }

    fn ids(ids: impl IntoIterator<Item = i64>) -> Vec<Shared> {
        ids.into_iter().map(session).collect()
    }

    fn earlier(by: Duration) -> Instant {
        Instant::now().checked_sub(by).unwrap()
    }

    #[test]
    fn a_session_that_a_call_for_another_namespace_names_is_left_alone_until_a_list_shows_what_came_of_it() {
        let shared = SharedSessions::default();
        let began = Instant::now();
        let first = shared.take_all("shop", ids([1, 2]), began).unwrap();
        assert!(shared.take_all("bank", ids([2, 3]), Instant::now()).is_none());
        assert!(shared.take_all("bank", ids([3, 4]), Instant::now()).is_some(), "nobody else names these");
        drop(first);
        assert!(shared.take_all("bank", ids([2, 3]), began).is_none(), "its list may be older");
        assert!(shared.take_all("bank", ids([2, 3]), Instant::now()).is_none(), "it may still be listed");
        for named in shared.known().by_session.values_mut() {
            named.over = Some(earlier(LEAVES));
        }
        let next = shared.take_all("bank", ids([2, 3]), Instant::now()).unwrap();
        assert!(shared.take_all("shop", ids([2]), Instant::now()).is_none(), "now it is theirs");
        drop(next);
    }

    #[test]
    fn requests_of_one_namespace_share_their_sessions() {
        let shared = SharedSessions::default();
        let (first, second) =
            (shared.take_all("shop", ids([1]), Instant::now()), shared.take_all("shop", ids([1]), Instant::now()));
        drop(first);
        assert!(shared.take_all("bank", ids([1]), Instant::now()).is_none(), "one of them is still at work");
        assert!(second.is_some());
    }

    #[test]
    fn a_use_that_began_so_long_ago_that_calls_may_be_forgotten_takes_nothing() {
        let shared = SharedSessions::default();
        assert!(shared.take_all("shop", ids([1]), earlier(REMEMBERED)).is_none());
        assert!(shared.take_all("shop", ids([1]), earlier(REMEMBERED / 2)).is_some());
    }

    #[test]
    fn what_is_over_is_forgotten_as_other_calls_come() {
        let shared = SharedSessions::default();
        let held = shared.take_all("shop", ids([0]), Instant::now());
        for number in 1..10 {
            let first = number * i64::try_from(MIN_KEPT).unwrap();
            drop(shared.take_all("shop", ids(first..first + 1000), Instant::now()));
            for named in shared.known().by_session.values_mut() {
                named.over = named.over.map(|_| earlier(REMEMBERED));
            }
        }
        assert!(shared.known().by_session.len() <= 2 * MIN_KEPT, "{}", shared.known().by_session.len());
        assert!(shared.known().by_session.contains_key(&session(0)), "one that is at work is not");
        drop(held);
    }
}
