//! The faults in force, and which call gets which.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::watch, time::timeout};

use super::{
    faults::{Fault, FaultKind, When},
    reply::Reply,
};

/// The faults in force.
#[derive(Default)]
pub struct Faults {
    all: Mutex<Vec<Fault>>,
    /// The sessions whose faults delay nothing any more.
    undelayed: watch::Sender<BTreeSet<i64>>,
}

impl Faults {
    /// Adds one at the end of the queue.
    pub fn inject(&self, fault: Fault) {
        self.with(|faults| faults.push(fault));
    }

    /// Ends them all.
    pub fn clear(&self) {
        self.with(Vec::clear);
    }

    /// The faults in force, with their remaining counts.
    #[must_use]
    pub fn all(&self) -> Vec<Fault> {
        self.with(|faults| faults.clone())
    }

    /// The fault for a call of this action, whose count goes down. `named` are the sessions to end that the call names,
    /// if any.
    #[must_use]
    pub fn take(&self, action: Option<&str>, named: Option<&[i64]>) -> Option<Fault> {
        self.with(|faults| {
            faults.retain(|fault| fault.count != Some(0));
            let fault = faults.iter_mut().find(|fault| fault.fits(action, named))?;
            fault.count = fault.count.map(|count| count - 1);
            Some(fault.clone())
        })
    }

    /// Plays a fault before the execution. Returns the answer if there is to be none. A refusal by the gateway itself is
    /// up to the execution.
    pub async fn play_before(&self, fault: Option<&Fault>, instead: impl Fn(&Fault) -> Option<Reply>) -> Option<Reply> {
        let fault = fault.filter(|fault| fault.when() == When::Before)?;
        self.delay(fault).await;
        Some(fault).filter(|fault| fault.at_the_edge()).and_then(instead)
    }

    /// Plays a fault after the execution, which led to this reply.
    pub async fn play_after(
        &self,
        fault: Option<&Fault>,
        reply: Reply,
        instead: impl Fn(&Fault) -> Option<Reply>,
    ) -> Reply {
        let Some(fault) = fault.filter(|fault| fault.when() == When::After) else { return reply };
        self.delay(fault).await;
        instead(fault).unwrap_or_else(|| reply.distorted(fault))
    }

    /// Waits as long as the fault says, or until that is ended.
    pub async fn delay(&self, fault: &Fault) {
        let mut undelayed = self.undelayed.subscribe();
        let ended = undelayed.wait_for(|ids| fault.session_id.is_some_and(|id| ids.contains(&id)));
        let _ = timeout(fault.delay(), ended).await;
    }

    /// Ends the delay of each fault that is for this session.
    pub fn end_delay(&self, session_id: i64) {
        self.undelayed.send_modify(|ids| {
            ids.insert(session_id);
        });
    }

    /// The time by the gateway's clock, which may be off.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + self.skew(FaultKind::ClockSkew)
    }

    /// How far the header `Date` differs from the gateway's clock.
    #[must_use]
    pub fn date_skew(&self) -> SignedDuration {
        self.skew(FaultKind::DateSkew)
    }

    /// Whether security tokens count as expired.
    #[must_use]
    pub fn tokens_expired(&self) -> bool {
        self.with(|faults| faults.iter().any(|fault| fault.kind == FaultKind::ExpireTokens))
    }

    /// The error code with which an expired token is refused. `None` means the usual one.
    #[must_use]
    pub fn expired_code(&self) -> Option<String> {
        self.with(|faults| {
            let renames = faults.iter().filter(|fault| fault.kind == FaultKind::ExpiredCode);
            renames.filter_map(|fault| fault.code.clone()).next_back()
        })
    }

    fn skew(&self, kind: FaultKind) -> SignedDuration {
        let skew = self.with(|faults| faults.iter().filter(|it| it.kind == kind).filter_map(|it| it.skew_ms).sum());
        SignedDuration::from_millis(skew)
    }

    fn with<T>(&self, use_faults: impl FnOnce(&mut Vec<Fault>) -> T) -> T {
        use_faults(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
