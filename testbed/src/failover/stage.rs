//! Two replicas, one of which leads, in their own arena.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::LeaseSpec;
use sessionkill::api::SessionKill;
use tokio::time::{Instant, sleep};

use crate::arena::{Arena, Ground, Launch, Replica, Verdict, is_finished, kill_of, session};

/// Far longer than anything takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(4);
const POLL: Duration = Duration::from_millis(5);
/// The strike comes at a random moment within this time after the kills were requested.
const LATEST_STRIKE_MILLIS: u64 = 150;

/// How a leader ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// It dies: `SIGKILL`.
    Kill,
    /// It is asked to end: `SIGTERM`.
    Stop,
}

/// How long the take-over took.
#[derive(Clone, Copy, Debug)]
pub struct FailOver {
    /// From the last renewal before the signal until the Lease was taken, by the times that both holders wrote.
    pub unheld: SignedDuration,
    /// From the signal until the Lease was taken, by the time that the new holder wrote.
    pub until_it_leads: SignedDuration,
    /// From the signal until a request that was made right after it had ended.
    pub until_it_serves: SignedDuration,
}

/// Two replicas, one of which leads.
pub struct Stage {
    /// Their arena.
    pub arena: Arena,
    launch: Launch,
    pair: [Arc<Replica>; 2],
    asked: i64,
}

impl Stage {
    /// Starts two replicas, with a gateway that has `sessions`, and waits until both are ready and one leads.
    pub async fn set(ground: &Arc<Ground>, name: &str, sessions: usize, lease_seconds: u16) -> anyhow::Result<Self> {
        let sessions = (1..=i64::try_from(sessions)?).map(session).collect();
        let arena = Arena::set(ground, name, sessions).await?;
        arena.allow_election().await?;
        let launch = Launch { lease_seconds: Some(lease_seconds), ..Launch::default() };
        let pair = [arena.start(launch).await?, arena.start(launch).await?];
        let stage = Self { arena, launch, pair, asked: 0 };
        for replica in &stage.pair {
            replica.ready().await?;
        }
        stage.led_by(|_| true).await?;
        Ok(stage)
    }

    /// The leader and the other replica, by the Lease.
    pub async fn roles(&self) -> anyhow::Result<(Arc<Replica>, Arc<Replica>)> {
        let lease = self.led_by(|_| true).await?;
        let [first, second] = self.pair.clone();
        Ok(if holds(&first, &lease) { (first, second) } else { (second, first) })
    }

    /// Waits until a replica for which `wanted` holds has the Lease. Returns the Lease.
    pub async fn led_by(&self, wanted: impl Fn(&Replica) -> bool) -> anyhow::Result<LeaseSpec> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let lease = self.arena.lease().await?.unwrap_or_default();
            if self.pair.iter().any(|replica| holds(replica, &lease) && wanted(replica)) {
                return Ok(lease);
            }
            ensure!(Instant::now() < deadline, "nobody else leads: {lease:?}\n{}", self.arena.logs().await?);
            sleep(POLL).await;
        }
    }

    /// Requests the kill of the next session, and returns the name of the request.
    pub async fn ask(&mut self) -> anyhow::Result<String> {
        self.asked += 1;
        let name = format!("request-{}", self.asked);
        self.arena.request(&name, kill_of(&[self.asked], 3600)?).await?;
        Ok(name)
    }

    /// Waits until the request has ended.
    pub async fn ended(&self, name: &str) -> anyhow::Result<SessionKill> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let request: SessionKill = self.arena.api_of().get(name).await?;
            if is_finished(&request) {
                return Ok(request);
            }
            ensure!(Instant::now() < deadline, "{name} has not ended: {:?}", request.status);
            sleep(POLL).await;
        }
    }

    /// Strikes the leader while it works, and waits until the other one has taken over. Then starts a new replica.
    pub async fn fail_over(&mut self, strike: Strike) -> anyhow::Result<FailOver> {
        let (leader, other) = self.roles().await?;
        for _ in 0..2 {
            self.ask().await?;
        }
        sleep(Duration::from_millis(fastrand::u64(..LATEST_STRIKE_MILLIS))).await;
        let before = self.arena.lease().await?.context("the Lease is gone")?;
        let struck = Timestamp::now();
        match strike {
            Strike::Kill => leader.operator.kill(),
            Strike::Stop => leader.operator.terminate()?,
        }
        let first = self.ask().await?;
        let after = self.led_by(|replica| replica.client == other.client).await?;
        let taken = after.acquire_time.context("the Lease does not say when it was taken")?.0;
        self.ended(&first).await?;
        let served = Timestamp::now();
        if strike == Strike::Stop {
            let Some(status) = leader.operator.process().wait(LIMIT).await else {
                bail!("{} does not end", leader.client)
            };
            ensure!(status.success(), "{} ended with {status}: {}", leader.client, leader.operator.process().tail());
        }
        let renewed = before.renew_time.context("the Lease does not say when it was renewed")?.0;
        self.pair = [other, self.arena.start(self.launch).await?];
        self.pair[1].ready().await?;
        Ok(FailOver {
            unheld: taken.duration_since(renewed),
            until_it_leads: taken.duration_since(struck),
            until_it_serves: served.duration_since(struck),
        })
    }

    /// Waits until everything has ended, checks it, and ends the replicas.
    pub async fn verdict(&self) -> anyhow::Result<Verdict> {
        let deadline = Instant::now() + LIMIT;
        // Ignore the time-out: the verdict says what has not ended.
        while !self.arena.unfinished().await?.is_empty() && Instant::now() < deadline {
            sleep(Duration::from_millis(200)).await;
        }
        let verdict = self.arena.verdict().await?;
        for replica in self.arena.replicas.lock().await.iter() {
            replica.operator.kill();
        }
        if verdict.violations.is_empty() {
            self.arena.clean();
        }
        Ok(verdict)
    }
}

fn holds(replica: &Replica, lease: &LeaseSpec) -> bool {
    lease.holder_identity.as_deref().is_some_and(|holder| replica.is(holder))
}
