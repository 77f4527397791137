//! How many writes of one tenant are on their way to the API server at a time. Waits for what it is given; no I/O of its own.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

use super::context::Context;

/// So many of a tenant that has the operator to itself: enough to keep the API server busy.
const ALONE: usize = 2;
/// So many of each of several: what one tenant has in flight is what another's next write waits behind.
const BESIDE_OTHERS: usize = 1;
/// When none has come to its end for so long, another begins: one that the API server refuses again and again must not keep
/// all that come after it from being written.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that begin so.
const MOST_STUCK: usize = 4;

/// Does `work` for each of `items`, all of one tenant, with as many writes at once as it may have at the time. They begin, and
/// their results come, in the order of the items.
pub(super) async fn write_each<T, R, W: Future<Output = R>>(
    context: &Context,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> W,
) -> Vec<R> {
    let at_once = || if context.queue.is_of_one_tenant() { ALONE } else { BESIDE_OTHERS };
    in_order(at_once, items, work).await
}

async fn in_order<T, R, W: Future<Output = R>>(
    at_once: impl Fn() -> usize,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> W,
) -> Vec<R> {
    let (mut items, mut under_way) = (items.into_iter().enumerate(), FuturesUnordered::new());
    let (mut done, mut stuck) = (vec![], 0);
    loop {
        while under_way.len() < at_once() + stuck
            && let Some((place, item)) = items.next()
        {
            let work = work(item);
            under_way.push(async move { (place, work.await) });
        }
        match timeout(PATIENCE, under_way.next()).await {
            Ok(Some(result)) => {
                done.push(result);
                stuck = stuck.min(under_way.len());
            }
            Ok(None) => break,
            Err(_) => stuck = MOST_STUCK.min(stuck + 1),
        }
    }
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test]
    async fn as_many_are_under_way_as_may_be_at_the_time_and_results_keep_their_order() {
        let (may_be, under_way, seen) = (Cell::new(3), Cell::new(0), RefCell::new(vec![]));
        let work = async |number: usize| {
            under_way.set(under_way.get() + 1);
            seen.borrow_mut().push(under_way.get());
            if number == 4 {
                may_be.set(1);
            }
            // Later ones are ready first.
            for _ in number..10 {
                tokio::task::yield_now().await;
            }
            under_way.set(under_way.get() - 1);
            number
        };
        assert_eq!(in_order(|| may_be.get(), 0..10, work).await, (0..10).collect::<Vec<_>>());
        let seen = seen.into_inner();
        assert_eq!(seen.iter().max(), Some(&3), "{seen:?}");
        assert!(seen[7..].iter().all(|count| *count == 1), "another came to work meanwhile: {seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_keeps_none_of_the_others_from_being_written() {
        let written = RefCell::new(vec![]);
        let work = async |number: usize| {
            if number == 2 {
                std::future::pending::<()>().await;
            }
            written.borrow_mut().push(number);
        };
        assert!(timeout(PATIENCE * 2, in_order(|| 1, 0..10, work)).await.is_err(), "it has not ended");
        assert_eq!(written.into_inner(), [0, 1, 3, 4, 5, 6, 7, 8, 9]);
    }
}
