//! The signed time stamp, which lets the gateway itself refuse late calls. Pure.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// How long the gateway accepts a signed time stamp ("x-acs-date within 15 minutes").
pub const ACCEPTANCE: SignedDuration = SignedDuration::from_mins(15);

/// The source of a call's time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TimeSource {
    /// The dispatch deadline minus 15 minutes. If the process is paused after its last look at the clock and wakes too
    /// late, the gateway refuses the call (`InvalidTimeStamp.Expired`, provably not executed).
    #[default]
    DispatchDeadline,
    /// The current time by the gateway's clock, for a gateway that refused a deadline stamp.
    CurrentTime {
        /// The gateway's clock minus ours.
        gateway_lead: SignedDuration,
    },
}

/// The time stamp and the nonce of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `yyyy-MM-ddTHH:mm:ssZ`.
    pub time: String,
    /// Lets the gateway refuse a copy of the request as a replay.
    pub nonce: String,
}

impl Stamp {
    /// The stamp of a read at `now`. A read has no attempt to derive a nonce from, so the caller passes one.
    /// `gateway_lead` is the gateway's clock minus ours.
    #[must_use]
    pub fn of_read(gateway_lead: SignedDuration, now: Timestamp, nonce: Uuid) -> Self {
        let time = now.saturating_add(gateway_lead).unwrap_or(now);
        Self { time: format_time(time), nonce: nonce.simple().to_string() }
    }
}

impl TimeSource {
    /// The stamp, made at `now`, of request number `request` of an attempt.
    #[must_use]
    pub fn stamp(self, nonce_seed: &str, request: u32, dispatch_deadline: Timestamp, now: Timestamp) -> Stamp {
        let time = match self {
            Self::DispatchDeadline => dispatch_deadline.saturating_sub(ACCEPTANCE),
            Self::CurrentTime { gateway_lead } => now.saturating_add(gateway_lead),
        };
        Stamp { time: format_time(time.unwrap_or(now)), nonce: nonce(nonce_seed, request) }
    }
}

/// Cuts fractions off: a stamp rounded up would be accepted after the deadline.
fn format_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A nonce of 32 hexadecimal digits, as in the official SDKs. Each request of an attempt has its own, as the gateway
/// remembers the nonce even of a request that it refused.
fn nonce(seed: &str, request: u32) -> String {
    use sha2::{Digest as _, Sha256};
    hex::encode(&Sha256::digest(format!("{seed}/{request}"))[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_refuses_the_stamp_right_after_the_dispatch_deadline() {
        let deadline: Timestamp = "2026-10-05T10:00:15Z".parse().unwrap();
        let now = "2026-10-05T10:00:00Z".parse().unwrap();
        let stamp = TimeSource::DispatchDeadline.stamp("a", 0, deadline, now);
        assert_eq!(stamp.time, "2026-10-05T09:45:15Z");
        let fraction = SignedDuration::from_millis(999);
        let stamp = TimeSource::DispatchDeadline.stamp("a", 0, deadline + fraction, now);
        assert_eq!(stamp.time, "2026-10-05T09:45:15Z");
        let lead = SignedDuration::from_secs(-90);
        let stamp = TimeSource::CurrentTime { gateway_lead: lead }.stamp("a", 0, deadline, now);
        assert_eq!(stamp.time, "2026-10-05T09:58:30Z");
    }

    #[test]
    fn a_nonce_belongs_to_one_request_of_one_attempt() {
        assert_eq!(nonce("a", 0), nonce("a", 0));
        assert_eq!(nonce("a", 0).len(), 32);
        assert_ne!(nonce("a", 0), nonce("a", 1));
        assert_ne!(nonce("a", 0), nonce("b", 0));
    }

    #[test]
    fn a_read_has_the_gateways_time_and_its_own_nonce() {
        let now = "2026-10-05T10:00:00.999Z".parse().unwrap();
        let nonce = Uuid::from_u128(0xAB);
        let stamp = Stamp::of_read(SignedDuration::from_secs(90), now, nonce);
        assert_eq!((stamp.time.as_str(), stamp.nonce.as_str()), ("2026-10-05T10:01:30Z", &*format!("{:032x}", 0xAB)));
        assert_eq!(Stamp::of_read(SignedDuration::from_secs(-90), now, nonce).time, "2026-10-05T09:58:30Z");
    }
}
