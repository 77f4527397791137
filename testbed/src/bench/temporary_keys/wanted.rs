//! What can be measured with access keys that expire.

use std::{fmt, time::Duration};

/// What is measured with access keys that expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum TemporaryKeys {
    /// Kills for `length`, with keys that live for `life`.
    Short { life: Duration, length: Duration },
    /// Connections with a role each, in parts that last for `part`.
    Roles { roles: u32, part: Duration },
}

impl fmt::Display for TemporaryKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { life, length } => {
                write!(f, "5 kills a second for {} s with keys that live for {} s", length.as_secs(), life.as_secs())
            }
            Self::Roles { roles, .. } => write!(f, "{roles} connections with a role each"),
        }
    }
}
