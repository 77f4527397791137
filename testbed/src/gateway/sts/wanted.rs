//! The session that a call asks for.

use std::time::Duration;

use super::{
    refusals,
    roles::{HOUR, Role, RoleArn},
};
use crate::gateway::{errors::ApiError, policy::Policy, request::Call};

/// The shortest session.
const SHORTEST: Duration = Duration::from_mins(15);
/// How many characters the name of a session has.
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 2..=64;

/// A session of a role. Whether the role trusts the caller is not decided yet.
pub struct Wanted<'a> {
    /// The role.
    pub role: &'a Role,
    /// The name of the session.
    pub session_name: &'a str,
    /// What limits it.
    pub policy: Option<Policy>,
    /// How long it lasts.
    pub duration: Duration,
}

impl<'a> Wanted<'a> {
    /// Reads the parameters of `AssumeRole` and of `AssumeRoleWithOIDC`.
    pub fn of(call: &'a Call, roles: &'a [Role]) -> Result<Self, ApiError> {
        let arn: RoleArn = call.required("RoleArn")?.parse().map_err(|_| refusals::invalid("RoleArn"))?;
        let session_name = call.required("RoleSessionName")?;
        if !is_name(session_name) {
            return Err(refusals::invalid("RoleSessionName"));
        }
        let policy = call.optional("Policy").map(Policy::parse);
        let policy = policy.map(|policy| policy.ok_or_else(|| refusals::invalid("PolicyGrammar"))).transpose()?;
        let role = roles.iter().find(|role| role.arn == arn).ok_or_else(refusals::unknown_role)?;
        let duration = duration(call.optional("DurationSeconds"), role);
        let duration = duration.ok_or_else(|| refusals::invalid("DurationSeconds"))?;
        Ok(Self { role, session_name, policy, duration })
    }
}

fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".@-_".contains(&byte);
    NAME_LENGTHS.contains(&text.len()) && text.bytes().all(is_allowed)
}

fn duration(seconds: Option<&str>, role: &Role) -> Option<Duration> {
    let longest = Duration::from_secs(role.max_session_seconds);
    let Some(seconds) = seconds else { return Some(HOUR.min(longest)) };
    let wanted = Duration::from_secs(seconds.parse().ok()?);
    (SHORTEST..=longest).contains(&wanted).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_session_has_few_characters_of_few_kinds() {
        for name in ["ab", "sk-default-a.b@c_d", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn a_session_lasts_from_900_seconds_to_what_its_role_allows() {
        let role = |max_session_seconds| Role { max_session_seconds, ..Role::new(RoleArn::new("1", "kill")) };
        let seconds = |asked, most| duration(asked, &role(most)).map(|duration| duration.as_secs());
        assert_eq!(seconds(None, 43_200), Some(3600));
        assert_eq!(seconds(None, 1800), Some(1800));
        assert_eq!(seconds(Some("900"), 3600), Some(900));
        assert_eq!(seconds(Some("7200"), 7200), Some(7200));
        for wrong in ["899", "7201", "x", "-900", "1e4"] {
            assert_eq!(seconds(Some(wrong), 7200), None, "{wrong}");
        }
    }
}
