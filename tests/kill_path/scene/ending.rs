//! The checks at the end of every scene: what no test may leave behind.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use sessionkill::api::audit_line::AuditLine;
use sessionkill::api::{ClusterOceanBaseConnection, OceanBaseConnection, SessionKill};
use testbed::gateway::Gateway;

use super::Scene;
use super::objects::Request as _;
use super::waits::all;
use super::{KEY_ID, KEY_SECRET, SQL_MARK, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN};

impl Scene {
    /// Makes these checks and ends the scene. Every request has ended or says why it waits, no session was killed
    /// twice, and no secret or statement is stored where it must not be.
    pub async fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        for request in self.list::<SessionKill>().await {
            let succeeded = request
                .status
                .as_ref()
                .and_then(|status| status.conditions.iter().find(|condition| condition.type_ == "Succeeded"));
            let succeeded = succeeded.unwrap_or_else(|| panic!("{} has no condition", request.name_any()));
            let told = !succeeded.reason.is_empty() && !succeeded.message.is_empty();
            assert!(told && request.is_finished() == (succeeded.status != "Unknown"), "{}", json!(request));
        }
        if let Some(gateway) = &self.gateway {
            let twice: Vec<_> = gateway.kills_per_session().into_iter().filter(|(_, kills)| *kills > 1).collect();
            assert!(twice.is_empty(), "killed more than once: {twice:?}");
        }
        self.assert_secrecy().await;
        self.assert_audited();
        self.assert_in_words().await;
        for operator in self.operators.lock().unwrap().iter() {
            operator.kill();
        }
    }

    /// Checks that every audit line has the promised form and no other field.
    fn assert_audited(&self) {
        for line in self.audit_lines() {
            let read: AuditLine =
                serde_json::from_value(line.clone()).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(json!(read), line);
        }
    }

    /// Checks that no secret is in any log, audit line, Event or object, and that no statement is anywhere but in a
    /// status.
    pub async fn assert_secrecy(&self) {
        let logs = self.logs();
        let events = json!(self.events().await).to_string();
        let issued = self.issued_keys();
        let mut objects = json!(self.list::<SessionKill>().await).to_string();
        objects += &json!(self.receipts().await).to_string();
        objects += &json!(self.list::<OceanBaseConnection>().await).to_string();
        objects += &json!(self.cluster_connections().await).to_string();
        let stored = [KEY_ID, KEY_SECRET, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN, ISSUED_TOKEN, ACCOUNT_TOKEN];
        for secret in stored.into_iter().chain(issued.iter().map(String::as_str)) {
            for (place, text) in [("the logs", &logs), ("an Event", &events), ("an object", &objects)] {
                assert_absent(secret, place, text);
            }
        }
        assert_absent(SQL_MARK, "the logs", &logs);
        assert_absent(SQL_MARK, "an Event", &events);
        assert_absent("panicked", "the logs", &logs);
    }

    /// The IDs of the temporary access keys that signed calls.
    pub fn issued_keys(&self) -> HashSet<String> {
        let calls = self.gateway.iter().flat_map(Gateway::calls);
        calls.filter_map(|call| call.access_key_id).filter(|id| id.starts_with("STS.")).collect()
    }
}

/// What the security tokens begin with that the testbed's STS issues.
pub const ISSUED_TOKEN: &str = "CAIS+/";
/// What the tokens of `ServiceAccount`s begin with: their algorithm, RS256, in base64.
pub const ACCOUNT_TOKEN: &str = "eyJhbGciOiJSUzI1NiIs";

/// Parts of Rust's debug output, which only Rust programmers can read.
const DEBUG_FORMS: [&str; 8] = ["Some(", "None,", "Ok(", "Err(", "Error {", "Error(", "Status {", "kind: "];

impl Scene {
    /// Checks that users get readable text: no status, Event, audit line or log line of the operator itself has a value
    /// in the form of Rust's debug output.
    async fn assert_in_words(&self) {
        let statuses = [
            json!(self.list::<SessionKill>().await.into_iter().map(|request| request.status).collect::<Vec<_>>()),
            json!(self.receipts().await.into_iter().map(|receipt| receipt.status).collect::<Vec<_>>()),
            json!(self.list::<OceanBaseConnection>().await.into_iter().map(|it| it.status).collect::<Vec<_>>()),
            json!(self.cluster_connections().await.into_iter().map(|it| it.status).collect::<Vec<_>>()),
        ];
        let notes: Vec<Value> = self.events().await.into_iter().map(|event| json!(event.note)).collect();
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| json!(line));
        let lines: Vec<Value> = self.logs().lines().map(read).collect();
        // At level trace, other crates write log lines too. They are not checked.
        let is_own = |line: &&Value| line["target"].as_str().is_none_or(|target| target.starts_with("sessionkill"));
        for told in statuses.iter().chain(&notes).chain(lines.iter().filter(is_own)) {
            for text in texts(told) {
                let form = DEBUG_FORMS.iter().find(|form| text.contains(**form));
                assert_eq!(form, None, "{text}");
            }
        }
    }
}

impl Scene {
    /// The connections of no namespace, those of other tests among them.
    async fn cluster_connections(&self) -> Vec<ClusterOceanBaseConnection> {
        all(&Api::all(self.client.clone())).await
    }
}

/// All strings in `value`.
pub fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(values) => values.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => vec![],
    }
}

fn assert_absent(word: &str, place: &str, text: &str) {
    if let Some(at) = text.find(word) {
        let line = &text[text.floor_char_boundary(at.saturating_sub(400))..text.ceil_char_boundary(at + 100)];
        panic!("{word} stands in {place}: ...{line}...");
    }
}
