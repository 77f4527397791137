//! Sees requests end, with a watch that selects finished requests: each one is one event with its metadata only.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use kube::{
    Api, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt as _, watcher},
};
use sessionkill::api::SessionKill;
use tokio::sync::watch;

use super::{
    super::{
        client,
        plan::{LABEL, Plan},
    },
    made::{Ending, Made},
};

/// The ends seen so far.
pub(super) struct Endings {
    seen: Arc<Mutex<HashMap<String, Ending>>>,
    /// How many of each stream have ended.
    counts: watch::Receiver<Vec<usize>>,
}

impl Endings {
    /// Starts to watch. Returns when the watch is established.
    pub(super) async fn watch(plan: &Plan) -> anyhow::Result<Self> {
        // Use its own connection: events must not wait behind the answers to creates.
        let client = client::fast(&plan.kubeconfig).await?;
        let session_kills: Api<PartialObjectMeta<SessionKill>> = match plan.only_namespace() {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let config =
            watcher::Config::default().fields("status.completionTime!=").labels(&format!("{LABEL}={}", plan.name));
        let seen = Arc::<Mutex<HashMap<String, Ending>>>::default();
        let (sender, counts) = watch::channel(vec![0; plan.streams.len()]);
        let (synced, mut is_synced) = watch::channel(false);
        let noted = seen.clone();
        tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(session_kills, config).default_backoff());
            while let Some(event) = events.next().await {
                let now = Instant::now();
                match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                        note(&noted, &sender, &object.name_any(), now);
                    }
                    Ok(watcher::Event::InitDone) => {
                        synced.send_replace(true);
                    }
                    Ok(watcher::Event::Init | watcher::Event::Delete(_)) => {}
                    Err(error) => eprintln!("watch: {error}"),
                }
            }
        });
        is_synced.wait_for(|synced| *synced).await?;
        Ok(Self { seen, counts })
    }

    /// Waits until all of `made` have ended, at most for `limit`.
    pub(super) async fn wait_for(&self, made: &[Vec<Made>], limit: Duration) {
        let wanted: Vec<_> = made.iter().filter_map(|made| Some((made.first()?.stream, made.len()))).collect();
        let mut counts = self.counts.clone();
        let all = counts.wait_for(|counts| wanted.iter().all(|(stream, count)| counts[*stream] >= *count));
        // Requests that are missing at that time are missing in the report.
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// All ends, by name.
    pub(super) fn all(&self) -> HashMap<String, Ending> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn note(seen: &Mutex<HashMap<String, Ending>>, counts: &watch::Sender<Vec<usize>>, name: &str, now: Instant) {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let rank = u32::try_from(seen.len()).unwrap_or(u32::MAX);
    // Keep the first time: a finished request may be changed or listed again.
    if seen.contains_key(name) {
        return;
    }
    seen.insert(name.to_owned(), (now, rank));
    let stream = name.rsplit('-').nth(1).and_then(|stream| stream.parse::<usize>().ok());
    counts.send_modify(|counts| {
        if let Some(count) = stream.and_then(|stream| counts.get_mut(stream)) {
            *count += 1;
        }
    });
}
