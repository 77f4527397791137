//! Leader election with a Lease. Does I/O: takes, renews, watches and releases the Lease.
//!
//! As in other Kubernetes components, two machines' clocks are never compared. A waiting replica counts from when it
//! saw the last renewal, the holder from when it began to write it, so that the holder always stops first. The crates for it
//! judge by the wall clocks of both: see docs/decisions/0004-own-leader-election.md.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, Resource as _, ResourceExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::domain::lease::{LONGEST, Tenure, given_back, overstated, renewed, taken, tenure};
use crate::kubernetes::api_error::in_words;
use crate::kubernetes::calls::{ApiError, bounded, found};
use crate::kubernetes::client::WATCH_SECONDS;
use crate::kubernetes::lease::leadership::Leadership;
use crate::kubernetes::status_patch::FIELD_MANAGER;

/// A Lease is renewed after a third of its duration, and a try takes no longer than that: after a failed try, another
/// one fits before the holder must stop.
const RENEWALS: u32 = 3;
/// The longest pause after a try that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How long a shutdown tries to release the Lease; after that the Lease expires.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(5);

/// One candidate.
pub struct Election {
    /// The Leases of the namespace.
    pub leases: Api<Lease>,
    /// The name of the Lease.
    pub name: String,
    /// This process's identity: unique, even among restarts of the same Pod.
    pub identity: String,
    /// How long the Lease is held without a renewal, in whole seconds.
    pub duration: Duration,
    /// Receives the result.
    pub leadership: Arc<Leadership>,
}

/// A running candidate.
struct Candidate {
    of: Election,
    /// The Lease as last seen, and since when it has been so.
    seen: Option<(LeaseSpec, Instant)>,
    /// The last logged state.
    leads: bool,
    /// The last duration that was logged as too long.
    overstated: Option<i32>,
}

/// What to do after a look at the Lease.
enum Next {
    /// Look again after this pause.
    Look(Duration),
    /// Watch from this resource version until this time, when the other holder's Lease ends.
    Follow(String, Instant),
}

impl Election {
    /// Takes part in the election until `shutdown`, then releases the Lease.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut candidate = Candidate { of: self, seen: None, leads: false, overstated: None };
        while !shutdown.is_cancelled() {
            // A shutdown does not cancel this: a write in flight could otherwise arrive after the release.
            let next = candidate.look().await;
            candidate.tell();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = candidate.wait(next) => {}
            }
        }
        candidate.give_back().await;
    }
}

impl Candidate {
    async fn look(&mut self) -> Next {
        let pause = (self.of.duration / 10).min(LONGEST_PAUSE);
        match timeout(self.of.duration / RENEWALS, self.try_to_lead()).await {
            Ok(Ok(next)) => return next,
            // Another write came first: look again.
            Ok(Err(error)) if error.is_conflict() || error.is_not_found() => {
                tracing::debug!(%error, lease = self.of.name, "Lease changed meanwhile");
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = self.of.name, "Lease neither taken nor renewed, trying again");
            }
            Err(_) => tracing::warn!(lease = self.of.name, "no answer in time about the Lease, trying again"),
        }
        Next::Look(pause)
    }

    async fn try_to_lead(&mut self) -> Result<Next, ApiError> {
        let found = found("read Lease", self.of.leases.get(&self.of.name)).await?;
        let duration = SignedDuration::try_from(self.of.duration).unwrap_or(SignedDuration::MAX);
        let Some(mut lease) = found else {
            let mut lease =
                Lease { spec: Some(taken(None, &self.of.identity, duration, Timestamp::now())), ..Lease::default() };
            lease.meta_mut().name = Some(self.of.name.clone());
            return self.write(&lease).await;
        };
        let spec = lease.spec.take().unwrap_or_default();
        let since = self.observe(&spec);
        let wanted = match self.tenure(&spec) {
            Tenure::Own => renewed(spec, duration, Timestamp::now()),
            Tenure::Another(held) if !is_over(since, held) => {
                self.of.leadership.lose();
                return Ok(Next::Follow(lease.resource_version().unwrap_or_default(), end(since, held)));
            }
            Tenure::Another(_) | Tenure::Free => taken(Some(spec), &self.of.identity, duration, Timestamp::now()),
        };
        lease.spec = Some(wanted);
        self.write(&lease).await
    }

    /// Creates or replaces `lease`, unless it was changed since it was read, and leads if that succeeds.
    async fn write(&mut self, lease: &Lease) -> Result<Next, ApiError> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let started = Instant::now();
        let written = if lease.resource_version().is_none() {
            bounded("create Lease", self.of.leases.create(&params, lease)).await?
        } else {
            bounded("update Lease", self.of.leases.replace(&self.of.name, &params, lease)).await?
        };
        self.observe(&written.spec.unwrap_or_default());
        // Shorter than the others wait (4/5 of the duration), which leaves time to stop.
        self.of.leadership.hold(started + self.of.duration * 4 / 5);
        Ok(Next::Look(self.of.duration / RENEWALS))
    }

    /// Since when the Lease has had this content.
    fn observe(&mut self, spec: &LeaseSpec) -> Instant {
        match &self.seen {
            Some((seen, since)) if seen == spec => *since,
            _ => self.seen.insert((spec.clone(), Instant::now())).1,
        }
    }

    /// Who holds the Lease. Logs once if its holder states a longer duration than [`LONGEST`].
    fn tenure(&mut self, spec: &LeaseSpec) -> Tenure {
        let default = SignedDuration::try_from(self.of.duration).unwrap_or(SignedDuration::MAX);
        let tenure = tenure(spec, &self.of.identity, default);
        let overstated = overstated(spec).filter(|_| matches!(tenure, Tenure::Another(_)));
        if let Some(seconds) = overstated.filter(|_| overstated != self.overstated) {
            let (lease, holder, believed) = (&self.of.name, spec.holder_identity.as_deref(), LONGEST.as_secs());
            tracing::warn!(lease, holder, seconds, believed, "Lease held for longer than any is believed for");
        }
        self.overstated = overstated;
        tenure
    }

    async fn wait(&mut self, next: Next) {
        match next {
            Next::Look(pause) => sleep(pause).await,
            Next::Follow(version, until) => self.follow(&version, until).await,
        }
    }

    /// Waits until the Lease may be free. The watch only makes that faster: the last seen duration ends by the clock,
    /// and the Lease is read before anything is written.
    async fn follow(&mut self, version: &str, mut until: Instant) {
        let only = WatchParams::default().fields(&format!("metadata.name={}", self.of.name)).timeout(WATCH_SECONDS);
        let Ok(watch) = timeout_at(until, self.of.leases.watch(&only, version)).await else { return };
        let mut events = match watch {
            Ok(events) => events.boxed(),
            Err(error) => {
                tracing::warn!(error = in_words(&error), lease = self.of.name, "Lease not watched, trying again");
                return sleep(LONGEST_PAUSE).await;
            }
        };
        while let Ok(event) = timeout_at(until, events.next()).await {
            match event {
                Some(Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease))) => {
                    let spec = lease.spec.unwrap_or_default();
                    let since = self.observe(&spec);
                    let Tenure::Another(held) = self.tenure(&spec) else { return };
                    until = end(since, held);
                }
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                Some(Ok(WatchEvent::Deleted(_))) => return,
                // The API server ends a watch regularly; pause, in case each watch ends at once.
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => {
                    return sleep(LONGEST_PAUSE.min(self.of.duration / 10)).await;
                }
            }
        }
    }

    /// Releases the Lease at once, even with calls in flight: another replica can lead within a moment and leaves their
    /// claims alone, as those are neither its own nor overdue. Waiting for the calls would delay every other request by
    /// the slowest one.
    async fn give_back(&mut self) {
        self.of.leadership.lose();
        self.tell();
        let giving = async {
            while let Err(error) = self.try_to_give_back().await {
                tracing::warn!(%error, lease = self.of.name, "Lease not given back yet, trying again");
                sleep((self.of.duration / 10).min(LONGEST_PAUSE)).await;
            }
        };
        if timeout(GIVE_BACK_LIMIT, giving).await.is_err() {
            tracing::warn!(lease = self.of.name, "Lease not given back: it ends by itself");
        }
    }

    async fn try_to_give_back(&self) -> Result<(), ApiError> {
        let found = found("read Lease", self.of.leases.get(&self.of.name)).await?;
        let Some(mut lease) = found else { return Ok(()) };
        let spec = lease.spec.take().unwrap_or_default();
        if tenure(&spec, &self.of.identity, SignedDuration::ZERO) != Tenure::Own {
            return Ok(());
        }
        lease.spec = Some(given_back(spec, Timestamp::now()));
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        bounded("give back Lease", self.of.leases.replace(&self.of.name, &params, &lease)).await.map(drop)
    }

    fn tell(&mut self) {
        let leads = self.of.leadership.leads();
        if std::mem::replace(&mut self.leads, leads) != leads {
            let Election { name, identity, .. } = &self.of;
            tracing::info!(leads, lease = name, identity, "leadership changed");
        }
    }
}

/// When a Lease ends that has been unchanged since `since` and lasts for `held`.
fn end(since: Instant, held: SignedDuration) -> Instant {
    since + Duration::try_from(held).unwrap_or_default()
}

fn is_over(since: Instant, held: SignedDuration) -> bool {
    end(since, held) <= Instant::now()
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use futures::stream;
    use http::{Method, Request, Response, StatusCode};
    use http_body::Frame;
    use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::sync::watch;
    use tokio::task::JoinHandle;
    use tower::BoxError;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);
    const TICK: Duration = Duration::from_millis(50);
    /// The tolerance: for calls that take no time, plus one pause between two tries.
    const AT_ONCE: Duration = Duration::from_millis(100);

    type Answer = Response<UnsyncBoxBody<axum::body::Bytes, BoxError>>;

    /// A fake API server with at most one Lease.
    #[derive(Default)]
    struct Server {
        lease: watch::Sender<Option<(u64, Value)>>,
        version: Mutex<u64>,
    }

    /// How it behaves towards a candidate.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    enum Way {
        #[default]
        Open,
        /// It answers nothing.
        Cut,
        /// Its watches deliver nothing.
        Deaf,
        /// It refuses everything.
        Forbidden,
    }

    struct Replica {
        leadership: Arc<Leadership>,
        way: watch::Sender<Way>,
        shutdown: CancellationToken,
        task: JoinHandle<()>,
    }

    impl Server {
        fn replica(self: &Arc<Self>, identity: &str) -> Replica {
            let (server, (way, sees)) = (self.clone(), watch::channel(Way::Open));
            let client = kube::Client::new(
                tower::service_fn(move |request: Request<Body>| {
                    let (server, sees) = (server.clone(), sees.clone());
                    async move { Ok::<_, BoxError>(server.answer(request, sees).await) }
                }),
                "operators",
            );
            let (leadership, shutdown) = (Arc::new(Leadership::elected()), CancellationToken::new());
            let election = Election {
                leases: Api::default_namespaced(client),
                name: "the-lease".into(),
                identity: identity.into(),
                duration: DURATION,
                leadership: leadership.clone(),
            };
            Replica { leadership, way, task: tokio::spawn(election.run(shutdown.clone())), shutdown }
        }

        async fn answer(&self, request: Request<Body>, mut sees: watch::Receiver<Way>) -> Answer {
            if *sees.borrow() == Way::Forbidden {
                return refusal(StatusCode::FORBIDDEN);
            }
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
            if is_watch && *sees.borrow() == Way::Open {
                return self.watched();
            }
            let _ = sees.wait_for(|way| *way == Way::Open || *way == Way::Deaf && !is_watch).await;
            let sent: Option<Value> = serde_json::from_slice(&body).ok();
            match (&parts.method, sent) {
                (&Method::GET, _) => {
                    self.stored().map_or_else(|| refusal(StatusCode::NOT_FOUND), |lease| of(StatusCode::OK, &lease))
                }
                (_, Some(sent)) => self.store(sent),
                (method, None) => panic!("{method} without a body"),
            }
        }

        fn stored(&self) -> Option<Value> {
            self.lease.borrow().as_ref().map(|(_, lease)| lease.clone())
        }

        /// Serialises writes and refuses those that have not seen the previous one.
        fn store(&self, mut sent: Value) -> Answer {
            let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
            let known = self.lease.borrow().as_ref().map(|(version, _)| version.to_string());
            if sent["metadata"]["resourceVersion"].as_str() != known.as_deref() {
                return refusal(StatusCode::CONFLICT);
            }
            *version += 1;
            sent["metadata"]["resourceVersion"] = version.to_string().into();
            self.lease.send_replace(Some((*version, sent.clone())));
            of(StatusCode::OK, &sent)
        }

        fn watched(&self) -> Answer {
            let events = stream::unfold(self.lease.subscribe(), |mut lease| async {
                lease.changed().await.ok()?;
                let (_, object) = lease.borrow_and_update().clone()?;
                Some((format!("{}\n", json!({"type": "MODIFIED", "object": object})), lease))
            });
            let pieces = events.map(|event| Ok::<_, BoxError>(Frame::data(event.into_bytes().into())));
            Response::new(StreamBody::new(pieces).boxed_unsync())
        }

        fn holder(&self) -> String {
            self.stored().unwrap()["spec"]["holderIdentity"].as_str().unwrap().to_owned()
        }

        fn transitions(&self) -> i64 {
            self.stored().unwrap()["spec"]["leaseTransitions"].as_i64().unwrap()
        }
    }

    fn refusal(status: StatusCode) -> Answer {
        let (code, reason) = (status.as_u16(), status.canonical_reason().unwrap_or_default().replace(' ', ""));
        of(status, &json!({"kind": "Status", "status": "Failure", "reason": reason, "message": "", "code": code}))
    }

    fn of(status: StatusCode, object: &Value) -> Answer {
        let body = http_body_util::Full::new(object.to_string().into_bytes().into());
        let mut answer = Response::new(body.map_err(|never| match never {}).boxed_unsync());
        *answer.status_mut() = status;
        answer
    }

    impl Replica {
        /// Waits until it leads, and returns how long that took.
        async fn led_after(&self) -> Duration {
            let asked = Instant::now();
            while !self.leadership.leads() {
                sleep(TICK).await;
            }
            asked.elapsed()
        }

        async fn assert_stands_by(&self, for_long: Duration) {
            let asked = Instant::now();
            while asked.elapsed() < for_long {
                assert!(!self.leadership.leads(), "after {:?}", asked.elapsed());
                sleep(TICK).await;
            }
        }
    }

    /// A leader and a standby.
    async fn two() -> (Arc<Server>, Replica, Replica) {
        let server = Arc::<Server>::default();
        let first = server.replica("first");
        assert!(first.led_after().await <= AT_ONCE, "a Lease that nobody holds is taken at once");
        let second = server.replica("second");
        // It renews the Lease.
        second.assert_stands_by(DURATION * 3).await;
        assert_eq!((server.holder().as_str(), server.transitions()), ("first", 0));
        (server, first, second)
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_of_one_who_died_is_taken_when_it_is_over_and_not_before() {
        let (server, first, second) = two().await;
        first.task.abort();
        let waited = second.led_after().await;
        let least = DURATION.saturating_sub(DURATION / RENEWALS + AT_ONCE);
        assert!((least..=DURATION + AT_ONCE).contains(&waited), "{waited:?}");
        assert_eq!((server.holder().as_str(), server.transitions()), ("second", 1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_stops_gives_the_lease_back_and_another_leads_at_once() {
        let (server, first, second) = two().await;
        first.shutdown.cancel();
        let waited = second.led_after().await;
        assert!(waited <= AT_ONCE, "{waited:?}");
        first.task.await.unwrap();
        assert!(!first.leadership.leads());
        assert_eq!((server.holder().as_str(), server.transitions()), ("second", 1));
        // A replica that does not hold the Lease does not release it.
        let third = server.replica("third");
        third.assert_stands_by(DURATION).await;
        third.shutdown.cancel();
        third.task.await.unwrap();
        assert_eq!(server.holder(), "second");
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_is_cut_off_stops_before_another_begins_and_stands_by_when_it_is_back() {
        let (server, first, second) = two().await;
        first.way.send_replace(Way::Cut);
        let mut led = vec![];
        while !second.leadership.leads() {
            led.push(first.leadership.leads());
            sleep(TICK).await;
        }
        assert_eq!((led.first(), led.last()), (Some(&true), Some(&false)), "{led:?}");
        assert!(!first.leadership.leads());
        first.way.send_replace(Way::Open);
        first.assert_stands_by(DURATION * 2).await;
        assert_eq!((server.holder().as_str(), server.transitions()), ("second", 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_outage_of_the_api_server_changes_nobody() {
        let (server, first, second) = two().await;
        for replica in [&first, &second] {
            replica.way.send_replace(Way::Cut);
        }
        sleep(DURATION / 3).await;
        for replica in [&first, &second] {
            replica.way.send_replace(Way::Open);
        }
        let asked = Instant::now();
        while asked.elapsed() < DURATION * 2 {
            assert!(first.leadership.leads() && !second.leadership.leads(), "after {:?}", asked.elapsed());
            sleep(TICK).await;
        }
        assert_eq!((server.holder().as_str(), server.transitions()), ("first", 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_silent_costs_time_and_nothing_else() {
        let server = Arc::<Server>::default();
        let first = server.replica("first");
        first.led_after().await;
        let second = server.replica("second");
        second.way.send_replace(Way::Deaf);
        second.assert_stands_by(DURATION * 3).await;
        first.task.abort();
        let waited = second.led_after().await;
        assert!(waited <= DURATION * 2, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_held_for_ever_is_waited_for_only_as_long_as_one_can_be() {
        let server = Arc::<Server>::default();
        let holder = taken(None, "stranger", SignedDuration::from_secs(i32::MAX.into()), Timestamp::UNIX_EPOCH);
        server.store(json!({"metadata": {"name": "the-lease"}, "spec": holder}));
        let only = server.replica("only");
        let (waited, longest) = (only.led_after().await, Duration::try_from(LONGEST).unwrap());
        assert!((longest..=longest + AT_ONCE).contains(&waited), "{waited:?}");
        assert_eq!((server.holder().as_str(), server.transitions()), ("only", 1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_rights_nobody_leads_until_they_are_given() {
        let server = Arc::<Server>::default();
        let only = server.replica("only");
        only.way.send_replace(Way::Forbidden);
        only.assert_stands_by(DURATION * 2).await;
        only.way.send_replace(Way::Open);
        assert!(only.led_after().await <= LONGEST_PAUSE + AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_come_at_once_one_leads() {
        let server = Arc::<Server>::default();
        let replicas: Vec<_> = (0..5).map(|number| server.replica(&format!("replica-{number}"))).collect();
        sleep(DURATION).await;
        let asked = Instant::now();
        while asked.elapsed() < DURATION * 2 {
            assert_eq!(replicas.iter().filter(|replica| replica.leadership.leads()).count(), 1);
            sleep(TICK).await;
        }
        assert_eq!(server.transitions(), 0);
    }
}
