//! What to do about each reason: the words of docs/troubleshooting.md.

/// What a reason means, and what to do.
pub struct Advice {
    /// The reason, as in a condition or of a session.
    pub reason: &'static str,
    /// What happened, or why it waits.
    pub meaning: &'static str,
    /// What to do.
    pub todo: &'static str,
}

/// The advice for a reason of a request's summary.
pub fn of(reason: &str) -> Option<&'static Advice> {
    REQUESTS.iter().find(|advice| advice.reason == reason)
}

const REQUESTS: &[Advice] = &[];
