//! What no test may leave behind: looked at when its scene ends.

use std::sync::atomic::Ordering;

use kube::ResourceExt as _;
use serde_json::json;
use sessionkill::api::{OceanBaseConnection, SessionKill};
use sessionkill::audit::AuditLine;

use super::Scene;
use super::objects::Request as _;
use super::{KEY_ID, KEY_SECRET, SQL_MARK, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN};

impl Scene {
    /// Looks at what no test may leave behind, and ends the scene: every request has ended or says why it waits; no
    /// session was killed twice; no secret and no statement stands where it must not.
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
        for operator in self.operators.lock().unwrap().iter() {
            operator.kill();
        }
    }

    /// Every audit line has the form that is promised, and no field that is not.
    fn assert_audited(&self) {
        for line in self.audit_lines() {
            let read: AuditLine =
                serde_json::from_value(line.clone()).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(json!(read), line);
        }
    }

    /// No secret stands in any log, audit line, Event or object, and no statement but in a status.
    pub async fn assert_secrecy(&self) {
        let logs = self.logs();
        let events = json!(self.events().await).to_string();
        let mut objects = json!(self.list::<SessionKill>().await).to_string();
        objects += &json!(self.receipts().await).to_string();
        objects += &json!(self.list::<OceanBaseConnection>().await).to_string();
        for secret in [KEY_ID, KEY_SECRET, STS_KEY_ID, STS_KEY_SECRET, STS_TOKEN] {
            for (place, text) in [("the logs", &logs), ("an Event", &events), ("an object", &objects)] {
                assert_absent(secret, place, text);
            }
        }
        assert_absent(SQL_MARK, "the logs", &logs);
        assert_absent(SQL_MARK, "an Event", &events);
        assert_absent("panicked", "the logs", &logs);
    }
}

fn assert_absent(word: &str, place: &str, text: &str) {
    if let Some(at) = text.find(word) {
        let line = &text[text.floor_char_boundary(at.saturating_sub(400))..text.ceil_char_boundary(at + 100)];
        panic!("{word} stands in {place}: ...{line}...");
    }
}
