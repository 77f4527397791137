//! What must hold after every fault, checked when all work is done. The gateway's ledger says what really happened, or by
//! SQL the engine's own log.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
};

use anyhow::Context as _;
use jiff::Timestamp;

use kube::{ResourceExt as _, config::Kubeconfig};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sessionkill::api::{
    OceanBaseConnection, Scope, SessionKill, SessionKillReceipt, SessionOutcome, SessionReason, SessionStatus,
};

use tokio::task::spawn_blocking;

use super::namespace::{Arena, CANARIES};
use crate::{
    gateway::Session,
    oceanbase::{Engine, mysql_async::prelude::Queryable as _},
};

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
    /// Statements that were interrupted, whose sessions live.
    pub interrupted: usize,
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
        self.interrupted += other.interrupted;
        self.served += other.served;
        self
    }
}

/// The address of a server and the ID of a session.
type Key = (String, i64);

/// What the gateway knows, or the engine.
#[derive(Default)]
struct Truth {
    /// The kills of each session that was killed, each with its time.
    executed: BTreeMap<Key, Vec<Timestamp>>,
    /// How often the statement of each session was interrupted.
    interrupted: BTreeMap<Key, u32>,
    there: HashSet<Key>,
    /// The sessions that more than one request names: another one may have killed them.
    shared: HashSet<Key>,
}

impl Arena {
    /// Checks everything in the arena. All faults must be over and all work done: see [`Arena::unfinished`].
    pub async fn verdict(&self) -> anyhow::Result<Verdict> {
        let (requests, receipts) = (self.requests().await?, self.receipts().await?);
        let truth = self.truth(&requests).await?;
        let kills = &truth.executed;
        let mut verdict = Verdict {
            kills: kills.len(),
            double_kills: kills.values().filter(|times| times.len() > 1).count(),
            interrupted: truth.interrupted.len(),
            records: receipts.iter().filter(|receipt| receipt.status.is_some()).count(),
            ..Verdict::default()
        };
        for receipt in receipts.iter().filter(|receipt| is_unanswered(receipt)) {
            verdict.unanswered += 1;
            verdict.observed += usize::from(!outcomes(receipt).any(|it| it.outcome == SessionOutcome::Unknown));
        }
        let mut violations = self.unfinished().await?;
        let twice = kills.iter().filter(|(_, times)| times.len() > 1);
        violations.extend(twice.map(|(session, times)| format!("{session:?} was killed {} times", times.len())));
        violations.extend(truth.interrupted_twice(&requests));
        violations.extend(truth.late(&receipts));
        for receipt in &receipts {
            violations.extend(truth.contradicts(&receipt.name_any(), receipt.spec.scope, outcomes(receipt)));
        }
        for request in &requests {
            let sessions = request.status.iter().flat_map(|status| &status.sessions);
            violations.extend(truth.contradicts(&request.name_any(), request.spec.scope, sessions));
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

    /// How often each session was killed. By SQL: each session that a request names, as the log has those of all arenas.
    pub async fn kills_per_session(&self) -> anyhow::Result<BTreeMap<(String, i64), u32>> {
        let executed = self.truth(&self.requests().await?).await?.executed;
        let count = |times: Vec<Timestamp>| u32::try_from(times.len()).unwrap_or(u32::MAX);
        Ok(executed.into_iter().map(|(session, times)| (session, count(times))).collect())
    }

    /// How often the statement of each session was interrupted, by SQL.
    pub async fn interrupts_per_session(&self) -> anyhow::Result<BTreeMap<(String, i64), u32>> {
        Ok(self.truth(&self.requests().await?).await?.interrupted)
    }

    async fn truth(&self, requests: &[SessionKill]) -> anyhow::Result<Truth> {
        let mut named: HashMap<Key, usize> = HashMap::new();
        for session in requests.iter().flat_map(|request| &request.spec.sessions) {
            *named.entry((session.server_ip.clone(), session.session_id)).or_default() += 1;
        }
        let mut truth = Truth::default();
        if self.sql.is_some() {
            let engine = self.ground.engine.as_ref().context("the ground has no engine")?;
            let key = |id| (engine.server_ip().to_owned(), id);
            let ids: Vec<i64> = engine.connect().await?.query("select id from oceanbase.V$OB_PROCESSLIST").await?;
            truth.there = ids.into_iter().map(key).collect();
            let ground = self.ground.clone();
            let read = spawn_blocking(move || ground.engine.as_ref().map(Engine::witness));
            let witness = read.await?.context("the ground has no engine")??;
            for session in witness.interrupted.into_iter().map(key).filter(|session| named.contains_key(session)) {
                *truth.interrupted.entry(session).or_default() += 1;
            }
            let ended = witness.ended.into_iter().map(key).zip(witness.times);
            for (session, time) in ended.filter(|(session, _)| named.contains_key(session)) {
                truth.executed.entry(session).or_default().push(time);
            }
        } else {
            let key = |it: Session| (it.server_ip, it.session_id);
            truth.there = self.gateway.sessions().await?.into_iter().map(key).collect();
            for call in self.gateway.calls() {
                for session in call.sessions.into_iter().filter(|session| session.executed) {
                    let key = (session.server_ip, session.session_id);
                    truth.executed.entry(key).or_default().push(call.admitted_time.unwrap_or(call.received_time));
                }
            }
        }
        truth.shared = named.into_iter().filter(|(_, count)| *count > 1).map(|(session, _)| session).collect();
        Ok(truth)
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
    fn contradicts<'a>(&self, name: &str, scope: Scope, said: impl Iterator<Item = &'a SessionStatus>) -> Vec<String> {
        let is_false = |session: &&SessionStatus| {
            let key = (session.server_ip.clone(), session.session_id);
            let is_of_query = scope == Scope::Query;
            let is_interrupted = self.interrupted.contains_key(&key);
            match session.outcome {
                SessionOutcome::Killed if is_of_query => self.there.contains(&key) && !is_interrupted,
                // The statement ended, and the session goes on.
                SessionOutcome::Gone if is_of_query && session.reason == SessionReason::QueryEnded => false,
                SessionOutcome::Killed | SessionOutcome::Gone => self.there.contains(&key),
                SessionOutcome::Failed => {
                    let is_executed = if is_of_query { is_interrupted } else { self.executed.contains_key(&key) };
                    is_executed && !self.shared.contains(&key)
                }
                SessionOutcome::Pending => true,
                SessionOutcome::Skipped | SessionOutcome::Unknown => false,
            }
        };
        said.filter(is_false).map(|session| format!("{name} says what is not so: {}", json!(session))).collect()
    }

    /// Statements that were interrupted more often than requests name them.
    fn interrupted_twice(&self, requests: &[SessionKill]) -> Vec<String> {
        let named = |(server_ip, session_id): &Key| {
            let is_of_query = |request: &&SessionKill| request.spec.scope == Scope::Query;
            let sessions = requests.iter().filter(is_of_query).flat_map(|request| &request.spec.sessions);
            sessions.filter(|it| it.session_id == *session_id && it.server_ip == *server_ip).count()
        };
        let twice = self.interrupted.iter().filter(|(key, count)| **count as usize > named(key));
        twice.map(|(key, count)| format!("{key:?} was interrupted {count} times")).collect()
    }

    /// Kills without a claim, and kills after the deadline of their claim.
    fn late(&self, receipts: &[SessionKillReceipt]) -> Vec<String> {
        let deadline = |(server_ip, session_id): &Key| {
            let named = |receipt: &&SessionKillReceipt| {
                let mut planned = receipt.spec.sessions.iter();
                planned.any(|it| it.session_id == *session_id && it.server_ip == *server_ip)
            };
            receipts.iter().filter(named).map(|receipt| receipt.spec.dispatch_deadline_time.0).max()
        };
        let executed = self.executed.iter().flat_map(|(key, times)| times.iter().map(move |time| (key, *time)));
        let late = executed.filter(|(key, time)| deadline(key).is_none_or(|deadline| *time > deadline));
        late.map(|(key, time)| format!("killed late or without a claim: {key:?} at {time}")).collect()
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
