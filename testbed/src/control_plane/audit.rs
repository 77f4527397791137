//! The API server's own record of who asked for what: the judge of how many requests a component makes.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::Context;
use serde::Deserialize;

/// Everything, without bodies: they would hold Secrets, and counting does not need them.
pub(super) const POLICY: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],"rules":[{"level":"Metadata"}]}"#;

/// What a request asks for. Paths outside the resources (`/readyz`) have an empty resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Plural name, as `sessionkills`.
    pub resource: String,
    /// As `status`, or empty.
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

/// Counts the requests of `user` whose answer is complete; a watch counts when it ends.
pub(super) fn requests_by_verb(log: &Path, user: &str) -> anyhow::Result<BTreeMap<Request, u64>> {
    let text = fs::read(log).with_context(|| format!("cannot read the audit log {}", log.display()))?;
    // The last line may be half written, or cut off when the server was killed: only whole lines are entries.
    let entries = text
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.ends_with(b"\n"))
        .filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    let mut counts = BTreeMap::new();
    for entry in entries.filter(|entry| entry.stage == "ResponseComplete" && entry.user.username == user) {
        let object = entry.object_ref.unwrap_or_default();
        let request = Request { verb: entry.verb, resource: object.resource, subresource: object.subresource };
        *counts.entry(request).or_default() += 1;
    }
    Ok(counts)
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
        fs::write(file.path(), log).unwrap();
        let counts = requests_by_verb(file.path(), "us").unwrap();
        assert_eq!(counts, [(Request::new("patch", "sessionkills", "status"), 2)].into());
    }
}
