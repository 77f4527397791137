//! What is wanted of a process list: sessions by their IDs, and by what they are. Pure.

use std::collections::HashSet;
use std::sync::Arc;

use super::filter::Filter;

/// What is wanted of a process list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Sessions with these IDs, whichever their servers are.
    pub ids: HashSet<i64>,
    /// Sessions that one of these filters matches.
    pub filters: Vec<Arc<Filter>>,
}

impl Wanted {
    /// Sessions with these IDs.
    pub fn by_id(ids: impl IntoIterator<Item = i64>) -> Self {
        Self { ids: ids.into_iter().collect(), filters: vec![] }
    }

    /// What `filter` matches.
    #[must_use]
    pub fn by(filter: Arc<Filter>) -> Self {
        Self { ids: HashSet::new(), filters: vec![filter] }
    }

    /// Adds what is wanted by another.
    pub fn add(&mut self, other: &Self) {
        self.ids.extend(&other.ids);
        let is_new = |filter: &&Arc<Filter>| !self.has(filter);
        let new: Vec<_> = other.filters.iter().filter(is_new).cloned().collect();
        self.filters.extend(new);
    }

    /// Whether it covers all that `other` wants.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.ids.is_subset(&self.ids) && other.filters.iter().all(|filter| self.has(filter))
    }

    fn has(&self, filter: &Arc<Filter>) -> bool {
        self.place(filter).is_some()
    }

    /// The index of this very filter.
    #[must_use]
    pub fn place(&self, filter: &Arc<Filter>) -> Option<usize> {
        self.filters.iter().position(|other| Arc::ptr_eq(other, filter))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_objects::selecting;

    #[test]
    fn it_covers_what_was_added_and_nothing_else() {
        let filter = || {
            let of = selecting(json!({"match": {"users": ["report"]}}));
            Wanted::by(Arc::new(Filter::of(&of.spec).unwrap().unwrap()))
        };
        let (one, other) = (filter(), filter());
        let mut all = Wanted::by_id([1, 2]);
        all.add(&one);
        all.add(&one);
        assert!(all.covers(&one) && all.covers(&Wanted::by_id([2])) && all.covers(&Wanted::default()));
        assert!(!all.covers(&other) && !all.covers(&Wanted::by_id([2, 3])));
        assert_eq!(all.filters.len(), 1, "once");
    }
}
