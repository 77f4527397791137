//! How many writes of one tenant are on their way to the API server at a time. Waits for what it is given; no I/O of its own.

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;

use super::context::Context;

/// So many of a tenant that has the operator to itself: enough to keep the API server busy.
const ALONE: usize = 2;
/// So many of each of several: what one tenant has in flight is what another's next write waits behind.
const BESIDE_OTHERS: usize = 1;

/// Does `work` for each of `items`, all of one tenant, with as many writes at once as it may have at the time. Results come in
/// the order of the items.
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
    let (mut items, mut under_way, mut done) = (items.into_iter(), FuturesOrdered::new(), vec![]);
    loop {
        while under_way.len() < at_once()
            && let Some(item) = items.next()
        {
            under_way.push_back(work(item));
        }
        let Some(result) = under_way.next().await else { return done };
        done.push(result);
    }
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
}
