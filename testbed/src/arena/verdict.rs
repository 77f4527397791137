//! What must hold after every fault, checked when all work is done. The gateway's ledger says what really happened.

use std::{collections::HashSet, fs};

use kube::{ResourceExt as _, config::Kubeconfig};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sessionkill::api::{
    OceanBaseConnection, SessionKill, SessionKillReceipt, SessionOutcome, SessionReason, SessionStatus,
};

use super::namespace::{Arena, CANARIES};
use crate::gateway::SessionRecord;

/// The result of the check.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What must not be, in words. Empty if all is well.
    pub violations: Vec<String>,
    /// Sessions that were killed.
    pub kills: usize,
    /// Sessions that were killed more than once.
    pub double_kills: usize,
    /// Claims that have their record.
    pub records: usize,
    /// Claims whose call had no answer that showed its result.
    pub unanswered: usize,
    /// Unanswered claims whose result the process list showed later.
    pub observed: usize,
    /// Clients of a real engine whose session was ended.
    pub lost: usize,
    /// Clients of a real engine that are served as before.
    pub served: usize,
}

impl Verdict {
    /// Adds up two verdicts.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.violations.extend(other.violations);
        self.kills += other.kills;
        self.double_kills += other.double_kills;
        self.records += other.records;
        self.unanswered += other.unanswered;
        self.observed += other.observed;
        self.lost += other.lost;
        self.served += other.served;
        self
    }
}

/// What the gateway knows.
struct Truth {
    executed: HashSet<(String, i64)>,
    there: HashSet<(String, i64)>,
}

impl Arena {
    /// Checks everything in the arena. All faults must be over and all work done: see [`Arena::unfinished`].
    pub async fn verdict(&self) -> anyhow::Result<Verdict> {
        let (requests, receipts) = (self.requests().await?, self.receipts().await?);
        let there = self.gateway.sessions().await?.into_iter().map(|it| (it.server_ip, it.session_id)).collect();
        let kills = self.gateway.kills_per_session();
        let truth = Truth { executed: kills.keys().cloned().collect(), there };
        let mut verdict = Verdict {
            kills: kills.len(),
            double_kills: kills.values().filter(|count| **count > 1).count(),
            records: receipts.iter().filter(|receipt| receipt.status.is_some()).count(),
            ..Verdict::default()
        };
        for receipt in receipts.iter().filter(|receipt| is_unanswered(receipt)) {
            verdict.unanswered += 1;
            verdict.observed += usize::from(!outcomes(receipt).any(|it| it.outcome == SessionOutcome::Unknown));
        }
        let mut violations = self.unfinished().await?;
        let twice = kills.iter().filter(|(_, count)| **count > 1);
        violations.extend(twice.map(|(session, count)| format!("{session:?} was killed {count} times")));
        violations.extend(self.late(&receipts));
        for receipt in &receipts {
            violations.extend(truth.contradicts(&receipt.name_any(), outcomes(receipt)));
        }
        for request in &requests {
            let sessions = request.status.iter().flat_map(|status| &status.sessions);
            violations.extend(truth.contradicts(&request.name_any(), sessions));
            violations.extend(disagrees(request, &receipts));
        }
        violations.extend(self.told_secrets().await?);
        verdict.violations = violations.into_iter().map(|it| format!("{}: {it}", self.namespace)).collect();
        Ok(verdict)
    }

    /// The requests that have not ended, in words. If all have ended: the claims without a record.
    pub async fn unfinished(&self) -> anyhow::Result<Vec<String>> {
        let requests = self.requests().await?.into_iter().filter(|it| !is_finished(it));
        let mut found: Vec<_> =
            requests.map(|it| format!("request {} has not ended: {}", it.name_any(), json!(it.status))).collect();
        // Skip the claims while a request is unfinished, as this is called often.
        if !found.is_empty() {
            return Ok(found);
        }
        let receipts = self.receipts().await?.into_iter().filter(|receipt| receipt.status.is_none());
        found.extend(receipts.map(|it| format!("claim {} has no record: {}", it.name_any(), json!(it.spec))));
        Ok(found)
    }

    /// Kills without a claim, and kills after the deadline of their claim.
    fn late(&self, receipts: &[SessionKillReceipt]) -> Vec<String> {
        let deadline = |session: &SessionRecord| {
            let named = |receipt: &&SessionKillReceipt| {
                let mut planned = receipt.spec.sessions.iter();
                planned.any(|it| it.session_id == session.session_id && it.server_ip == session.server_ip)
            };
            receipts.iter().filter(named).map(|receipt| receipt.spec.dispatch_deadline_time.0).max()
        };
        let calls = self.gateway.calls();
        let executed = calls.iter().flat_map(|call| {
            call.sessions.iter().filter(|session| session.executed).map(move |session| (call.admitted_time, session))
        });
        let late = executed.filter(|(admitted, session)| {
            let deadline = deadline(session);
            deadline.is_none() || *admitted > deadline
        });
        late.map(|(admitted, session)| format!("killed late or without a claim: {admitted:?} {session:?}")).collect()
    }

    async fn told_secrets(&self) -> anyhow::Result<Vec<String>> {
        let token = Kubeconfig::read_from(&self.ground.kubeconfig)?;
        let token = token.auth_infos.into_iter().next().and_then(|named| named.auth_info).and_then(|info| info.token);
        let token = token.map(|token| token.expose_secret().to_owned());
        let objects = json!([
            self.requests().await?,
            self.receipts().await?,
            self.list::<OceanBaseConnection>().await?,
            self.events().await?
        ]);
        let mut found = vec![];
        for (place, text) in [("the logs", self.logs().await?), ("an object or an Event", objects.to_string())] {
            let words = CANARIES.into_iter().chain(token.as_deref()).chain(["Signature=", "Bearer ", "panicked"]);
            found.extend(words.filter(|word| text.contains(word)).map(|word| {
                let word: String = word.chars().take(24).collect();
                format!("{word} stands in {place}")
            }));
        }
        Ok(found)
    }

    /// Where its logs are, to read after a failure.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        &self.directory
    }

    /// Removes its logs after a success.
    pub fn clean(&self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Truth {
    /// What statuses say about sessions, but the ledger contradicts.
    fn contradicts<'a>(&self, name: &str, said: impl Iterator<Item = &'a SessionStatus>) -> Vec<String> {
        let is_false = |session: &&SessionStatus| {
            let key = (session.server_ip.clone(), session.session_id);
            match session.outcome {
                SessionOutcome::Killed | SessionOutcome::Gone => self.there.contains(&key),
                SessionOutcome::Failed => self.executed.contains(&key),
                SessionOutcome::Pending => true,
                SessionOutcome::Skipped | SessionOutcome::Unknown => false,
            }
        };
        said.filter(is_false).map(|session| format!("{name} says what is not so: {}", json!(session))).collect()
    }
}

/// The difference between the outcome of a request and that of its receipt.
fn disagrees(request: &SessionKill, receipts: &[SessionKillReceipt]) -> Option<String> {
    let status = request.status.as_ref()?;
    let dispatch = status.dispatch.as_ref()?;
    let receipt = receipts.iter().find(|receipt| receipt.name_any() == dispatch.receipt_name);
    let Some(record) = receipt.and_then(|receipt| receipt.status.as_ref()) else {
        return Some(format!("{} names a receipt that is not there or not recorded", request.name_any()));
    };
    let of = |sessions: &[SessionStatus]| -> Vec<_> {
        let mut all: Vec<_> = sessions.iter().map(|it| (it.session_id, format!("{:?}", it.outcome))).collect();
        all.sort();
        all
    };
    (of(&status.sessions) != of(&record.sessions))
        .then(|| format!("{} says {}, its receipt {}", request.name_any(), json!(status), json!(record)))
}

/// Whether no answer showed the result of the call: it was seen later, or never.
fn is_unanswered(receipt: &SessionKillReceipt) -> bool {
    let sent = |id| receipt.spec.sessions.iter().any(|it| it.session_id == id && it.outcome == SessionOutcome::Pending);
    outcomes(receipt).filter(|it| sent(it.session_id)).any(|it| {
        matches!(it.outcome, SessionOutcome::Gone | SessionOutcome::Unknown) || it.reason == SessionReason::StillPresent
    })
}

fn outcomes(receipt: &SessionKillReceipt) -> impl Iterator<Item = &SessionStatus> {
    receipt.status.iter().flat_map(|status| &status.sessions)
}

/// Whether the request has ended.
#[must_use]
pub fn is_finished(request: &SessionKill) -> bool {
    request.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}
