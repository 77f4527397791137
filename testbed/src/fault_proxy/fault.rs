//! What goes wrong, and for which requests.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use tokio::sync::watch;

use super::asked::Asked;

/// In which direction a message is held or delayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The server has not seen the request.
    Request,
    /// The server has answered, but the client has not got the answer.
    Answer,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is held until the order is released. If its client dies meanwhile, it never reaches the server.
    Hold(At),
    /// The connection is closed, and the server never sees the request.
    Close,
    /// The server answers, and the connection is closed.
    LoseAnswer,
    /// It is answered with this status. The server never sees it.
    Answer {
        /// The status.
        status: u16,
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u32>,
    },
    /// It is answered with success and this JSON. The server never sees it.
    Say(String),
    /// It is answered with a 404 that names no object. The server never sees it.
    NotFoundPage(Page),
    /// The server answers, but the client gets this status.
    AnswerAfter {
        /// The status.
        status: u16,
    },
    /// The server answers, and the connection is closed in the middle of the body.
    CutBody,
    /// It is delayed by this time, and goes on even if the client gives up, like a request that waits in the server.
    Delay(At, Duration),
    /// The stream of a watch misbehaves.
    Stream(StreamFault),
    /// A list gets the first answer that a list of its kind got.
    OlderList,
    /// The server answers, and the header `Date` is off by this. Negative means slow.
    DateSkew(SignedDuration),
}

/// A 404 that does not mean that the object does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// A load balancer's, in HTML.
    Html,
    /// The API server's own, while it does not serve a kind.
    Text,
}

impl Fault {
    /// The faults for any request to the API server, without delays.
    #[must_use]
    pub const fn of_any_request() -> [Self; 11] {
        const fn refused(status: u16, retry_after: Option<u32>) -> Fault {
            Fault::Answer { status, retry_after }
        }
        [
            Self::Close,
            Self::LoseAnswer,
            refused(409, None),
            refused(429, Some(1)),
            refused(500, None),
            refused(503, None),
            refused(504, None),
            Self::AnswerAfter { status: 504 },
            Self::CutBody,
            Self::NotFoundPage(Page::Html),
            Self::NotFoundPage(Page::Text),
        ]
    }
}

/// What happens to the stream of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// Each event is delayed by this time.
    Delay(Duration),
    /// Each event comes twice.
    Duplicate,
    /// This number of events is left out. Then the stream ends with `410 Gone`.
    Drop(usize),
    /// This number of object events is left out silently. Bookmarks pass, so the watch that continues from the last
    /// bookmark does not get the events either.
    Swallow(usize),
    /// After this number of events the connection is closed.
    Cut(usize),
    /// After this number of events the stream ends with `410 Gone`.
    Gone(usize),
}

type Which = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

/// A fault, and the requests that get it.
pub struct Rule {
    which: Which,
    fault: Fault,
    skip: usize,
    times: usize,
}

impl Rule {
    /// `fault` for all requests for which `which` is true.
    pub fn new(fault: Fault, which: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Self {
        Self { which: Box::new(which), fault, skip: 0, times: usize::MAX }
    }

    /// `fault` for all requests of this kind.
    #[must_use]
    pub fn of(fault: Fault, kind: &str) -> Self {
        let kind = kind.to_owned();
        Self::new(fault, move |asked| asked.kind == kind)
    }

    /// Lets this number of requests pass first.
    #[must_use]
    pub fn after(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    /// Applies to this number of requests only.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }
}

/// A rule in force: how often a request has met it, and whether the held requests are released.
pub struct Order {
    rule: Rule,
    seen: Mutex<usize>,
    /// The clients whose requests have met it.
    met: watch::Sender<Vec<String>>,
    released: watch::Sender<bool>,
}

impl Order {
    pub(super) fn new(rule: Rule) -> Self {
        Self { rule, seen: Mutex::default(), met: watch::Sender::default(), released: watch::Sender::new(false) }
    }

    /// The fault for `asked`, if the rule applies to it.
    pub(super) fn meet(&self, asked: &Asked) -> Option<Fault> {
        if *self.released.borrow() || !(self.rule.which)(asked) {
            return None;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen += 1;
        if *seen <= self.rule.skip || *seen - self.rule.skip > self.rule.times {
            return None;
        }
        if !matches!(self.rule.fault, Fault::Hold(_)) {
            self.note(asked);
        }
        Some(self.rule.fault.clone())
    }

    /// How many requests have met the fault.
    #[must_use]
    pub fn count(&self) -> usize {
        self.met.borrow().len()
    }

    /// Waits until a request has met the fault. Returns its client.
    pub async fn reached(&self) -> String {
        let mut met = self.met.subscribe();
        let first = met.wait_for(|met| !met.is_empty()).await;
        first.ok().and_then(|met| met.first().cloned()).unwrap_or_default()
    }

    /// Waits until it is released.
    pub async fn released(&self) {
        // The sender lives as long as `self`.
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }

    /// Lets all held requests go on, and later requests pass.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    fn note(&self, asked: &Asked) {
        self.met.send_modify(|met| met.push(asked.client.clone()));
    }

    /// Holds `asked` here. From now on it has met the fault. An answer is held only after the server has given it.
    pub(super) async fn hold(&self, asked: &Asked) {
        self.note(asked);
        self.released().await;
    }
}
