//! The rules of the claim: the receipt's name, deadlines and holder. Pure; the API server makes the name unique.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube_core::ResourceExt as _;
use serde::Serialize;
use sessionkill_api::{
    ConnectionKind, Operation, Scope, Session, SessionKill, SessionKillReceipt, SessionKillReceiptSpec,
    SessionKillReceiptStatus, SessionKillRef, SessionKillSpec, SessionSelector, SessionStatus,
};
use sha2::{Digest as _, Sha256};

use crate::kill::conclusion::bounded;

/// The time from the end of verification until others may treat the claim as orphaned (20 s). It leaves room for a last
/// read of the process list, for the holder's writes of a whole batch, and for clocks that differ.
const SETTLE_MARGIN: SignedDuration = SignedDuration::from_secs(20);

/// The name of the receipt of a request: equal for equal requests, and different for different ones.
///
/// It hashes the content, not the object, so that a request deleted and applied again, or applied under a second name,
/// meets its own receipt. The hashed form is the JSON of connection, instance, tenant, sorted sessions with `expect`,
/// or the selector, `notAfterTime` in nanoseconds, the scope unless it is Session, and the kind of the connection unless it is
/// `OceanBaseConnection`.
#[must_use]
pub fn receipt_name(spec: &SessionKillSpec) -> String {
    #[derive(Serialize)]
    struct Canonical<'a> {
        form: u8,
        connection: &'a str,
        instance: &'a str,
        tenant: &'a str,
        sessions: Vec<&'a Session>,
        #[serde(skip_serializing_if = "Option::is_none")]
        selector: Option<&'a SessionSelector>,
        not_after: i128,
        #[serde(skip_serializing_if = "Scope::is_session")]
        scope: Scope,
        #[serde(skip_serializing_if = "ConnectionKind::is_namespaced")]
        connection_kind: ConnectionKind,
    }
    let selector = spec.selector.as_ref();
    // What a selector matched is no part of the content: every attempt must meet the same receipt, whatever it matched.
    let mut sessions: Vec<&Session> = spec.sessions.iter().filter(|_| selector.is_none()).collect();
    sessions.sort();
    let canonical = Canonical {
        form: 1,
        connection: &spec.connection_ref.name,
        instance: &spec.instance_id,
        tenant: &spec.tenant_id,
        sessions,
        selector,
        not_after: spec.not_after_time.0.as_nanosecond(),
        scope: spec.scope,
        connection_kind: spec.connection_ref.kind,
    };
    // Serialising strings and integers into memory cannot fail; an empty form would still be hashed, never sent.
    let canonical = serde_json::to_vec(&canonical).unwrap_or_default();
    format!("sk-{}", &hex::encode(Sha256::digest(canonical))[..40])
}

/// The values that one attempt puts into its claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Unique to the attempt.
    pub attempt_id: String,
    /// The process that makes the attempt.
    pub holder_identity: String,
    /// The time of the claim.
    pub claim_time: Timestamp,
    /// How long after the claim the call may be sent.
    pub dispatch_window: SignedDuration,
    /// How long a call may take.
    pub request_timeout: SignedDuration,
    /// The operation to try first.
    pub operation: Operation,
    /// The state of each session before the call.
    pub planned: Vec<SessionStatus>,
    /// How many sessions the selector matched.
    pub matched: Option<i32>,
}

/// The receipt with which `attempt` claims `object`. Its dispatch deadline is never after `notAfterTime`.
#[must_use]
pub fn receipt(object: &SessionKill, attempt: &Attempt) -> SessionKillReceipt {
    let spec = &object.spec;
    let not_after = spec.not_after_time.0;
    let later = |time: Timestamp, by: SignedDuration| time.saturating_add(by).unwrap_or(Timestamp::MAX);
    let dispatch_deadline = later(attempt.claim_time, attempt.dispatch_window).min(not_after);
    let verification = SignedDuration::from_secs(spec.verification.timeout_seconds.into());
    let settle_deadline = later(dispatch_deadline, attempt.request_timeout + verification + SETTLE_MARGIN);
    SessionKillReceipt::new(
        &receipt_name(spec),
        SessionKillReceiptSpec {
            session_kill_ref: SessionKillRef { name: object.name_any(), uid: object.uid().unwrap_or_default() },
            attempt_id: attempt.attempt_id.clone(),
            holder_identity: attempt.holder_identity.clone(),
            claim_time: Time(attempt.claim_time),
            dispatch_deadline_time: Time(dispatch_deadline),
            settle_deadline_time: Time(settle_deadline),
            not_after_time: spec.not_after_time.clone(),
            connection_kind: spec.connection_ref.kind,
            connection_name: spec.connection_ref.name.clone(),
            instance_id: spec.instance_id.clone(),
            tenant_id: spec.tenant_id.clone(),
            operation: attempt.operation,
            scope: spec.scope,
            sessions: bounded(attempt.planned.clone()),
            matched: attempt.matched,
        },
    )
}

/// What an attempt may do after it found an existing receipt.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// The receipt is this attempt's own: only the API server's answer to the claim was lost.
    Ours,
    /// Its outcome is recorded: copy it and send nothing.
    Recorded(SessionKillReceiptStatus),
    /// Its holder may still be working: look again at `until`. If the claim is `own`, the holder is another operator,
    /// or this one before a restart.
    InFlight {
        /// The deadline by which its holder must have settled.
        until: Timestamp,
        /// The receipt was made for the same object.
        own: bool,
    },
    /// Its holder is gone and recorded nothing. Never send; find out what happened.
    Orphaned,
}

/// Who found the receipt.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// The object that wants to claim, if any.
    pub uid: Option<&'a str>,
    /// The attempt that wants to claim, if any.
    pub attempt_id: Option<&'a str>,
    /// Whether the claim is at work in the same process.
    pub is_at_work: bool,
}

impl Judge<'_> {
    /// What `receipt` allows at `now`. A claim at work in this process is never orphaned, as its outcome is recorded as
    /// soon as the API server accepts it. Any other claim without a record is orphaned after its settle deadline;
    /// otherwise a claim whose record was refused would block until the next restart.
    #[must_use]
    pub fn standing(self, receipt: &SessionKillReceipt, now: Timestamp) -> Standing {
        let spec = &receipt.spec;
        // Even for this attempt's own receipt: another operator may have taken it over while this one was asleep.
        if let Some(status) = &receipt.status {
            return Standing::Recorded(status.clone());
        }
        if self.attempt_id == Some(spec.attempt_id.as_str()) {
            return Standing::Ours;
        }
        let own = self.uid == Some(spec.session_kill_ref.uid.as_str());
        let until = spec.settle_deadline_time.0;
        if now < until {
            return Standing::InFlight { until, own };
        }
        if self.is_at_work {
            return Standing::InFlight { until: now.saturating_add(SETTLE_MARGIN).unwrap_or(Timestamp::MAX), own };
        }
        Standing::Orphaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::{attempt, of_cluster, request, selecting, time};
    use serde_json::json;
    use sessionkill_api::{Expect, Outcome};

    #[test]
    fn the_same_content_has_the_same_name_whatever_the_object_is_called() {
        let mut twin = request();
        twin.metadata.name = Some("other".to_owned());
        twin.spec.sessions.reverse();
        twin.spec.reason = Some("another wording".to_owned());
        twin.spec.suspend = true;
        assert_eq!(receipt_name(&request().spec), receipt_name(&twin.spec));
    }

    #[test]
    fn the_same_moment_has_the_same_name_however_it_is_written() {
        let mut twin = request();
        twin.spec.not_after_time = serde_json::from_value("2026-10-05T18:30:00.000+08:00".into()).unwrap();
        assert_eq!(receipt_name(&request().spec), receipt_name(&twin.spec));
    }

    #[test]
    fn the_name_never_changes_between_releases() {
        // Pins the name: a release with another derivation would miss the receipts of earlier releases.
        assert_eq!(receipt_name(&request().spec), "sk-43fc0eb8b9218d7a511019b73883fc6e426b028b");
    }

    #[test]
    fn a_kind_that_is_not_written_is_that_of_requests_from_before_there_were_two() {
        let mut written = serde_json::to_value(request()).unwrap();
        assert_eq!(written["spec"]["connectionRef"], serde_json::json!({"name": "prod-ob"}));
        written["spec"]["connectionRef"]["kind"] = "OceanBaseConnection".into();
        let written: SessionKill = serde_json::from_value(written).unwrap();
        assert_eq!(receipt_name(&written.spec), receipt_name(&request().spec));
        let [own, lent] = [request(), of_cluster(request())].map(|object| receipt(&object, &attempt()).spec);
        let stored = |spec: &SessionKillReceiptSpec| serde_json::to_value(spec).unwrap()["connectionKind"].clone();
        assert_eq!((stored(&own), stored(&lent)), (serde_json::Value::Null, "ClusterOceanBaseConnection".into()));
    }

    #[test]
    fn whatever_a_selector_matches_its_receipt_has_one_name() {
        let asked = selecting(json!({"match": {"users": ["report"]}, "maxSessions": 5}));
        let mut matched = asked.clone();
        matched.spec.sessions = request().spec.sessions;
        assert_eq!(receipt_name(&matched.spec), receipt_name(&asked.spec));
        let taken = Attempt { planned: vec![], matched: Some(0), ..attempt() };
        assert_eq!(receipt(&asked, &taken).metadata.name, receipt(&matched, &attempt()).metadata.name);
    }

    #[test]
    fn different_content_has_different_names() {
        let mut names = vec![receipt_name(&request().spec)];
        let changes: [fn(&mut SessionKillSpec); 16] = [
            |s| s.sessions[0].expect = Some(Expect { user: Some("a".to_owned()), ..Expect::default() }),
            |s| s.sessions[0].expect = Some(Expect { database: Some("a".to_owned()), ..Expect::default() }),
            |s| s.connection_ref.name.push('x'),
            |s| s.connection_ref.kind = ConnectionKind::ClusterOceanBaseConnection,
            |s| s.instance_id.push('x'),
            |s| s.tenant_id.push('x'),
            |s| s.sessions[0].session_id += 1,
            |s| s.sessions[0].server_port = Some(2881),
            |s| s.scope = Scope::Query,
            |s| drop(s.sessions.pop()),
            |s| s.not_after_time.0 += SignedDuration::from_secs(1),
            |s| *s = selecting(json!({"match": {"users": ["report"]}, "maxSessions": 5})).spec,
            |s| *s = selecting(json!({"match": {"users": ["report"]}, "maxSessions": 6})).spec,
            |s| *s = selecting(json!({"match": {"databases": ["report"]}, "maxSessions": 5})).spec,
            |s| *s = selecting(json!({"match": {"users": ["report"]}, "maxSessions": 5, "take": "Longest"})).spec,
            |s| *s = selecting(json!({"match": {"users": ["report"]}, "exclude": {"users": ["a"]}})).spec,
        ];
        for change in changes {
            let mut spec = request().spec;
            change(&mut spec);
            names.push(receipt_name(&spec));
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn nothing_may_be_sent_after_not_after_time() {
        let spec = receipt(&request(), &Attempt { claim_time: time("10:29:55"), ..attempt() }).spec;
        assert_eq!(spec.dispatch_deadline_time.0, time("10:30:00"));
        assert_eq!(spec.settle_deadline_time.0, time("10:31:30"));
    }

    #[test]
    fn a_claim_that_others_have_recorded_is_nobodys_any_more() {
        let mut receipt = receipt(&request(), &attempt());
        let record = SessionKillReceiptStatus {
            outcome: Outcome::StillPresent,
            completion_time: Time(time("10:02:00")),
            request_id: String::new(),
            operation: Operation::KillProcessList,
            sessions: vec![],
        };
        receipt.status = Some(record.clone());
        for attempt_id in ["a1", "a2"] {
            let judge = Judge { uid: Some("uid-1"), attempt_id: Some(attempt_id), is_at_work: true };
            assert_eq!(judge.standing(&receipt, time("10:03:00")), Standing::Recorded(record.clone()));
        }
    }

    #[test]
    fn the_description_of_the_settle_deadline_names_the_margin() {
        let [.., receipts] = sessionkill_api::definitions();
        let schema = receipts.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        let spec = &schema.properties.as_ref().unwrap()["spec"];
        let described = spec.properties.as_ref().unwrap()["settleDeadlineTime"].description.clone().unwrap();
        assert!(described.contains(&format!("a margin of {} s", SETTLE_MARGIN.as_secs())), "{described}");
    }

    #[test]
    fn only_the_holder_moves_a_claim_on_before_its_settle_deadline() {
        let receipt = receipt(&request(), &attempt());
        let by = |uid, attempt_id, clock| {
            Judge { uid: Some(uid), attempt_id: Some(attempt_id), is_at_work: false }.standing(&receipt, time(clock))
        };
        let until = time("10:01:45");
        assert_eq!(by("uid-1", "a1", "10:00:01"), Standing::Ours);
        assert_eq!(by("uid-1", "a2", "10:01:44"), Standing::InFlight { until, own: true });
        assert_eq!(by("uid-2", "a2", "10:01:44"), Standing::InFlight { until, own: false });
        assert_eq!(by("uid-1", "a2", "10:01:45"), Standing::Orphaned);
        let holder = Judge { uid: Some("uid-2"), attempt_id: Some("a2"), is_at_work: true };
        let standing = holder.standing(&receipt, time("10:10:00"));
        assert!(matches!(standing, Standing::InFlight { own: false, .. }));
        let nobody = Judge { uid: None, attempt_id: None, is_at_work: false };
        assert_eq!(nobody.standing(&receipt, time("10:01:44")), Standing::InFlight { until, own: false });
        assert_eq!(nobody.standing(&receipt, until), Standing::Orphaned);
    }
}
