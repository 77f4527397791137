//! Receives and parses an answer: a small one whole and in place, a large one piece by piece on another thread. Does
//! I/O.

use std::sync::Arc;

use sessionkill_api::Operation;
use sessionkill_core::backend::{CallError, ErrorKind, KillAnswer, ProcessList};
use sessionkill_core::selection::Filter;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use super::answer::read_answer;
use super::budget::SMALL;
use super::pieces::Pieces;
use super::process_list::read_list;
use super::raw_answer::{Body, RawAnswer};
use super::shares::Share;
use super::sieve::Sieve;
use super::transport::Receiving;
use crate::access_key::AccessKey;

/// How to parse an answer.
pub(super) trait Interpret: Send + 'static {
    type Answer: Send + 'static;

    /// Parses the answer.
    fn read<B: Body>(self, raw: RawAnswer<B>) -> Result<Self::Answer, CallError>;
}

/// Parses the answer to a kill with `operation`, and keeps the sessions with `wanted` IDs.
pub(super) struct ReadKill<W> {
    pub(super) operation: Operation,
    pub(super) access_key: AccessKey,
    pub(super) wanted: W,
}

impl<W: Fn(i64) -> bool + Send + 'static> Interpret for ReadKill<W> {
    type Answer = KillAnswer;

    fn read<B: Body>(self, raw: RawAnswer<B>) -> Result<KillAnswer, CallError> {
        read_answer(raw, self.operation, Sieve::new(&self.access_key, &self.wanted))
    }
}

/// Parses a list, keeps the sessions with `wanted` IDs, and selects for each of `filters`.
pub(super) struct ReadList<W> {
    pub(super) access_key: AccessKey,
    pub(super) wanted: W,
    pub(super) filters: Vec<Arc<Filter>>,
}

impl<W: Fn(i64) -> bool + Send + 'static> Interpret for ReadList<W> {
    type Answer = ProcessList;

    fn read<B: Body>(self, raw: RawAnswer<B>) -> Result<ProcessList, CallError> {
        read_list(raw, Sieve::new(&self.access_key, &self.wanted), &self.filters)
    }
}

/// Receives and parses `answer`. A large answer takes its memory from `room`; `None` if there is none.
pub(super) async fn receive<I: Interpret>(
    answer: RawAnswer<Receiving>,
    interpret: I,
    room: impl AsyncFnOnce() -> Option<Share>,
) -> Result<Option<I::Answer>, CallError> {
    let (head, mut receiving) = answer.split();
    let mut body = vec![];
    while let Some(piece) = receiving.next().await? {
        body.extend_from_slice(&piece);
        if body.len() > SMALL {
            let Some(room) = room().await else { return Ok(None) };
            let (sender, pieces) = Pieces::new(body);
            let reading = tokio::task::spawn_blocking(move || {
                let read = interpret.read(head.with(pieces));
                drop(room);
                read
            });
            let received = pass_on(receiving, sender).await;
            // Fails only when the process ends.
            let failed = |error: JoinError| Err(CallError::local(ErrorKind::Ambiguous, "NotRead", error.to_string()));
            let read = reading.await.unwrap_or_else(failed);
            // An error while receiving comes first: a truncated body may have been parsed as if it were complete.
            return received.and(read).map(Some);
        }
    }
    interpret.read(head.with(body.as_slice())).map(Some)
}

/// Sends the rest of a body to its parser, until the parser gives up.
async fn pass_on(mut receiving: Receiving, reader: mpsc::Sender<Vec<u8>>) -> Result<(), CallError> {
    while let Some(piece) = receiving.next().await? {
        if reader.send(piece).await.is_err() {
            break;
        }
    }
    Ok(())
}
