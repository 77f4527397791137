//! The key of one identity: held, renewed by one at a time, and kept while renewals fail. No I/O.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sessionkill_api::WaitReason;
use sessionkill_core::credentials::{Life, Retry, Standing, Step, may_have_expired, pause, renewal_window, step};
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::errors::Unavailable;
use super::issue::Issued;
use crate::access_key::AccessKey;

/// The key of one identity.
#[derive(Debug)]
pub(super) struct Entry {
    state: Mutex<State>,
    /// Notified when a renewal has ended.
    pub(super) renewed: Notify,
}

#[derive(Debug)]
struct State {
    held: Option<Held>,
    is_renewing: bool,
    failed: Option<Failed>,
    /// The renewals that failed in a row.
    failures: u32,
    /// Whether the last key was refused: the next one replaces it.
    was_rejected: bool,
    /// When somebody last needed the key.
    needed: Instant,
}

#[derive(Debug)]
struct Held {
    issued: Issued,
    window: Duration,
    replaces_rejected: bool,
}

#[derive(Debug)]
struct Failed {
    why: Unavailable,
    until: Instant,
}

/// What somebody who needs the key gets.
pub(super) enum Look {
    /// The key.
    Key(AccessKey),
    /// The key, and the duty to have it renewed in the background.
    KeyAndRenew(AccessKey),
    /// The duty to have it renewed, before there is a key.
    Renew,
    /// Nothing yet: a renewal is under way.
    Wait,
    /// No key.
    Fail(Unavailable),
}

impl Held {
    fn left(&self, now: Instant) -> Duration {
        self.issued.lifetime.saturating_sub(now.duration_since(self.issued.since))
    }

    fn life(&self, now: Instant) -> Life {
        Life { left: self.left(now), lifetime: self.issued.lifetime, window: self.window }
    }
}

impl Entry {
    pub(super) fn new() -> Self {
        let state = State {
            held: None,
            is_renewing: false,
            failed: None,
            failures: 0,
            was_rejected: false,
            needed: Instant::now(),
        };
        Self { state: Mutex::new(state), renewed: Notify::new() }
    }

    /// What somebody gets who needs the key for a call that may take as long as `call`. Whoever gets the duty to renew it
    /// must end that by [`Self::settle`].
    pub(super) fn look(&self, call: Duration) -> Look {
        let now = Instant::now();
        let mut state = self.state();
        state.needed = now;
        let step = step(state.standing(now), call);
        state.is_renewing |= matches!(step, Step::UseAndRenew | Step::Renew);
        match (step, &state.held) {
            (Step::Use, Some(held)) => Look::Key(held.issued.key.clone()),
            (Step::UseAndRenew, Some(held)) => Look::KeyAndRenew(held.issued.key.clone()),
            (Step::Renew, _) => Look::Renew,
            (Step::Wait, _) => Look::Wait,
            (Step::Fail | Step::Use | Step::UseAndRenew, _) => Look::Fail(state.why()),
        }
    }

    /// Ends a renewal, which was begun for a call that may take as long as `call`. A key that is too short for it is kept
    /// for others, but is a failure: the next one would be as short.
    pub(super) fn settle(&self, issued: Result<Issued, Unavailable>, call: Duration) -> Result<(), Unavailable> {
        let now = Instant::now();
        let mut state = self.state();
        state.is_renewing = false;
        let result = issued.and_then(|issued| {
            let window = renewal_window(issued.lifetime, random());
            let held = Held { issued, window, replaces_rejected: std::mem::take(&mut state.was_rejected) };
            let (life, is_first) = (held.life(now), !held.replaces_rejected);
            state.held = Some(held);
            if life.outlives(call) { Ok(is_first) } else { Err(too_short(life.left, call)) }
        });
        let result = match result {
            Ok(is_first) => {
                state.failed = None;
                // A key that replaces a refused one has yet to be of use.
                state.failures = if is_first { 0 } else { state.failures };
                Ok(())
            }
            Err(why) => {
                state.fail(why.clone(), now);
                Err(why)
            }
        };
        drop(state);
        self.renewed.notify_waiters();
        result
    }

    /// Forgets `key`, as it was refused; returns whether another attempt is worth while now, with another key. A key that
    /// replaced a refused one, and was refused at once, is not replaced at once again.
    pub(super) fn rejected(&self, key: &AccessKey) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let Some(held) = state.held.take_if(|held| held.issued.key.id == key.id) else {
            // Somebody else has told so, or it was renewed since.
            return state.standing(now).pause.is_zero();
        };
        if held.replaces_rejected && !may_have_expired(now.duration_since(held.issued.since)) {
            let message = "even the access key that was issued just now is refused: check what the role may do, and that the \
                           endpoint is of the same account site as STS; trying again";
            state.fail(Unavailable::for_now(WaitReason::CredentialsRejected, message), now);
        }
        state.was_rejected = true;
        state.standing(now).pause.is_zero()
    }

    /// What is left of the key; zero if it has expired.
    pub(super) fn left(&self) -> Option<Duration> {
        self.state().held.as_ref().map(|held| held.left(Instant::now()))
    }

    /// Whether a renewal is under way.
    pub(super) fn is_renewing(&self) -> bool {
        self.state().is_renewing
    }

    /// When somebody last needed the key.
    pub(super) fn needed(&self) -> Instant {
        self.state().needed
    }

    /// Whether nothing of it is worth keeping: no valid key, no renewal, no pause.
    pub(super) fn is_spent(&self) -> bool {
        let now = Instant::now();
        let state = self.state();
        let standing = state.standing(now);
        !standing.is_renewing && standing.pause.is_zero() && standing.key.is_none_or(|key| key.left.is_zero())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn standing(&self, now: Instant) -> Standing {
        let pause = self.failed.as_ref().map(|failed| failed.until.saturating_duration_since(now));
        Standing {
            key: self.held.as_ref().map(|held| held.life(now)),
            is_renewing: self.is_renewing,
            pause: pause.unwrap_or_default(),
        }
    }

    /// A renewal failed at `now`: the next one comes after a pause, but not after the held key has expired.
    fn fail(&mut self, why: Unavailable, now: Instant) {
        self.failures += 1;
        let pause = pause(self.failures, why.retry, random());
        let left = self.held.as_ref().map(|held| held.left(now)).filter(|left| !left.is_zero());
        let until = now + left.map_or(pause, |left| pause.min(left));
        self.failed = Some(Failed { why, until });
    }

    /// Why there is no key. If the last one has expired, or is about to, and no new one came, then that is what is wrong.
    fn why(&self) -> Unavailable {
        let why = self.failed.as_ref().map(|failed| failed.why.clone());
        let why = why.unwrap_or_else(|| Unavailable::for_now(WaitReason::StsUnavailable, "no access key was issued"));
        match why.reason {
            WaitReason::StsUnavailable | WaitReason::MetadataUnavailable if self.held.is_some() => Unavailable {
                reason: WaitReason::CredentialsExpired,
                message: format!("the last access key expires, and no new one came: {}", why.message),
                ..why
            },
            _ => why,
        }
    }
}

fn too_short(left: Duration, call: Duration) -> Unavailable {
    let message = format!(
        "the access key that was issued lives for {} s only, and a call may take {} s: lower requestTimeoutSeconds, or have \
         keys issued that live longer",
        left.as_secs(),
        call.as_secs()
    );
    Unavailable { reason: WaitReason::CredentialsExpired, message, retry: Retry::Soon }
}

fn random() -> u8 {
    // The first byte of a UUID of version 4 is random.
    Uuid::new_v4().as_bytes()[0]
}
