//! One piece of advice.

/// What a reason of a request means, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Advice {
    /// The reason of the condition Succeeded.
    pub reason: &'static str,
    /// Why it waits, or what happened.
    pub meaning: &'static str,
    /// What to do.
    pub todo: &'static str,
}

/// What an outcome of a session means in one situation, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct SessionAdvice {
    /// The situation.
    pub situation: &'static str,
    /// The outcome.
    pub outcome: &'static str,
    /// Its reason.
    pub reason: &'static str,
    /// What to do.
    pub todo: &'static str,
}
