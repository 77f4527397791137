//! Builds the status of a connection from the results of its calls. Pure; the operator writes it when it changes.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use sessionkill_api::{
    AllowedNamespaces, BackendName, ConditionType, ConnectionReason, OceanBaseConnectionStatus, Operation, WaitReason,
};

use crate::backend::Fence;
use crate::clock::{CLOCK_SKEW, in_words, is_skew};
use crate::conditions::{condition, without_request};
use crate::connection::allowed;
use crate::text::clamp;

/// The pause between two probes of a working connection.
const PROBE_INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// The pause between two probes of a connection that does not work.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// The last thing learned about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned<'a> {
    /// The gateway answered a call or a probe.
    Answered,
    /// A call or a probe could not be made, or was refused; the text says what to do.
    Failed(WaitReason, &'a str),
    /// A probe was sent without a conclusive answer; the text describes what came back.
    Unanswered(&'a str),
    /// No probe could be sent, as the API server did not return the Secret; the text says why.
    Unread(&'a str),
}

impl Learned<'_> {
    /// Whether there was an access key to call with.
    fn had_key(self) -> bool {
        match self {
            Self::Failed(reason, _) => reason != WaitReason::EndpointNotAllowed && !NO_KEY.contains(&reason),
            Self::Unread(_) => false,
            Self::Answered | Self::Unanswered(_) => true,
        }
    }
}

/// Known facts about a connection, beside the last result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The `metadata.generation` of the connection.
    pub generation: i64,
    /// Which backend ends the sessions.
    pub backend: BackendName,
    /// Whether the other side itself refuses late calls.
    pub fence: Fence,
    /// The operation in use.
    pub operation: Operation,
    /// Whether the connection is encrypted; `None` if the backend leaves no choice.
    pub is_encrypted: Option<bool>,
    /// When a probe was answered, if this result is from a probe.
    pub probed: Option<Timestamp>,
    /// The least by which the operator's clock is ahead of the gateway's; negative if it is behind, zero if it may be
    /// right, `None` if unknown.
    pub clock_lead: Option<SignedDuration>,
    /// The namespaces that may use it; `None` for a connection of a namespace.
    pub allowed_namespaces: Option<&'a AllowedNamespaces>,
}

/// The status after `learned`; `old` is the one before.
#[must_use]
pub fn connection_status(
    old: &OceanBaseConnectionStatus,
    learned: Learned<'_>,
    facts: &Facts<'_>,
    now: Timestamp,
) -> OceanBaseConnectionStatus {
    let new = |kind, said: Said<'_>| condition(&old.conditions, conditioned(kind, said, facts.generation, now));
    let ready = match learned {
        Learned::Answered => ("True", ConnectionReason::CallAnswered.as_str(), "the last call was answered"),
        Learned::Failed(reason, message) => ("False", reason.as_str(), message),
        Learned::Unanswered(message) | Learned::Unread(message) => {
            ("Unknown", ConnectionReason::ProbeUnanswered.as_str(), message)
        }
    };
    let needs_somebody = matches!(learned, Learned::Failed(reason, _) if needs_somebody(reason));
    let stalled = needs_somebody.then(|| new(ConditionType::Stalled, ("True", ready.1, ready.2)));
    let skew = clock_skew(facts.clock_lead);
    let skew = skew.map(|(reason, message)| new(ConditionType::ClockSkew, ("True", reason.as_str(), &message)));
    let encrypted = facts.is_encrypted.map(|is_encrypted| new(ConditionType::Encrypted, encryption(is_encrypted)));
    let allowed = facts.allowed_namespaces.map(|namespaces| {
        let (status, reason, message) = allowed::summary(namespaces);
        new(ConditionType::NamespacesAllowed, (status, reason.as_str(), &message))
    });
    let conditions = [
        new(ConditionType::Ready, ready),
        new(ConditionType::CredentialsValid, credentials(old, learned, facts)),
        new(ConditionType::ServerSideFence, fence(&facts.fence)),
    ];
    OceanBaseConnectionStatus {
        observed_generation: facts.generation,
        backend: Some(facts.backend),
        operation: Some(facts.operation),
        last_probe_time: last_probe(old, learned, facts, now),
        conditions: conditions.into_iter().chain(encrypted).chain(allowed).chain(stalled).chain(skew).collect(),
    }
}

/// The status of a connection that cannot be read: nothing holds of what `old` says of its gateway.
#[must_use]
pub fn unreadable(
    old: &OceanBaseConnectionStatus,
    generation: i64,
    message: &str,
    now: Timestamp,
) -> OceanBaseConnectionStatus {
    let reason = ConnectionReason::InvalidObject.as_str();
    let conditions = [(ConditionType::Ready, "False"), (ConditionType::Stalled, "True")];
    let new = |(kind, status)| conditioned(kind, (status, reason, message), generation, now);
    OceanBaseConnectionStatus {
        observed_generation: generation,
        conditions: conditions.map(|it| condition(&old.conditions, new(it))).to_vec(),
        ..OceanBaseConnectionStatus::default()
    }
}

fn conditioned(kind: ConditionType, said: Said<'_>, generation: i64, now: Timestamp) -> Condition {
    let (status, reason, message) = said;
    Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: clamp(message, 1024),
        last_transition_time: Time(now),
        observed_generation: Some(generation),
    }
}

/// The reasons for which there is no access key to call with.
const NO_KEY: [WaitReason; 8] = [
    WaitReason::CredentialsUnavailable,
    WaitReason::RoleNotAssumable,
    WaitReason::OidcTokenRejected,
    WaitReason::ServiceAccountUnavailable,
    WaitReason::IdentityNotAllowed,
    WaitReason::MetadataUnavailable,
    WaitReason::StsUnavailable,
    WaitReason::CredentialsExpired,
];

/// Whether only a person can repair this: by changing the spec, the access key, a role or an operator flag. A Secret may
/// still appear, and networks, clocks and limits recover. A right that the key lacks on one instance is not the connection's
/// fault: a request for a wrong instance must not mark it as failed.
const fn needs_somebody(reason: WaitReason) -> bool {
    matches!(
        reason,
        WaitReason::CredentialsRejected
            | WaitReason::RoleNotAssumable
            | WaitReason::OidcTokenRejected
            | WaitReason::IdentityNotAllowed
            | WaitReason::EndpointNotAllowed
            | WaitReason::ProxyNotSupported
    )
}

/// When to probe a connection of this `generation` again; `last_try` is the last probe of this generation, whatever its
/// result. At once if it is new or changed, a minute later if it does not work, else an hour after the last answer.
#[must_use]
pub fn probe_due(
    status: Option<&OceanBaseConnectionStatus>,
    generation: i64,
    last_try: Option<Timestamp>,
) -> Timestamp {
    let after = |time: Timestamp, by| time.saturating_add(by).unwrap_or(Timestamp::MAX);
    let is_ready = |status: &&OceanBaseConnectionStatus| {
        let ready = ConditionType::Ready.as_str();
        status.conditions.iter().any(|condition| condition.type_ == ready && condition.status == "True")
    };
    let works = status.filter(|status| status.observed_generation == generation).filter(is_ready);
    let next = works.and_then(|status| status.last_probe_time.as_ref()).map(|time| after(time.0, PROBE_INTERVAL));
    let retry = last_try.map(|time| after(time, RETRY_INTERVAL));
    next.max(retry).unwrap_or(Timestamp::MIN)
}

/// Whether the messages of `new` differ from those of `old` by more than the gateway's request ID.
#[must_use]
pub fn rewords(old: &OceanBaseConnectionStatus, new: &OceanBaseConnectionStatus) -> bool {
    let words = |status: &OceanBaseConnectionStatus| -> Vec<String> {
        status.conditions.iter().map(|condition| without_request(&condition.message).into_owned()).collect()
    };
    words(old) != words(new)
}

/// Whether `new` differs from `old` in anything but its messages.
#[must_use]
pub fn says_more(old: &OceanBaseConnectionStatus, new: &OceanBaseConnectionStatus) -> bool {
    let essence = |status: &OceanBaseConnectionStatus| {
        let mut status = status.clone();
        for condition in &mut status.conditions {
            condition.message.clear();
            // Ignored: it is set anew for every condition, and matters only if the status changes, which is compared.
            condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
        }
        status
    };
    essence(old) != essence(new)
}

/// An answered call that reveals a new operation counts as a probe, and its time is kept with the operation.
fn last_probe(
    old: &OceanBaseConnectionStatus,
    learned: Learned<'_>,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Option<Time> {
    let is_found = learned == Learned::Answered && old.operation != Some(facts.operation);
    let found = is_found.then_some(now);
    facts.probed.or(found).map(Time).or_else(|| old.last_probe_time.clone())
}

/// Status, reason and message of a condition.
type Said<'a> = (&'a str, &'a str, &'a str);

fn credentials<'a>(old: &'a OceanBaseConnectionStatus, learned: Learned<'a>, facts: &Facts<'_>) -> Said<'a> {
    let accepted = ("True", ConnectionReason::CredentialsAccepted.as_str(), "the credentials were accepted");
    match learned {
        // Refused by a check that comes after the access key's.
        Learned::Answered | Learned::Failed(WaitReason::PermissionDenied | WaitReason::OperationUnavailable, _) => {
            accepted
        }
        Learned::Failed(reason, message) if reason == WaitReason::CredentialsRejected || NO_KEY.contains(&reason) => {
            ("False", reason.as_str(), message)
        }
        // Says nothing of the key: keep the known state, unless of another generation or if a missing key was found.
        Learned::Failed(..) | Learned::Unanswered(_) | Learned::Unread(_) => {
            let type_ = ConditionType::CredentialsValid.as_str();
            let known = old.conditions.iter().find(|known| known.type_ == type_);
            let holds = |known: &&Condition| {
                let was_missing = NO_KEY.iter().any(|reason| known.reason == reason.as_str());
                known.observed_generation == Some(facts.generation) && !(was_missing && learned.had_key())
            };
            match known.filter(holds) {
                Some(known) => (&known.status, &known.reason, &known.message),
                None => ("Unknown", ConnectionReason::NotYetKnown.as_str(), "no call has been answered yet"),
            }
        }
    }
}

fn encryption(is_encrypted: bool) -> Said<'static> {
    if is_encrypted {
        let message = "nothing is sent before the server's certificate is verified";
        ("True", ConnectionReason::TlsRequired.as_str(), message)
    } else {
        let message = "spec.sql.tls.mode is Disabled: others on the network can read and change what is sent, and take the \
                       server's place; set it to VerifyIdentity, and let the server offer TLS";
        ("False", ConnectionReason::TlsDisabled.as_str(), message)
    }
}

fn fence(fence: &Fence) -> Said<'static> {
    (if fence.holds { "True" } else { "False" }, fence.reason.as_str(), fence.message)
}

/// The condition's reason and message if the gateway's clock differs by more than [`CLOCK_SKEW`].
fn clock_skew(lead: Option<SignedDuration>) -> Option<(ConnectionReason, String)> {
    let lead = lead.filter(|lead| is_skew(*lead))?;
    let reason = if lead.is_negative() { ConnectionReason::GatewayAhead } else { ConnectionReason::GatewayBehind };
    let message = format!(
        "the operator's clock is {} the gateway's, by the dates of its answers, and clocks may differ by {} s: the gateway may \
         refuse calls that are in time, or take calls that are late; check the clocks of both",
        in_words(lead),
        CLOCK_SKEW.as_secs()
    );
    Some((reason, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_objects::time;

    const FACTS: Facts<'static> = Facts {
        allowed_namespaces: None,
        is_encrypted: None,
        generation: 1,
        backend: BackendName::AlibabaCloud,
        fence: Fence { holds: true, reason: ConnectionReason::DeadlineTimeStamp, message: "late calls are refused" },
        operation: Operation::KillProcessList,
        probed: None,
        clock_lead: Some(SignedDuration::ZERO),
    };

    fn shown(status: &OceanBaseConnectionStatus) -> Vec<String> {
        status.conditions.iter().map(|c| format!("{}={}({})", c.type_, c.status, c.reason)).collect()
    }

    fn after(learned: &[Learned<'_>]) -> OceanBaseConnectionStatus {
        let fresh = OceanBaseConnectionStatus::default();
        learned.iter().fold(fresh, |status, learned| connection_status(&status, *learned, &FACTS, time("10:00:00")))
    }

    #[test]
    fn an_answer_makes_all_of_it_good() {
        let status = after(&[Learned::Answered]);
        let expected = [
            "Ready=True(CallAnswered)",
            "CredentialsValid=True(CredentialsAccepted)",
            "ServerSideFence=True(DeadlineTimeStamp)",
        ];
        assert_eq!(shown(&status), expected);
        assert_eq!((status.observed_generation, status.operation), (1, Some(Operation::KillProcessList)));
        assert_eq!(status.backend, Some(BackendName::AlibabaCloud));
    }

    #[test]
    fn a_refused_key_is_told_from_a_lack_of_rights_and_from_silence() {
        let after = |reasons: &[WaitReason]| {
            let learned: Vec<_> = reasons.iter().map(|reason| Learned::Failed(*reason, "why")).collect();
            shown(&after(&learned)).remove(1)
        };
        assert_eq!(after(&[WaitReason::CredentialsRejected]), "CredentialsValid=False(CredentialsRejected)");
        assert_eq!(after(&[WaitReason::PermissionDenied]), "CredentialsValid=True(CredentialsAccepted)");
        assert_eq!(after(&[WaitReason::EndpointUnreachable]), "CredentialsValid=Unknown(NotYetKnown)");
        let kept = [WaitReason::CredentialsRejected, WaitReason::EndpointUnreachable];
        assert_eq!(after(&kept), "CredentialsValid=False(CredentialsRejected)");
    }

    #[test]
    fn a_connection_without_a_key_says_why_until_there_is_one() {
        for reason in NO_KEY {
            let failed = Learned::Failed(reason, "what to do");
            let says = format!("CredentialsValid=False({})", reason.as_str());
            assert_eq!(shown(&after(&[failed]))[1], says);
            assert_eq!(shown(&after(&[failed, Learned::Unread("no answer")]))[1], says, "nothing is known since");
            let unreached = Learned::Failed(WaitReason::EndpointUnreachable, "why");
            assert_eq!(
                shown(&after(&[failed, unreached]))[1],
                "CredentialsValid=Unknown(NotYetKnown)",
                "there was a key"
            );
        }
    }

    #[test]
    fn a_connection_that_needs_somebody_is_stalled_until_it_works_and_is_asked_all_the_same() {
        let stalled = |reason: WaitReason| {
            let status = after(&[Learned::Failed(reason, "what to do")]);
            let found = status.conditions.iter().find(|it| it.type_ == "Stalled").cloned();
            found.map(|it| (it.status, it.reason, it.message))
        };
        for reason in [
            WaitReason::CredentialsRejected,
            WaitReason::RoleNotAssumable,
            WaitReason::OidcTokenRejected,
            WaitReason::IdentityNotAllowed,
            WaitReason::EndpointNotAllowed,
        ] {
            let expected = ("True".to_owned(), reason.as_str().to_owned(), "what to do".to_owned());
            assert_eq!(stalled(reason), Some(expected));
        }
        for reason in [
            WaitReason::CredentialsUnavailable,
            WaitReason::ServiceAccountUnavailable,
            WaitReason::MetadataUnavailable,
            WaitReason::StsUnavailable,
            WaitReason::CredentialsExpired,
            WaitReason::EndpointUnreachable,
            WaitReason::TimeStampRefused,
            WaitReason::PermissionDenied,
            WaitReason::OperationUnavailable,
        ] {
            assert_eq!(stalled(reason), None, "{reason:?} may pass by itself, or is of one instance");
        }
        let refused = Learned::Failed(WaitReason::CredentialsRejected, "why");
        assert_eq!(probe_due(Some(&after(&[refused])), 1, Some(time("10:00:00"))), time("10:01:00"));
        let works = after(&[Learned::Answered]);
        assert_eq!(shown(&after(&[refused, Learned::Answered])), shown(&works));
        for unsure in [Learned::Unanswered("why"), Learned::Unread("why")] {
            let shown = shown(&after(&[refused, unsure]));
            assert!(!shown.iter().any(|it| it.starts_with("Stalled")), "{shown:?}");
        }
    }

    #[test]
    fn a_probe_without_a_certain_answer_leaves_no_reason_that_holds_no_longer() {
        let missing = Learned::Failed(WaitReason::CredentialsUnavailable, "secret ak does not exist");
        let status = after(&[missing, Learned::Unanswered("no certain answer")]);
        let expected = ["Ready=Unknown(ProbeUnanswered)", "CredentialsValid=Unknown(NotYetKnown)"];
        assert_eq!(shown(&status)[..2], expected);
        assert!(status.conditions.iter().all(|condition| !condition.message.contains("does not exist")), "{status:?}");
        assert_eq!(probe_due(Some(&status), 1, Some(time("10:00:00"))), time("10:01:00"), "asked again soon");
        let unread = after(&[missing, Learned::Unread("no answer from the API server")]);
        assert_eq!(shown(&unread)[..2], [expected[0], "CredentialsValid=False(CredentialsUnavailable)"]);
        let unreached = after(&[missing, Learned::Failed(WaitReason::EndpointUnreachable, "why")]);
        assert_eq!(shown(&unreached)[1], "CredentialsValid=Unknown(NotYetKnown)", "the Secret is there");
        let works = after(&[Learned::Answered, Learned::Unanswered("no certain answer")]);
        assert_eq!(shown(&works)[..2], [expected[0], "CredentialsValid=True(CredentialsAccepted)"]);
    }

    #[test]
    fn what_was_known_of_another_key_is_forgotten() {
        let status = after(&[Learned::Answered]);
        let edited = Facts { generation: 2, ..FACTS };
        let failed = Learned::Failed(WaitReason::EndpointUnreachable, "why");
        let status = connection_status(&status, failed, &edited, time("10:00:01"));
        assert_eq!(shown(&status)[1], "CredentialsValid=Unknown(NotYetKnown)");
    }

    #[test]
    fn the_operation_in_use_is_kept_with_the_time_at_which_it_was_found() {
        let unanswered = after(&[Learned::Failed(WaitReason::EndpointUnreachable, "why")]);
        assert_eq!(unanswered.last_probe_time, None);
        let status = after(&[Learned::Answered]);
        let again = connection_status(&status, Learned::Answered, &FACTS, time("10:30:00"));
        assert_eq!(again.last_probe_time, Some(Time(time("10:00:00"))));
        let batch = Facts { operation: Operation::BatchKillProcessList, ..FACTS };
        let fallen_back = connection_status(&again, Learned::Answered, &batch, time("10:40:00"));
        assert_eq!(fallen_back.last_probe_time, Some(Time(time("10:40:00"))));
        assert_eq!(probe_due(Some(&fallen_back), 1, None), time("11:40:00"), "an hour later, whether it is back");
    }

    #[test]
    fn a_connection_that_works_is_probed_hourly_and_one_that_does_not_each_minute() {
        let works = after(&[Learned::Answered]);
        assert_eq!(probe_due(Some(&works), 1, None), time("11:00:00"), "also after a restart");
        assert_eq!(probe_due(Some(&works), 2, None), Timestamp::MIN, "changed");
        assert_eq!(probe_due(None, 1, None), Timestamp::MIN, "new");
        let broken = after(&[Learned::Answered, Learned::Failed(WaitReason::PermissionDenied, "why")]);
        assert_eq!(probe_due(Some(&broken), 1, Some(time("10:05:00"))), time("10:06:00"));
        let unanswered = probe_due(Some(&works), 1, Some(time("11:00:30")));
        assert_eq!(unanswered, time("11:01:30"), "no answer makes it due no sooner");
    }

    #[test]
    fn a_gateways_clock_that_differs_is_told_with_its_side_and_by_how_much() {
        let told = |seconds: Option<i64>| {
            let facts = Facts { clock_lead: seconds.map(SignedDuration::from_secs), ..FACTS };
            let fresh = OceanBaseConnectionStatus::default();
            let status = connection_status(&fresh, Learned::Answered, &facts, time("10:00:00"));
            status
                .conditions
                .get(3)
                .map(|it| (format!("{}={}({})", it.type_, it.status, it.reason), it.message.clone()))
        };
        for seconds in [None, Some(-5), Some(0), Some(5)] {
            assert_eq!(told(seconds), None);
        }
        let ahead = (-90, "ClockSkew=True(GatewayAhead)", "is 90 s behind the gateway's");
        let behind = (3600, "ClockSkew=True(GatewayBehind)", "is 3600 s ahead of the gateway's");
        for (seconds, expected, words) in [ahead, behind] {
            let (condition, message) = told(Some(seconds)).unwrap();
            assert!(condition == expected && message.contains(words), "{condition}: {message}");
        }
    }

    #[test]
    fn of_a_connection_that_cannot_be_read_nothing_else_is_told() {
        let works = after(&[Learned::Answered]);
        let status = unreadable(&works, 2, "delete it", time("10:30:00"));
        assert_eq!(shown(&status), ["Ready=False(InvalidObject)", "Stalled=True(InvalidObject)"]);
        assert!(status.conditions.iter().all(|it| it.message == "delete it" && it.observed_generation == Some(2)));
        assert_eq!((status.observed_generation, status.backend, status.operation), (2, None, None));
        let again = unreadable(&status, 2, "delete it", time("10:31:00"));
        assert_eq!(again, status, "also the times of its conditions");
        let edited = Facts { generation: 3, ..FACTS };
        let mended = connection_status(&status, Learned::Answered, &edited, time("10:32:00"));
        assert_eq!(shown(&mended), shown(&works));
    }

    #[test]
    fn a_connection_of_no_namespace_says_whether_any_may_use_it_whatever_else_is_learned() {
        let (none, some) =
            (AllowedNamespaces::default(), AllowedNamespaces { names: vec!["a".to_owned()], selector: None });
        for (allowed, expected) in
            [(&none, "NamespacesAllowed=False(NoNamespace)"), (&some, "NamespacesAllowed=True(SomeNamespaces)")]
        {
            let facts = Facts { allowed_namespaces: Some(allowed), ..FACTS };
            for learned in [Learned::Answered, Learned::Failed(WaitReason::CredentialsRejected, "why")] {
                let fresh = OceanBaseConnectionStatus::default();
                let status = connection_status(&fresh, learned, &facts, time("10:00:00"));
                assert!(shown(&status).iter().any(|it| it == expected), "{:?}", shown(&status));
            }
        }
        assert!(!shown(&after(&[Learned::Answered])).iter().any(|it| it.starts_with("NamespacesAllowed")));
    }

    #[test]
    fn news_is_told_from_other_words_for_the_same() {
        let unanswered = after(&[Learned::Failed(WaitReason::EndpointUnreachable, "why")]);
        assert_eq!(unanswered.last_probe_time, None);
        let status = after(&[Learned::Answered]);
        let again = connection_status(&status, Learned::Answered, &FACTS, time("11:00:00"));
        assert!(!says_more(&status, &again));
        assert_eq!(again.conditions[0].last_transition_time, status.conditions[0].last_transition_time);
        let failed = |message| Learned::Failed(WaitReason::EndpointUnreachable, message);
        let (one, other) = (after(&[failed("one")]), after(&[failed("other")]));
        assert!(!says_more(&one, &other) && rewords(&one, &other));
        let (one, again) = (after(&[failed("E: m (request A)")]), after(&[failed("E: m (request B)")]));
        assert!(!rewords(&one, &again), "another request, and the same answer");
        assert!(says_more(&status, &one));
        let batch = Facts { operation: Operation::BatchKillProcessList, ..FACTS };
        assert!(says_more(&status, &connection_status(&status, Learned::Answered, &batch, time("10:00:00"))));
        let probed = Facts { probed: Some(time("11:00:00")), ..FACTS };
        assert!(says_more(&status, &connection_status(&status, Learned::Answered, &probed, time("11:00:00"))));
    }
}
