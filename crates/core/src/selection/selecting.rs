//! Selects from rows as they come, so that of a long list only what is wanted is kept. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use super::filter::{Filter, Order};
use crate::session::Seen;

/// How many more sessions than wanted are kept before they are sorted: with long statements, 100 take up to 1 MiB.
const ROOM: usize = 25;

/// The most memory of the sessions of one list that wait for a pattern (8 MiB), shared evenly by its filters. A pattern is held
/// against them at the end, where nobody waits for it: on a long list it may take a second.
const MAX_WAITING: usize = 8 << 20;

/// What a filter has selected from one list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// How many sessions match.
    pub matched: usize,
    /// The first of them in the filter's order, as many as it keeps.
    pub sessions: Vec<Seen>,
    /// There were more statements than a pattern is held against: others may match, too.
    pub is_cut: bool,
}

/// Selects for several filters from the rows of one list.
#[derive(Debug)]
pub struct Selecting {
    of: Vec<Kept>,
}

/// What one filter has kept so far.
#[derive(Debug)]
struct Kept {
    filter: Arc<Filter>,
    matched: HashSet<u64>,
    /// At most [`ROOM`] more than are kept in the end, each with its key.
    sessions: Vec<(u64, Seen)>,
    /// The rank of the last session that is kept, once there are enough: one behind it is not kept.
    last: Option<i64>,
    /// Those that a pattern decides on, each with its key, and the bytes that they take.
    waiting: Vec<(u64, Seen)>,
    bytes: usize,
    /// The most of these bytes.
    most_bytes: usize,
    is_cut: bool,
}

impl Selecting {
    /// For each of `filters`.
    #[must_use]
    pub fn of(filters: &[Arc<Filter>]) -> Self {
        let kept = |filter: &Arc<Filter>| Kept {
            filter: filter.clone(),
            matched: HashSet::new(),
            sessions: Vec::new(),
            last: None,
            waiting: Vec::new(),
            bytes: 0,
            most_bytes: MAX_WAITING / filters.len(),
            is_cut: false,
        };
        Self { of: filters.iter().map(kept).collect() }
    }

    /// Whether there is any filter.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        !self.of.is_empty()
    }

    /// Selects `seen` where it matches. `key` tells it apart from the other sessions of the list; `stored` makes of a row what
    /// may be kept of it.
    pub fn offer(&mut self, key: u64, seen: &Seen, stored: impl Fn(&Seen) -> Seen) {
        for kept in self.of.iter_mut().filter(|kept| kept.filter.may_match(seen)) {
            if kept.filter.has_pattern() {
                kept.wait(key, stored(seen));
            } else {
                kept.add(key, seen, &stored);
            }
        }
    }

    /// Takes back what was selected by `key`: another row says better what that session is.
    pub fn withdraw(&mut self, key: u64) {
        for kept in &mut self.of {
            kept.waiting.retain(|(other, _)| *other != key);
            if kept.matched.remove(&key) {
                kept.sessions.retain(|(other, _)| *other != key);
            }
        }
    }

    /// Whether [`Self::finish`] may take long: where others wait, call it on a thread of its own.
    #[must_use]
    pub fn is_costly(&self) -> bool {
        self.of.iter().any(|kept| !kept.waiting.is_empty())
    }

    /// What each filter has selected, in their order.
    #[must_use]
    pub fn finish(self) -> Vec<Selected> {
        self.of.into_iter().map(Kept::finish).collect()
    }
}

impl Kept {
    fn wait(&mut self, key: u64, seen: Seen) {
        let bytes = self.bytes + size_of::<Seen>() + seen.sql_text.len();
        if bytes > self.most_bytes {
            self.is_cut = true;
            return;
        }
        self.bytes = bytes;
        self.waiting.push((key, seen));
    }

    fn add(&mut self, key: u64, seen: &Seen, stored: impl Fn(&Seen) -> Seen) {
        self.matched.insert(key);
        if self.last.is_some_and(|last| rank(self.filter.order, seen) >= last) {
            return;
        }
        self.sessions.push((key, stored(seen)));
        if self.sessions.len() >= self.filter.most + ROOM {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let order = self.filter.order;
        self.sessions.sort_by_key(|(_, seen)| (rank(order, seen), seen.server_ip.clone(), seen.session_id));
        if self.sessions.len() > self.filter.most {
            self.sessions.truncate(self.filter.most);
            self.last = self.sessions.last().map(|(_, seen)| rank(order, seen));
        }
    }

    fn finish(mut self) -> Selected {
        for (key, seen) in std::mem::take(&mut self.waiting) {
            if self.filter.matches(&seen) {
                self.add(key, &seen, Clone::clone);
            }
        }
        self.prune();
        let sessions = self.sessions.into_iter().map(|(_, seen)| seen).collect();
        Selected { matched: self.matched.len(), sessions, is_cut: self.is_cut }
    }
}

/// The lowest comes first. A time that cannot be read comes last.
fn rank(order: Order, seen: &Seen) -> i64 {
    match (order, seen.seconds()) {
        (Order::Longest, Some(seconds)) => seconds.saturating_neg(),
        (Order::Newest, Some(seconds)) => seconds,
        (_, None) => i64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_objects::selecting;

    fn seen(session_id: i64, user: &str, seconds: &str) -> Seen {
        let (user, execute_time) = (user.to_owned(), seconds.to_owned());
        Seen { server_ip: "192.168.13.119".to_owned(), session_id, user, execute_time, ..Seen::default() }
    }

    fn filter(user: &str, take: &str) -> Arc<Filter> {
        let of = selecting(json!({"match": {"users": [user]}, "maxSessions": 3, "take": take}));
        Arc::new(Filter::of(&of.spec).unwrap().unwrap())
    }

    fn ids(selected: &Selected) -> Vec<i64> {
        selected.sessions.iter().map(|seen| seen.session_id).collect()
    }

    #[test]
    fn of_many_sessions_the_first_are_kept_and_all_are_counted() {
        let mut selecting =
            Selecting::of(&[filter("report", "Longest"), filter("report", "Newest"), filter("app", "None")]);
        // In an order of no kind: 7919 is coprime with 10,000.
        for number in (0..10_000).map(|number| number * 7919 % 10_000) {
            let user = if number % 2 == 0 { "report" } else { "other" };
            selecting.offer(number, &seen(number.cast_signed(), user, &format!("{number}.5")), Clone::clone);
            assert!(selecting.of.iter().all(|kept| kept.sessions.len() <= 100 + ROOM), "no more is kept in memory");
        }
        selecting.offer(10_001, &seen(10_001, "report", "?"), Clone::clone);
        let [longest, newest, none] = selecting.finish().try_into().unwrap();
        assert_eq!((longest.matched, newest.matched, none), (5001, 5001, Selected::default()));
        assert_eq!(ids(&longest), (0..100).map(|number| 9998 - 2 * number).collect::<Vec<_>>());
        assert_eq!(ids(&newest), (0..100).map(|number| 2 * number).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_better_row_says_otherwise_is_taken_back() {
        let mut selecting = Selecting::of(&[filter("report", "None")]);
        selecting.offer(1, &seen(1, "report", "5"), Clone::clone);
        selecting.offer(2, &seen(2, "report", "6"), Clone::clone);
        selecting.withdraw(1);
        selecting.offer(1, &seen(1, "app", "5"), Clone::clone);
        selecting.withdraw(3);
        let [selected] = selecting.finish().try_into().unwrap();
        assert_eq!((selected.matched, ids(&selected)), (1, vec![2]));
    }

    #[test]
    fn a_pattern_decides_at_the_end_and_on_so_many_statements_only() {
        let of = selecting(json!({"match": {"sqlTextPattern": "^select 1"}, "exclude": {"sqlTextPattern": "secret"}}));
        let filter = Arc::new(Filter::of(&of.spec).unwrap().unwrap());
        let running = |id: i64, text: &str| Seen { sql_text: text.to_owned(), ..seen(id, "app", "5") };
        let mut selecting = Selecting::of(std::slice::from_ref(&filter));
        assert!(!selecting.is_costly());
        for (id, text) in [(1_i64, "select 1"), (2, "select 2"), (3, "select 1 of secrets"), (4, "select 1"), (5, "")] {
            selecting.offer(id.cast_unsigned(), &running(id, text), Clone::clone);
        }
        assert!(selecting.is_costly());
        selecting.withdraw(4);
        let [selected] = selecting.finish().try_into().unwrap();
        assert_eq!((ids(&selected), selected.matched, selected.is_cut), (vec![1], 1, false));

        let mut selecting = Selecting::of(&[filter]);
        let long = running(1, &format!("select 1{}", " ".repeat(8000)));
        for key in 0..2000 {
            selecting.offer(key, &long, Clone::clone);
        }
        let [selected] = selecting.finish().try_into().unwrap();
        assert!(selected.is_cut && (900..1000).contains(&selected.matched), "{}", selected.matched);
        let all: Vec<_> = [(); 10].map(|()| Arc::new(Filter::of(&of.spec).unwrap().unwrap())).into();
        let mut selecting = Selecting::of(&all);
        for key in 0..2000 {
            selecting.offer(key, &long, Clone::clone);
        }
        let waiting: usize = selecting.of.iter().map(|kept| kept.bytes).sum();
        assert!(waiting <= MAX_WAITING, "however many filters there are: {waiting}");
    }

    #[test]
    fn what_is_kept_is_what_may_be_stored() {
        let mut selecting = Selecting::of(&[filter("report", "None")]);
        selecting.offer(1, &seen(1, "report", "5"), |seen| Seen { user: "withheld".to_owned(), ..seen.clone() });
        assert_eq!(selecting.finish()[0].sessions[0].user, "withheld");
    }
}
