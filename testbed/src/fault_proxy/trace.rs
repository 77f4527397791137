//! The requests that have passed, in order.

use std::sync::{Arc, Mutex, PoisonError};

use super::{asked::Asked, fault::Fault};

/// One request as the proxy saw it. The entry is completed while the request goes on.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The client's name.
    pub client: String,
    /// Its kind: see [`Asked::kind`].
    pub kind: String,
    /// The fault that it got.
    pub fault: Option<Fault>,
    /// The status that the server answered. `None` if the server did not see it or did not answer.
    pub served: Option<u16>,
    /// The status that the client got. `None` if it got none, or not yet.
    pub told: Option<u16>,
    /// Whether the client went away before it got an answer.
    pub abandoned: bool,
}

impl Passed {
    /// Whether it changed something on the server.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        let reads = ["get ", "list ", "watch "];
        !reads.iter().any(|verb| self.kind.starts_with(verb)) && self.served.is_some_and(|it| (200..300).contains(&it))
    }
}

#[derive(Default, Clone)]
pub(super) struct Trace(Arc<Mutex<Vec<Passed>>>);

/// The entry of one request.
pub(super) struct Entry {
    trace: Trace,
    number: usize,
    is_told: bool,
}

impl Trace {
    pub(super) fn enter(&self, asked: &Asked, fault: Option<Fault>) -> Entry {
        let (client, kind) = (asked.client.clone(), asked.kind.clone());
        let passed = Passed { client, kind, fault, served: None, told: None, abandoned: false };
        let number = self.with(|all| {
            all.push(passed);
            all.len() - 1
        });
        Entry { trace: self.clone(), number, is_told: false }
    }

    pub(super) fn all(&self) -> Vec<Passed> {
        self.with(|all| all.clone())
    }

    fn with<T>(&self, use_all: impl FnOnce(&mut Vec<Passed>) -> T) -> T {
        use_all(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    /// A second handle to the same entry, for work that goes on without the client.
    pub(super) fn server_side(&self) -> impl Fn(u16) + Send + 'static {
        let (trace, number) = (self.trace.clone(), self.number);
        move |status| trace.with(|all| all[number].served = Some(status))
    }

    /// Records the status that the client gets. `None` means that its connection is closed.
    pub(super) fn told(mut self, status: Option<u16>) {
        self.is_told = true;
        self.trace.with(|all| all[self.number].told = status);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.is_told {
            self.trace.with(|all| all[self.number].abandoned = true);
        }
    }
}
