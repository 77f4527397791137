//! A request in the watch cache: whole, or only its outline once the cache's budget is used up. No I/O.

use std::borrow::Cow;
use std::mem::take;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use serde::Deserialize;

use crate::api::{SessionKill, WaitReason};
use crate::domain::clock::Now;
use crate::domain::footprint::footprint;
use crate::domain::kill::admission::{most_sessions, needs_list};
use crate::domain::kill::plan::{Step, plan, plan_woken};
use crate::domain::kill::precheck::MustSee;
use crate::domain::kill::status::says;
use crate::domain::tenant::TenantKey;
use crate::kubernetes::watch::budget::{Budget, Share};
use crate::kubernetes::watch::metadata::Size;
use crate::kubernetes::watch::stored_request::{Guarded, Unreadable};

/// A stored request. Its schedule is known in any form, but an attempt needs the object, which [`Cached::whole`]
/// returns only if the cache has it. Cheap to clone.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Guarded")]
pub struct Cached(Content, Size);

#[derive(Clone, Debug)]
enum Content {
    /// With its share of the budget once it is in the cache.
    Whole(Arc<SessionKill>, Option<Arc<Share>>),
    Outline(Arc<Outline>),
    Unreadable(Arc<Unreadable>),
}

/// The key, times and connection of a request: about 1 KiB. Keep it private, as the object's sessions are removed.
#[derive(Clone, Debug)]
struct Outline {
    object: SessionKill,
    sessions: usize,
    /// Whether it needs the process list, whatever its connection demands.
    needs_list: bool,
}

impl From<Guarded> for Cached {
    fn from(guarded: Guarded) -> Self {
        let content = match guarded.0 {
            Ok(object) => Content::Whole(object, None),
            Err(invalid) => Content::Unreadable(Arc::new(invalid)),
        };
        Self(content, guarded.1)
    }
}

impl Cached {
    /// The form in which the cache keeps this object, which was just read; `known` is the cached form.
    pub fn kept(self, budget: &Arc<Budget>, known: Option<&Self>) -> Self {
        // A relist delivers everything again: an unchanged object must not take its share twice.
        if let Some(known) = known.filter(|known| known.is_whole() && known.version() == self.version()) {
            return known.clone();
        }
        let Content::Whole(object, None) = self.0 else { return self };
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let content = match budget.share(namespace, footprint(&object)) {
            Some(share) => Content::Whole(object, Some(Arc::new(share))),
            None => Content::Outline(Arc::new(Outline::of(Arc::unwrap_or_clone(object)))),
        };
        Self(content, self.1)
    }

    /// The request, or why it is unreadable; `None` if only its outline is cached.
    pub fn whole(&self) -> Option<Guarded> {
        match &self.0 {
            Content::Whole(object, _) => Some(Guarded(Ok(object.clone()), self.1)),
            Content::Outline(_) => None,
            Content::Unreadable(invalid) => Some(Guarded(Err(invalid.as_ref().clone()), self.1)),
        }
    }

    /// The next step; `is_woken` ignores `nextAttemptTime`. `None` if the object is unreadable.
    pub fn step(&self, now: impl Into<Now>, is_woken: bool) -> Option<Step> {
        let (object, now): (_, Now) = (self.shown()?, now.into());
        Some(if is_woken { plan_woken(object, now) } else { plan(object, now) })
    }

    /// Whether its status already says that it waits for `reason`.
    pub fn says(&self, reason: WaitReason) -> bool {
        self.shown().is_some_and(|object| says(object, reason))
    }

    /// The key of its tenant.
    pub fn key(&self) -> TenantKey {
        match self.shown() {
            Some(object) => TenantKey::of(object),
            None => TenantKey::unreadable(self.meta().namespace.as_deref().unwrap_or_default()),
        }
    }

    /// How many sessions it names, or may take; 1 if the object is unreadable.
    pub fn sessions(&self) -> usize {
        match &self.0 {
            Content::Whole(object, _) => most_sessions(&object.spec),
            Content::Outline(outline) => outline.sessions,
            Content::Unreadable(_) => 1,
        }
    }

    /// Whether the process list is read before its call; `must_see` is what its connection demands.
    pub fn needs_list(&self, must_see: MustSee) -> bool {
        match &self.0 {
            Content::Whole(object, _) => needs_list(&object.spec, must_see),
            Content::Outline(outline) => outline.needs_list || must_see == MustSee::All,
            Content::Unreadable(_) => false,
        }
    }

    /// Nothing is sent for it after this time.
    pub fn not_after(&self) -> Timestamp {
        self.shown().map_or(Timestamp::MAX, |object| object.spec.not_after_time.0)
    }

    /// The object or its outline, for fields that both have.
    fn shown(&self) -> Option<&SessionKill> {
        match &self.0 {
            Content::Whole(object, _) => Some(object),
            Content::Outline(outline) => Some(&outline.object),
            Content::Unreadable(_) => None,
        }
    }

    fn is_whole(&self) -> bool {
        !matches!(self.0, Content::Outline(_))
    }

    fn version(&self) -> [&Option<String>; 2] {
        [&self.meta().uid, &self.meta().resource_version]
    }
}

impl Outline {
    fn of(mut object: SessionKill) -> Self {
        let (sessions, needs_list) = (most_sessions(&object.spec), needs_list(&object.spec, MustSee::Expected));
        object.spec.sessions = vec![];
        object.spec.selector = None;
        object.spec.reason = None;
        if let Some(status) = &mut object.status {
            status.sessions = vec![];
            // `Succeeded` says what it waits for.
            let summary = take(&mut status.conditions).into_iter().find(|condition| condition.type_ == "Succeeded");
            status.conditions =
                summary.map_or_else(Vec::new, |summary| vec![Condition { message: String::new(), ..summary }]);
        }
        Self { object, sessions, needs_list }
    }
}

impl Resource for Cached {
    type DynamicType = ();
    type Scope = <SessionKill as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        SessionKill::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        SessionKill::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        SessionKill::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        SessionKill::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Content::Whole(object, _) => &object.metadata,
            Content::Outline(outline) => &outline.object.metadata,
            Content::Unreadable(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Content::Whole(object, _) => &mut Arc::make_mut(object).metadata,
            Content::Outline(outline) => &mut Arc::make_mut(outline).object.metadata,
            Content::Unreadable(invalid) => &mut Arc::make_mut(invalid).metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use serde_json::json;

    use super::*;
    use crate::domain::kill::status::{Waiting, waiting};
    use crate::domain::test_objects::{request, time};

    fn read(object: &SessionKill) -> Cached {
        serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap()
    }

    fn suspended() -> SessionKill {
        let mut object = request();
        (object.spec.suspend, object.spec.reason) = (true, Some("INC-1".to_owned()));
        object.metadata.resource_version = Some("1".to_owned());
        let why = Waiting { reason: WaitReason::Suspended, message: "held back".to_owned(), next_attempt: None };
        object.status = Some(waiting(&object, &why, time("10:00:00")));
        object
    }

    #[test]
    fn an_outline_says_all_that_is_asked_of_it_but_cannot_be_acted_on() {
        let called = {
            let receipt = crate::domain::kill::claim::receipt(&request(), &crate::domain::test_objects::attempt());
            let mut called = request();
            let dispatch = crate::domain::kill::conclusion::dispatch(&receipt, receipt.spec.operation, "R");
            called.status.get_or_insert_default().dispatch = Some(dispatch);
            called
        };
        let mut deleted = suspended();
        deleted.metadata.deletion_timestamp = deleted.metadata.creation_timestamp.clone();
        for object in [request(), suspended(), called, deleted] {
            let whole = read(&object).kept(&Budget::new(1 << 20), None);
            let outline = read(&object).kept(&Budget::new(0), None);
            assert!(whole.whole().is_some() && outline.whole().is_none());
            for now in ["09:00:00", "10:00:00", "10:30:01", "10:31:00"].map(time) {
                for is_woken in [false, true] {
                    assert_eq!(outline.step(now, is_woken), whole.step(now, is_woken));
                }
            }
            assert_eq!(outline.says(WaitReason::Suspended), whole.says(WaitReason::Suspended));
            assert_eq!(outline.key(), whole.key());
            assert_eq!((outline.sessions(), outline.not_after()), (whole.sessions(), whole.not_after()));
            for must_see in [MustSee::Expected, MustSee::All] {
                assert_eq!(outline.needs_list(must_see), whole.needs_list(must_see));
            }
            assert_eq!(outline.meta(), whole.meta());
            assert!(outline.shown().is_some_and(|object| footprint(object) < size_of::<SessionKill>() + 800));
        }
        assert!(read(&suspended()).kept(&Budget::new(0), None).says(WaitReason::Suspended));
    }

    #[test]
    fn an_object_has_its_share_for_as_long_as_the_cache_holds_it() {
        let budget = Budget::new(1 << 20);
        let first = read(&suspended()).kept(&budget, None);
        let bytes = footprint(&suspended());
        assert_eq!(budget.held(), bytes);
        // A relist delivers the same version again.
        let again = read(&suspended()).kept(&budget, Some(&first));
        assert_eq!(budget.held(), bytes);
        drop(first);
        assert_eq!(budget.held(), bytes, "the other copy");
        let mut edited = suspended();
        edited.metadata.resource_version = Some("2".to_owned());
        edited.spec.sessions.truncate(1);
        let edited = read(&edited).kept(&budget, Some(&again));
        drop(again);
        assert!((1..bytes).contains(&budget.held()), "only the newer one");
        drop(edited);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn an_outline_becomes_whole_when_there_is_room() {
        let budget = Budget::new(footprint(&suspended()) * 2);
        let first = read(&suspended()).kept(&budget, None);
        let second = read(&suspended()).kept(&budget, None);
        assert!(first.whole().is_some() && second.whole().is_none());
        drop(first);
        assert!(read(&suspended()).kept(&budget, Some(&second)).whole().is_some());
    }

    #[test]
    fn what_cannot_be_read_is_kept_with_its_name() {
        let stored = json!({"metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": {"sessions": "none"}});
        let kept = serde_json::from_value::<Cached>(stored).unwrap().kept(&Budget::new(0), None);
        assert_eq!((kept.name_any().as_str(), kept.step(time("10:00:00"), false)), ("a", None));
        assert_eq!((kept.key(), kept.sessions()), (TenantKey::unreadable("b"), 1));
        assert!(kept.whole().is_some_and(|guarded| guarded.0.is_err()));
    }
}
