//! The API server's audit log: it shows how many requests a component makes.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde::Deserialize;

/// An audit policy for all requests, without bodies: bodies would hold Secrets, and counting does not need them.
pub(super) const POLICY: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],"rules":[{"level":"Metadata"}]}"#;

/// The verb and the resource of a request. Paths outside the resources (`/readyz`) have an empty resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Plural name, as `sessionkills`.
    pub resource: String,
    /// The subresource, such as `status`, or empty.
    pub subresource: String,
}

impl Request {
    /// The key for a look-up in the counts.
    #[must_use]
    pub fn new(verb: &str, resource: &str, subresource: &str) -> Self {
        Self { verb: verb.into(), resource: resource.into(), subresource: subresource.into() }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.subresource.is_empty() { Ok(()) } else { write!(f, "/{}", self.subresource) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<ObjectRef>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct ObjectRef {
    resource: String,
    subresource: String,
}

/// Counts the requests of one user that have a complete answer, each log entry once. A watch counts when it ends.
#[derive(Debug)]
pub struct RequestCounter {
    log: PathBuf,
    user: String,
    /// The position up to which the log is counted.
    position: u64,
    counts: BTreeMap<Request, u64>,
}

impl RequestCounter {
    /// Counts the requests of `user` from the beginning of `log`.
    pub(super) fn from_start(log: &Path, user: &str) -> Self {
        Self { log: log.into(), user: user.into(), position: 0, counts: BTreeMap::new() }
    }

    /// Counts the requests of `user` that are logged from now on.
    pub(super) fn from_now(log: &Path, user: &str) -> anyhow::Result<Self> {
        let position = fs::metadata(log).with_context(|| unreadable(log))?.len();
        Ok(Self { position, ..Self::from_start(log, user) })
    }

    /// The number of requests of each kind until now. The API server may write an entry shortly after the answer has
    /// arrived.
    pub fn count(&mut self) -> anyhow::Result<&BTreeMap<Request, u64>> {
        let mut text = vec![];
        let mut log = File::open(&self.log).with_context(|| unreadable(&self.log))?;
        log.seek(SeekFrom::Start(self.position))?;
        log.read_to_end(&mut text)?;
        // Take only whole lines: the last one may be half written, or cut off when the server was killed.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.position += whole as u64;
        for line in text[..whole].split(|byte| *byte == b'\n') {
            if let Ok(entry) = serde_json::from_slice::<Entry>(line) {
                self.note(entry);
            }
        }
        Ok(&self.counts)
    }

    fn note(&mut self, entry: Entry) {
        if entry.stage == "ResponseComplete" && entry.user.username == self.user {
            let object = entry.object_ref.unwrap_or_default();
            let request = Request { verb: entry.verb, resource: object.resource, subresource: object.subresource };
            *self.counts.entry(request).or_default() += 1;
        }
    }
}

fn unreadable(log: &Path) -> String {
    format!("cannot read the audit log {}", log.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_answers_to_the_user_are_counted() {
        let line = |stage: &str, user: &str| {
            format!(
                r#"{{"stage":"{stage}","verb":"patch","user":{{"username":"{user}"}},"objectRef":{{"resource":"sessionkills","subresource":"status","name":"x"}}}}"#
            )
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = [
            line("ResponseStarted", "us"),
            line("ResponseComplete", "us"),
            line("ResponseComplete", "them"),
            line("ResponseComplete", "us"),
        ]
        .join("\n")
            + "\n{\"stage\":\"Respo";
        fs::write(file.path(), &log).unwrap();
        let mut counter = RequestCounter::from_start(file.path(), "us");
        let request = Request::new("patch", "sessionkills", "status");
        assert_eq!(*counter.count().unwrap(), [(request.clone(), 2)].into());

        // The half-written line counts once it is whole, and none counts twice.
        let rest = line("ResponseComplete", "us");
        fs::write(file.path(), format!("{}\n", log.replace("{\"stage\":\"Respo", &rest))).unwrap();
        assert_eq!(counter.count().unwrap()[&request], 3);
        assert_eq!(counter.count().unwrap()[&request], 3);
        assert_eq!(*RequestCounter::from_now(file.path(), "us").unwrap().count().unwrap(), [].into());
    }
}
