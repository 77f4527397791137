//! Who leads according to a Lease, and what to write into it. Pure: the caller measures the time without a renewal.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// The longest time a Lease counts without a renewal, whatever it states: the most that `--lease-duration-seconds`
/// takes. Otherwise anyone who may write it could keep every replica from leading for years.
pub const LONGEST: SignedDuration = SignedDuration::from_secs(300);

/// Who holds a Lease, as seen by a replica that wants to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// This replica.
    Own,
    /// Nobody: it was never held, or was given back.
    Free,
    /// Another replica, until it has not renewed the Lease for this long.
    Another(SignedDuration),
}

/// Who holds `lease`, as seen by `identity`. A holder that states no duration is granted `default`.
///
/// The times in the Lease come from its holder's clock and are never compared with another clock: the waiting replica
/// measures for itself how long the Lease has not changed.
#[must_use]
pub fn tenure(lease: &LeaseSpec, identity: &str, default: SignedDuration) -> Tenure {
    match lease.holder_identity.as_deref() {
        None | Some("") => Tenure::Free,
        Some(holder) if holder == identity => Tenure::Own,
        Some(_) => {
            let stated = lease.lease_duration_seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
            Tenure::Another(stated.unwrap_or(default).clamp(SignedDuration::ZERO, LONGEST))
        }
    }
}

/// The duration that `lease` states, in seconds, if it is longer than [`LONGEST`].
#[must_use]
pub fn overstated(lease: &LeaseSpec) -> Option<i32> {
    lease.lease_duration_seconds.filter(|seconds| SignedDuration::from_secs((*seconds).into()) > LONGEST)
}

/// The Lease as a new holder writes it; `before` is the old content, if any.
#[must_use]
pub fn taken(before: Option<LeaseSpec>, identity: &str, duration: SignedDuration, now: Timestamp) -> LeaseSpec {
    let transitions = before.as_ref().map(|lease| lease.lease_transitions.unwrap_or_default().saturating_add(1));
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        acquire_time: Some(MicroTime(now)),
        lease_transitions: Some(transitions.unwrap_or_default()),
        ..renewed(before.unwrap_or_default(), duration, now)
    }
}

/// The Lease as its holder renews it.
#[must_use]
pub fn renewed(lease: LeaseSpec, duration: SignedDuration, now: Timestamp) -> LeaseSpec {
    let seconds = i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
    LeaseSpec { renew_time: Some(MicroTime(now)), lease_duration_seconds: Some(seconds), ..lease }
}

/// The Lease as its holder releases it. Its duration becomes 1 s for clients that look only at the duration.
#[must_use]
pub fn given_back(lease: LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec { holder_identity: Some(String::new()), ..renewed(lease, SignedDuration::from_secs(1), now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: SignedDuration = SignedDuration::from_secs(15);

    fn now() -> Timestamp {
        "2026-10-05T10:00:00Z".parse().unwrap()
    }

    fn of(identity: &str) -> LeaseSpec {
        taken(None, identity, DURATION, now())
    }

    #[test]
    fn a_lease_is_ones_own_anothers_or_free() {
        let default = SignedDuration::from_secs(7);
        assert_eq!(tenure(&LeaseSpec::default(), "a", default), Tenure::Free);
        assert_eq!(tenure(&given_back(of("b"), now()), "a", default), Tenure::Free);
        assert_eq!(tenure(&of("a"), "a", default), Tenure::Own);
        assert_eq!(tenure(&of("b"), "a", default), Tenure::Another(DURATION), "as its holder says");
        let silent = LeaseSpec { lease_duration_seconds: None, ..of("b") };
        assert_eq!(tenure(&silent, "a", default), Tenure::Another(default));
        for (stated, waited) in [(i32::MAX, LONGEST), (-1, SignedDuration::ZERO)] {
            let odd = LeaseSpec { lease_duration_seconds: Some(stated), ..of("b") };
            assert_eq!(tenure(&odd, "a", default), Tenure::Another(waited), "nobody waits for ever");
        }
        let stating = |seconds| LeaseSpec { lease_duration_seconds: Some(seconds), ..of("b") };
        assert_eq!(overstated(&stating(301)), Some(301));
        assert_eq!([overstated(&stating(300)), overstated(&silent)], [None, None], "as long as can be set");
    }

    #[test]
    fn each_new_holder_counts_and_a_renewal_does_not() {
        let later = now() + SignedDuration::from_secs(5);
        let first = of("a");
        assert_eq!(first.lease_transitions, Some(0));
        let renewed = renewed(first.clone(), DURATION, later);
        assert_eq!(renewed, LeaseSpec { renew_time: Some(MicroTime(later)), ..first });
        let freed = given_back(renewed, later);
        assert_eq!((freed.holder_identity.as_deref(), freed.lease_transitions), (Some(""), Some(0)));
        let second = taken(Some(freed), "b", DURATION, later);
        assert_eq!((second.holder_identity.as_deref(), second.lease_transitions), (Some("b"), Some(1)));
        assert_eq!((second.acquire_time, second.lease_duration_seconds), (Some(MicroTime(later)), Some(15)));
    }

    #[test]
    fn what_others_have_put_into_the_lease_stays() {
        let marked = LeaseSpec { strategy: Some("OldestEmulationVersion".into()), ..of("b") };
        assert_eq!(taken(Some(marked.clone()), "a", DURATION, now()).strategy, marked.strategy);
        assert_eq!(given_back(marked.clone(), now()).strategy, marked.strategy);
    }
}
