//! Faults in the stream of a watch. Its events are lines of JSON.

use std::{collections::VecDeque, io};

use axum::body::Bytes;
use futures::{Stream, StreamExt as _, stream, stream::BoxStream};

use super::fault::StreamFault;

/// The API server's event when it no longer knows the version from which a watch should continue.
const GONE: &str = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#;

struct Stage {
    pieces: BoxStream<'static, io::Result<Bytes>>,
    /// The part of a line that is not complete yet.
    partial: Vec<u8>,
    ready: VecDeque<io::Result<Bytes>>,
    events: usize,
    fault: StreamFault,
    has_ended: bool,
}

/// `pieces` of a watch with `fault`.
pub(super) fn with_fault(
    pieces: BoxStream<'static, io::Result<Bytes>>,
    fault: StreamFault,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let mut stage = Stage { pieces, partial: vec![], ready: VecDeque::new(), events: 0, fault, has_ended: false };
    stage.ends_when_due();
    stream::unfold(stage, |mut stage| async {
        loop {
            if let Some(piece) = stage.ready.pop_front() {
                return Some((piece, stage));
            }
            if stage.has_ended {
                return None;
            }
            match stage.pieces.next().await {
                Some(Ok(piece)) => stage.take(&piece).await,
                other => {
                    stage.has_ended = true;
                    stage.ready.extend(other);
                }
            }
        }
    })
}

impl Stage {
    async fn take(&mut self, piece: &[u8]) {
        self.partial.extend_from_slice(piece);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Bytes = self.partial.drain(..=end).collect::<Vec<u8>>().into();
            if !self.has_ended {
                self.event(line).await;
            }
        }
    }

    async fn event(&mut self, line: Bytes) {
        self.events += 1;
        match self.fault {
            StreamFault::Delay(pause) => {
                tokio::time::sleep(pause).await;
                self.ready.push_back(Ok(line));
            }
            StreamFault::Duplicate => self.ready.extend([Ok(line.clone()), Ok(line)]),
            StreamFault::Drop(_) => {}
            StreamFault::Swallow(_) if !is_of_object(&line) => {
                self.events -= 1;
                self.ready.push_back(Ok(line));
            }
            StreamFault::Swallow(count) if self.events <= count => {}
            StreamFault::Swallow(_) | StreamFault::Cut(_) | StreamFault::Gone(_) => self.ready.push_back(Ok(line)),
        }
        self.ends_when_due();
    }

    fn ends_when_due(&mut self) {
        let (after, end) = match self.fault {
            StreamFault::Cut(after) => (after, Err(io::ErrorKind::ConnectionReset.into())),
            StreamFault::Gone(after) | StreamFault::Drop(after) => (after, Ok(Bytes::from(format!("{GONE}\n")))),
            StreamFault::Delay(_) | StreamFault::Duplicate | StreamFault::Swallow(_) => return,
        };
        if self.events >= after {
            self.has_ended = true;
            self.ready.push_back(end);
        }
    }
}

fn is_of_object(line: &[u8]) -> bool {
    let kind = serde_json::from_slice(line).map(|event: serde_json::Value| event["type"].clone());
    kind.is_ok_and(|kind| ["ADDED", "MODIFIED", "DELETED"].iter().any(|of_object| kind == *of_object))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Reads lines from the pieces, which do not end where events do.
    async fn read(fault: StreamFault) -> String {
        read_of(&["a\nb", "\nc\n"], fault).await
    }

    async fn read_of(pieces: &[&'static str], fault: StreamFault) -> String {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect();
        let read: Vec<_> = with_fault(stream::iter(pieces).boxed(), fault).collect().await;
        let text = |piece: &io::Result<Bytes>| match piece {
            Ok(piece) => String::from_utf8_lossy(piece).into_owned(),
            Err(error) => format!("!{:?}", error.kind()),
        };
        read.iter().map(text).collect()
    }

    #[tokio::test]
    async fn events_come_late_twice_or_not_at_all() {
        assert_eq!(read(StreamFault::Delay(Duration::from_millis(1))).await, "a\nb\nc\n");
        assert_eq!(read(StreamFault::Duplicate).await, "a\na\nb\nb\nc\nc\n");
        assert_eq!(read(StreamFault::Drop(2)).await, format!("{GONE}\n"));
        assert_eq!(read(StreamFault::Cut(1)).await, "a\n!ConnectionReset");
        assert_eq!(read(StreamFault::Gone(2)).await, format!("a\nb\n{GONE}\n"));
        assert_eq!(read(StreamFault::Gone(0)).await, format!("{GONE}\n"));
    }

    #[tokio::test]
    async fn bookmarks_pass_where_objects_are_swallowed() {
        const ADDED: &str = "{\"type\":\"ADDED\"}\n";
        const DELETED: &str = "{\"type\":\"DELETED\"}\n";
        const BOOKMARK: &str = "{\"type\":\"BOOKMARK\"}\n";
        let read = |count| read_of(&[ADDED, BOOKMARK, DELETED, BOOKMARK], StreamFault::Swallow(count));
        assert_eq!(read(1).await, format!("{BOOKMARK}{DELETED}{BOOKMARK}"));
        assert_eq!(read(usize::MAX).await, BOOKMARK.repeat(2));
    }
}
