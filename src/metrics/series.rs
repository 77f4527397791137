//! Which metrics there are, and which series from the start.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use strum::VariantArray as _;

use super::labels::{Call, ClaimResult, Code, Ending, Output, Stage};
use super::{Metrics, labels, of_call, of_cause, of_renewal, of_request, of_resolution, of_session};
use crate::api::{Operation, Outcome, SessionOutcome, SessionReason, WaitReason};

/// How a session can end: outcome and reason.
const SESSION_ENDS: [(SessionOutcome, SessionReason); 17] = {
    use SessionOutcome::{Failed, Gone, Killed, Skipped, Unknown};
    use SessionReason as Why;
    [
        (Killed, Why::Verified),
        (Killed, Why::IdReused),
        (Killed, Why::Accepted),
        (Gone, Why::NotFound),
        (Gone, Why::IdReused),
        (Skipped, Why::DryRun),
        (Skipped, Why::PreconditionMismatch),
        (Skipped, Why::NotAllowed),
        (Skipped, Why::DeadlineExceeded),
        (Skipped, Why::Deleted),
        (Failed, Why::StillPresent),
        (Failed, Why::KillRefused),
        (Failed, Why::RequestRejected),
        (Unknown, Why::NotVerified),
        (Unknown, Why::MissingInAnswer),
        (Unknown, Why::AnswerLost),
        (Unknown, Why::HolderLost),
    ]
};

impl Metrics {
    /// Puts all metrics but the gauges into a registry.
    pub(super) fn register(&self, to: &mut Registry) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "The operator that runs", build);
        to.register(
            "requests_finished",
            "SessionKills that ended, by what they came to and by the reason of their condition Succeeded",
            self.requests.clone(),
        );
        let help = "From the creation of a SessionKill, which the API server notes in whole seconds, to its end; with the \
                    time for which it was held back or waited";
        to.register_with_unit("request_completion", help, Unit::Seconds, self.completion.clone());
        to.register(
            "sessions_finished",
            "Sessions of SessionKills that ended; not those of an outcome that was copied from another SessionKill",
            self.sessions.clone(),
        );
        to.register(
            "attempts_put_off",
            "Attempts that ended with waiting, by the reason: each SessionKill is tried again until its notAfterTime",
            self.put_off.clone(),
        );
        to.register("claims", "Tries to claim a kill, and claims that were given back", self.claims.clone());
        to.register(
            "duplicates_suppressed",
            "SessionKills that ended with the outcome of another one of the same content: nothing was sent for them",
            self.duplicates.clone(),
        );
        to.register(
            "unknown_sessions",
            "Sessions of which it was open after the call, or after the loss of its holder, what became of them. \
             NotVerified is the rule for an operation whose answer names no session",
            self.unknown.clone(),
        );
        to.register(
            "unknown_sessions_resolved",
            "The same sessions, by what the process list said in the end; Unknown if it could not be read",
            self.resolved.clone(),
        );
        to.register(
            "target_mismatches",
            "Calls whose answer named another user, database or client than was expected or seen before",
            self.target_mismatches.clone(),
        );
        let help = "Calls of backends, each request on its own, by operation and by the class of the answer's code";
        to.register_with_unit("upstream_call", help, Unit::Seconds, self.calls.clone());
        let help = "How long requests stayed in each stage of their way";
        to.register_with_unit("stage", help, Unit::Seconds, self.stages.clone());
        to.register("call_requests", "SessionKills that one kill call served", self.call_requests.clone());
        to.register("call_sessions", "Sessions that one kill call named", self.call_sessions.clone());
        to.register(
            "lines_lost",
            "Lines of logs and of the audit that found no room, as those before them are not read. What a lost audit line would \
             have said is in the SessionKillReceipt",
            self.lines_lost.clone(),
        );
        to.register(
            "events_dropped",
            "Events that were not written, as too many of their namespace wait",
            self.events_dropped.clone(),
        );
        to.register(
            "credential_renewals",
            "Renewals of temporary access keys, by the source of the first key and by the result: Ok, or why there is no new \
             key. One that is still valid stays in use",
            self.renewals.clone(),
        );
        let help = "Calls of the Security Token Service, by action, whatever came of them";
        to.register_with_unit("sts_call", help, Unit::Seconds, self.sts_calls.clone());
    }

    /// Makes the series of all counters.
    pub(super) fn start_at_zero(&self) {
        for reason in Outcome::VARIANTS {
            drop(self.requests.get_or_create(&of_request(*reason)));
        }
        for (outcome, reason) in SESSION_ENDS {
            drop(self.sessions.get_or_create(&of_session(outcome, reason)));
        }
        for reason in WaitReason::VARIANTS {
            drop(self.put_off.get_or_create(&[("reason", reason.as_str())]));
        }
        for result in ClaimResult::VARIANTS {
            drop(self.claims.get_or_create(&[("result", result.into())]));
        }
        for output in Output::VARIANTS {
            drop(self.lines_lost(*output));
        }
        for source in labels::SOURCES {
            for failed in std::iter::once(None).chain(labels::NOT_RENEWED.map(Some)) {
                drop(self.renewals.get_or_create(&of_renewal(source, failed)));
            }
        }
        for cause in labels::CAUSES {
            drop(self.unknown.get_or_create(&of_cause(*cause)));
            for outcome in labels::RESOLUTIONS {
                drop(self.resolved.get_or_create(&of_resolution(*cause, *outcome)));
            }
        }
    }

    /// Makes the series that otherwise come with their first event, for the reference. `list_actions` are those of all
    /// backends.
    pub fn make_every_series(&self, list_actions: &[&'static str]) {
        for ending in Ending::VARIANTS {
            drop(self.completion.get_or_create(&[("outcome", ending.into())]));
        }
        let kills = Operation::VARIANTS.iter().copied().map(Call::Kill);
        let lists = list_actions.iter().map(|action| Call::List(action));
        for call in kills.chain(lists).chain([Call::Probe, Call::Connect]) {
            for code in Code::VARIANTS {
                drop(self.calls.get_or_create(&of_call(call, *code)));
            }
        }
        for action in labels::STS_ACTIONS {
            drop(self.sts_calls.get_or_create(&[("action", action)]));
        }
        for stage in Stage::VARIANTS {
            drop(self.stages.get_or_create(&[("stage", stage.into())]));
        }
    }
}
