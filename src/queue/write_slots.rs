//! Limits how many writes of a tenant are sent to the API server at once, and moves stuck ones aside. Waits for the
//! futures that it is given; no I/O of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::domain::tenant::TenantKey;
use crate::queue::lanes::Queue;

/// Writes at once for a tenant that is alone in the operator: enough to keep the API server busy.
const ALONE: usize = 2;
/// Writes at once for each of several tenants, as one tenant's writes in flight delay the next write of another.
const BESIDE_OTHERS: usize = 1;
/// If no write finishes for this long, those in flight move to a task of their own: a write that the API server keeps
/// refusing must not block all later ones.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most such tasks per namespace; beyond that, its later writes wait.
const MOST_ASIDE: usize = 16;

/// How many tasks finish stuck writes, by namespace.
#[derive(Clone, Debug, Default)]
pub struct Aside(Arc<Mutex<HashMap<String, usize>>>);

/// One such task, until dropped.
struct Place {
    of: Aside,
    namespace: String,
}

impl Aside {
    /// `None` if the namespace has [`MOST_ASIDE`] such tasks.
    fn place(&self, namespace: &str) -> Option<Place> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(namespace.to_owned()).or_default();
        if *count >= MOST_ASIDE {
            return None;
        }
        *count += 1;
        Some(Place { of: self.clone(), namespace: namespace.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.namespace) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.namespace);
            }
        }
    }
}

/// The write slots of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct WriteSlots {
    queue: Arc<Queue>,
    tasks: TaskTracker,
    aside: Aside,
}

impl WriteSlots {
    /// Slots for the tenants in `queue`. Stuck writes continue as tasks of `tasks`.
    pub fn new(queue: Arc<Queue>, tasks: TaskTracker) -> Self {
        Self { queue, tasks, aside: Aside::default() }
    }

    /// Runs `work` for each of `items` of one tenant, within its write slots. Work starts, and results are returned, in
    /// the order of the items. Each `work` must finish by itself.
    pub async fn collect_each<T, R, W: Future<Output = R>>(
        &self,
        items: impl IntoIterator<Item = T>,
        work: impl Fn(T) -> W,
    ) -> Vec<R> {
        let (mut items, mut under_way) = (items.into_iter().enumerate(), FuturesUnordered::new());
        let mut done = vec![];
        loop {
            while under_way.len() < self.width()
                && let Some((place, item)) = items.next()
            {
                under_way.push(work(item).map(move |result| (place, result)));
            }
            let Some(result) = under_way.next().await else { break };
            done.push(result);
        }
        done.sort_unstable_by_key(|(place, _)| *place);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// Like [`Self::collect_each`], for writes of the tenant of `key` that are retried until they succeed.
    pub async fn write_each<T, W: Future<Output = ()> + Send + 'static>(
        &self,
        key: &TenantKey,
        items: impl IntoIterator<Item = T>,
        work: impl Fn(T) -> W,
    ) {
        let set_aside = |writes: Writes| {
            let Some(place) = self.aside.place(key.namespace()) else { return Some(writes) };
            self.tasks.spawn(async move {
                writes.for_each(|()| std::future::ready(())).await;
                drop(place);
            });
            None
        };
        in_order(|| self.width(), set_aside, items.into_iter().map(|item| work(item).boxed())).await;
    }

    fn width(&self) -> usize {
        if self.queue.is_of_one_tenant() { ALONE } else { BESIDE_OTHERS }
    }
}

type Writes = FuturesUnordered<BoxFuture<'static, ()>>;

/// `set_aside` returns the writes that it does not take.
async fn in_order(
    at_once: impl Fn() -> usize,
    set_aside: impl Fn(Writes) -> Option<Writes>,
    mut items: impl Iterator<Item = BoxFuture<'static, ()>>,
) {
    let mut under_way = Writes::new();
    loop {
        while under_way.len() < at_once()
            && let Some(item) = items.next()
        {
            under_way.push(item);
        }
        match timeout(PATIENCE, under_way.next()).await {
            Ok(Some(())) => {}
            Ok(None) => return,
            Err(_) => under_way = set_aside(std::mem::take(&mut under_way)).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn as_many_are_under_way_as_may_be_at_the_time_in_the_order_of_the_items() {
        let (under_way, begun) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(vec![])));
        let work = |number: usize| {
            let (under_way, begun) = (under_way.clone(), begun.clone());
            async move {
                *under_way.lock().unwrap() += 1;
                begun.lock().unwrap().push((number, *under_way.lock().unwrap()));
                // Later items take fewer polls, and so finish first.
                for _ in number..10 {
                    tokio::task::yield_now().await;
                }
                *under_way.lock().unwrap() -= 1;
            }
            .boxed()
        };
        let may_be = || if begun.lock().unwrap().len() > 4 { 1 } else { 3 };
        in_order(may_be, Some, (0..10).map(work)).await;
        let begun = begun.lock().unwrap();
        assert!(begun.iter().map(|(number, _)| *number).eq(0..10), "{begun:?}");
        assert_eq!(begun.iter().map(|(_, count)| *count).max(), Some(3), "{begun:?}");
        assert!(begun[7..].iter().all(|(_, count)| *count == 1), "another came to work meanwhile: {begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_goes_on_aside_and_keeps_none_of_the_others_from_being_written() {
        let (written, may_end) = (Arc::new(Mutex::new(vec![])), Arc::new(Semaphore::new(0)));
        let work = |number: usize| {
            let (written, may_end) = (written.clone(), may_end.clone());
            async move {
                if number == 2 {
                    may_end.acquire().await.unwrap().forget();
                }
                written.lock().unwrap().push(number);
            }
            .boxed()
        };
        let aside = Mutex::new(None);
        let set_aside = |writes| {
            *aside.lock().unwrap() = Some(writes);
            None
        };
        in_order(|| 1, set_aside, (0..10).map(work)).await;
        assert_eq!(*written.lock().unwrap(), [0, 1, 3, 4, 5, 6, 7, 8, 9]);
        may_end.add_permits(1);
        let mut rest = aside.lock().unwrap().take().unwrap();
        assert!(rest.next().await.is_some());
        assert_eq!(written.lock().unwrap().last(), Some(&2), "it came to its end");
    }

    #[test]
    fn a_namespace_has_no_more_aside_than_it_may() {
        let aside = Aside::default();
        let mut places: Vec<_> = (0..MOST_ASIDE).map(|_| aside.place("a").unwrap()).collect();
        assert!(aside.place("a").is_none() && aside.place("b").is_some());
        places.pop();
        assert!(aside.place("a").is_some());
        places.clear();
        assert!(aside.0.lock().unwrap().is_empty());
    }
}
