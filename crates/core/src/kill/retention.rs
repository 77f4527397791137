//! Which objects to remove or update after a request's end. Pure; the sweep does it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sessionkill_api::{
    Outcome, SessionKill, SessionKillReceipt, SessionKillReceiptStatus, SessionKillRef, SessionKillStatus,
};

/// The prefix of Argo CD's annotations. Its older tracking label, `app.kubernetes.io/instance`, proves nothing, as Helm
/// charts set it too.
const ARGO_CD_ANNOTATIONS: &str = "argocd.argoproj.io/";

/// Labels by which a GitOps tool tracks its objects, and the tool's name.
const TRACKING_LABELS: [(&str, &str); 3] = [
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
];

/// Whether the `ttlSecondsAfterFinished` of a finished request has passed.
#[must_use]
pub fn ttl_expired(request: &SessionKill, now: Timestamp) -> bool {
    ttl_due(request).is_some_and(|due| due <= now)
}

/// When to remove a finished request by its `ttlSecondsAfterFinished`, if ever. Never before its `notAfterTime`: until
/// then, a tool that re-creates it must find it or its receipt. Never if a GitOps tool would put it back.
#[must_use]
pub fn ttl_due(request: &SessionKill) -> Option<Timestamp> {
    let completed = request.status.as_ref().and_then(|status| status.completion_time.as_ref())?;
    let ttl = SignedDuration::from_secs(request.spec.ttl_seconds_after_finished?.into());
    let due = completed.0.saturating_add(ttl).unwrap_or(Timestamp::MAX).max(request.spec.not_after_time.0);
    let is_removed = request.metadata.deletion_timestamp.is_none() && tracker(&request.metadata).is_none();
    is_removed.then_some(due)
}

/// Why the `ttlSecondsAfterFinished` of `request` is ignored, for people; `None` if it is obeyed or absent.
#[must_use]
pub fn ttl_ignored(request: &SessionKill) -> Option<String> {
    request.spec.ttl_seconds_after_finished?;
    let (tool, mark) = tracker(&request.metadata)?;
    Some(format!(
        "spec.ttlSecondsAfterFinished is ignored: {tool} keeps this object ({mark}) and would put it back; to remove it, \
         remove it from its source"
    ))
}

/// Whether this annotation key shows which GitOps tool tracks the object.
#[must_use]
pub fn is_tracking_annotation(key: &str) -> bool {
    key.starts_with(ARGO_CD_ANNOTATIONS)
}

/// Whether this label key shows which GitOps tool tracks the object.
#[must_use]
pub fn is_tracking_label(key: &str) -> bool {
    TRACKING_LABELS.iter().any(|(tracking, _)| *tracking == key)
}

/// The GitOps tool that would re-create the object after its deletion, and the annotation or label that shows it.
fn tracker(metadata: &ObjectMeta) -> Option<(&'static str, String)> {
    let annotations = metadata.annotations.iter().flatten();
    let mut of_argo_cd = annotations.filter(|(key, _)| is_tracking_annotation(key));
    if let Some((key, _)) = of_argo_cd.next() {
        return Some(("Argo CD", format!("annotation {key}")));
    }
    let labels = metadata.labels.as_ref()?;
    let (key, tool) = TRACKING_LABELS.into_iter().find(|(key, _)| labels.contains_key(*key))?;
    Some((tool, format!("label {key}")))
}

/// Whether a receipt was kept for `retention` after its `notAfterTime`, when no request of its content can be sent.
#[must_use]
pub fn receipt_expired(receipt: &SessionKillReceipt, retention: SignedDuration, now: Timestamp) -> bool {
    let latest = receipt.spec.not_after_time.0.max(receipt.spec.settle_deadline_time.0);
    latest.saturating_add(retention).unwrap_or(Timestamp::MAX) <= now
}

/// Whether the request that made a claim still has to end by it; `request` is the object now stored under its name.
/// Keep the receipt until then, however old: without it the request would say that nothing was sent.
#[must_use]
pub fn is_awaited(made_by: &SessionKillRef, request: Option<&SessionKill>) -> bool {
    request.is_some_and(|request| {
        request.metadata.uid.as_ref() == Some(&made_by.uid)
            && request.status.as_ref().is_none_or(|status| status.completion_time.is_none())
    })
}

/// The status of a finished request raised to the generation of a later edit; `None` if it is current. Without it,
/// tools that compare generations would wait for ever.
#[must_use]
pub fn observed_again(request: &SessionKill) -> Option<SessionKillStatus> {
    let generation = request.metadata.generation?;
    let status = request.status.as_ref().filter(|status| status.completion_time.is_some())?;
    if status.observed_generation == generation || request.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let mut status = status.clone();
    status.observed_generation = generation;
    for condition in &mut status.conditions {
        condition.observed_generation = Some(generation);
    }
    Some(status)
}

/// The record for `receipt`, if `request` made the claim and its own outcome is settled.
#[must_use]
pub fn record_of(request: &SessionKill, receipt: &SessionKillReceipt) -> Option<SessionKillReceiptStatus> {
    let status = request.status.as_ref()?;
    let dispatch = status.dispatch.as_ref().filter(|dispatch| dispatch.attempt_id == receipt.spec.attempt_id)?;
    let succeeded = status.conditions.iter().find(|condition| condition.type_ == "Succeeded")?;
    let outcome: Outcome = serde_json::from_value(succeeded.reason.as_str().into()).ok()?;
    // A copied outcome is not recorded: the receipt that it was copied from has it.
    if outcome == Outcome::AlreadyExecuted {
        return None;
    }
    Some(SessionKillReceiptStatus {
        outcome,
        completion_time: status.completion_time.clone()?,
        request_id: dispatch.request_id.clone(),
        operation: dispatch.operation,
        sessions: status.sessions.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kill::claim::receipt;
    use crate::kill::conclusion::{Conclusion, dispatch};
    use crate::kill::outcome::for_all;
    use crate::kill::status::finished;
    use crate::test_objects::{attempt, request, time};
    use sessionkill_api::{SessionOutcome, SessionReason};

    fn claimed() -> SessionKillReceipt {
        receipt(&request(), &attempt())
    }

    fn ended() -> SessionKill {
        let mut object = request();
        let sessions = for_all(&object.spec.sessions, SessionOutcome::Killed, SessionReason::Accepted);
        let conclusion = Conclusion::called(sessions, dispatch(&claimed(), claimed().spec.operation, "R"), "");
        object.status = Some(finished(&object, &conclusion, time("10:00:01")));
        object
    }

    #[test]
    fn a_request_is_never_removed_before_its_not_after_time() {
        let mut object = ended();
        assert!(!ttl_expired(&object, time("23:00:00")));
        object.spec.ttl_seconds_after_finished = Some(0);
        assert!(!ttl_expired(&object, time("10:29:59")));
        assert!(ttl_expired(&object, time("10:30:00")));
        object.spec.ttl_seconds_after_finished = Some(3600);
        assert!(!ttl_expired(&object, time("11:00:00")));
        assert!(ttl_expired(&object, time("11:00:01")));
        let mut unfinished = request();
        unfinished.spec.ttl_seconds_after_finished = Some(0);
        assert!(!ttl_expired(&unfinished, time("23:00:00")));
    }

    #[test]
    fn what_a_gitops_tool_would_put_back_is_kept_and_that_is_said() {
        let mut object = ended();
        assert_eq!(ttl_ignored(&object), None);
        object.spec.ttl_seconds_after_finished = Some(0);
        assert_eq!(ttl_ignored(&object), None);
        let marked = |annotation: bool, key: &str| {
            let mut object = object.clone();
            let marks = Some([(key.to_owned(), "x".to_owned())].into());
            if annotation {
                object.metadata.annotations = marks;
            } else {
                object.metadata.labels = marks;
            }
            object
        };
        for (annotation, key, tool) in [
            (true, "argocd.argoproj.io/tracking-id", "Argo CD"),
            (true, "argocd.argoproj.io/hook", "Argo CD"),
            (false, "argocd.argoproj.io/instance", "Argo CD"),
            (false, "kustomize.toolkit.fluxcd.io/name", "Flux"),
            (false, "helm.toolkit.fluxcd.io/name", "Flux"),
        ] {
            let mut object = marked(annotation, key);
            assert!(!ttl_expired(&object, time("23:00:00")), "{key}");
            let told = ttl_ignored(&object).unwrap();
            assert!(told.contains(tool) && told.contains(key), "{told}");
            object.spec.ttl_seconds_after_finished = None;
            assert_eq!(ttl_ignored(&object), None, "{key}");
        }
        // Labels of Helm charts, of another annotation prefix, and of no tool.
        for (annotation, key) in [
            (false, "app.kubernetes.io/instance"),
            (true, "kustomize.toolkit.fluxcd.io/name"),
            (true, "example.com/argocd.argoproj.io"),
        ] {
            assert!(ttl_expired(&marked(annotation, key), time("23:00:00")), "{key}");
            assert_eq!(ttl_ignored(&marked(annotation, key)), None, "{key}");
        }
    }

    #[test]
    fn a_receipt_outlives_its_not_after_time() {
        let day = SignedDuration::from_hours(1);
        assert!(!receipt_expired(&claimed(), day, time("11:29:59")));
        assert!(receipt_expired(&claimed(), day, time("11:30:00")));
    }

    #[test]
    fn a_receipt_is_awaited_by_the_request_that_made_its_claim_until_that_ends() {
        let made_by = claimed().spec.session_kill_ref;
        assert!(is_awaited(&made_by, Some(&request())));
        assert!(!is_awaited(&made_by, Some(&ended())));
        assert!(!is_awaited(&made_by, None));
        let mut created_again = request();
        created_again.metadata.uid = Some("uid-2".to_owned());
        assert!(!is_awaited(&made_by, Some(&created_again)));
    }

    #[test]
    fn an_edit_after_the_end_is_observed() {
        let mut object = ended();
        assert_eq!(observed_again(&object), None);
        object.metadata.generation = Some(2);
        let status = observed_again(&object).unwrap();
        assert_eq!(status.observed_generation, 2);
        assert!(status.conditions.iter().all(|c| c.observed_generation == Some(2)));
        assert_eq!(observed_again(&request()), None);
    }

    #[test]
    fn only_the_request_that_made_the_claim_fills_its_record() {
        let record = record_of(&ended(), &claimed()).unwrap();
        assert_eq!((record.outcome, record.request_id.as_str()), (Outcome::SessionsKilled, "R"));
        assert_eq!(record_of(&request(), &claimed()), None);
        let mut other = claimed();
        other.spec.attempt_id = "a2".to_owned();
        assert_eq!(record_of(&ended(), &other), None);
        let mut noted = ended();
        for condition in &mut noted.status.as_mut().unwrap().conditions {
            if condition.type_ != "Succeeded" {
                condition.reason = Outcome::KillFailed.as_str().to_owned();
            }
        }
        assert_eq!(record_of(&noted, &claimed()), Some(record), "no other condition is the outcome");
    }

    #[test]
    fn a_mark_of_a_gitops_tool_is_told_from_the_marks_of_others() {
        let labels = ["argocd.argoproj.io/instance", "kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"];
        assert!(labels.into_iter().all(is_tracking_label));
        let others = ["app.kubernetes.io/instance", "argocd.argoproj.io/tracking-id", "kustomize.toolkit.fluxcd.io"];
        assert_eq!(others.map(is_tracking_label), [false; 3]);
        assert!(is_tracking_annotation("argocd.argoproj.io/tracking-id"));
        assert!(!is_tracking_annotation("kustomize.toolkit.fluxcd.io/name"));
    }
}
