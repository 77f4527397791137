//! The roles that can be assumed, and whom they trust.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use anyhow::ensure;
use serde::Deserialize;

/// The longest session of a role that does not say otherwise, and the default of `DurationSeconds`.
pub const HOUR: Duration = Duration::from_hours(1);

/// The name of a role, `acs:ram::ACCOUNT:role/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct RoleArn {
    /// The account.
    pub account: String,
    /// The role's name within it.
    pub name: String,
}

impl RoleArn {
    /// This role of this account.
    #[must_use]
    pub fn new(account: &str, name: &str) -> Self {
        Self { account: account.to_owned(), name: name.to_owned() }
    }
}

impl FromStr for RoleArn {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let rest = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(":role/"));
        let (account, name) = rest.unwrap_or_default();
        let is_number = !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit());
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        ensure!(
            is_number && !name.is_empty() && name.bytes().all(is_name),
            "{text} is no role: write acs:ram::ACCOUNT:role/NAME"
        );
        Ok(Self::new(account, name))
    }
}

impl TryFrom<String> for RoleArn {
    type Error = anyhow::Error;

    fn try_from(text: String) -> anyhow::Result<Self> {
        text.parse()
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "acs:ram::{}:role/{}", self.account, self.name)
    }
}

/// A role. `testbed gateway --sts-roles` reads a list of them as JSON:
///
/// ```json
/// [{"arn": "acs:ram::1:role/kill", "trust": [{"caller": {"who": "testbed", "externalId": "e1"}}],
///   "maxSessionSeconds": 7200}]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    /// Its name.
    pub arn: RoleArn,
    /// Who may assume it: whoever one of these names. Without any, nobody.
    #[serde(default)]
    pub trust: Vec<Trust>,
    /// The longest session, in seconds. The real service knows 3600 to 43200. Default: 3600.
    #[serde(default = "an_hour")]
    pub max_session_seconds: u64,
}

fn an_hour() -> u64 {
    HOUR.as_secs()
}

/// One statement of a role's trust policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum Trust {
    /// A caller of `AssumeRole`.
    Caller {
        /// The ID of an access key, or the ARN of a role that was assumed or is the instance's.
        who: String,
        /// The `ExternalId` without which it is refused.
        external_id: Option<String>,
    },
    /// A caller of `AssumeRoleWithOIDC`.
    OidcSubject {
        /// The ARN of the OIDC provider.
        provider: String,
        /// The token's `sub`.
        subject: String,
    },
}

impl Role {
    /// A role that trusts nobody, with sessions of an hour at most.
    #[must_use]
    pub fn new(arn: RoleArn) -> Self {
        Self { arn, trust: vec![], max_session_seconds: an_hour() }
    }

    /// Lets it trust this caller.
    #[must_use]
    pub fn trusting(self, who: &str) -> Self {
        self.and(Trust::Caller { who: who.to_owned(), external_id: None })
    }

    /// Lets it trust this caller if it knows the external ID.
    #[must_use]
    pub fn trusting_with(self, who: &str, external_id: &str) -> Self {
        self.and(Trust::Caller { who: who.to_owned(), external_id: Some(external_id.to_owned()) })
    }

    /// Lets it trust tokens of this provider with this subject.
    #[must_use]
    pub fn trusting_subject(self, provider: &str, subject: &str) -> Self {
        self.and(Trust::OidcSubject { provider: provider.to_owned(), subject: subject.to_owned() })
    }

    fn and(mut self, trust: Trust) -> Self {
        self.trust.push(trust);
        self
    }
}

/// An OIDC provider, whose tokens are those of an API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcProvider {
    /// Its name, `acs:ram::ACCOUNT:oidc-provider/NAME`.
    pub arn: String,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The values that `aud` may have: one of them is enough.
    pub client_ids: Vec<String>,
    /// The way to the API server whose keys sign the tokens. It is read at the first token.
    pub kubeconfig: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_role_has_an_account_and_a_name() {
        let text = "acs:ram::123456789012:role/Kill_role-1.x";
        let arn: RoleArn = text.parse().unwrap();
        assert_eq!(
            (arn.account.as_str(), arn.name.as_str(), arn.to_string()),
            ("123456789012", "Kill_role-1.x", text.into())
        );
        for wrong in [
            "",
            "acs:ram::1:role/",
            "acs:ram:::role/a",
            "acs:ram::x:role/a",
            "acs:ram::1:user/a",
            "acs:ram::1:role/a/b",
        ] {
            assert!(wrong.parse::<RoleArn>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn roles_are_read_from_json() {
        let text = r#"[
            {"arn": "acs:ram::1:role/a", "trust": [{"caller": {"who": "key", "externalId": "e"}}], "maxSessionSeconds": 7200},
            {"arn": "acs:ram::1:role/b", "trust": [{"oidcSubject": {"provider": "p", "subject": "s"}}]},
            {"arn": "acs:ram::1:role/c"}
        ]"#;
        let role = |name| Role::new(RoleArn::new("1", name));
        let long = Role { max_session_seconds: 7200, ..role("a").trusting_with("key", "e") };
        let expected = [long, role("b").trusting_subject("p", "s"), role("c")];
        assert_eq!(serde_json::from_str::<Vec<Role>>(text).unwrap(), expected);
        for wrong in [r#"[{"arn": "a"}]"#, r#"[{"arn": "acs:ram::1:role/c", "trusts": []}]"#] {
            assert!(serde_json::from_str::<Vec<Role>>(wrong).is_err(), "{wrong}");
        }
    }
}
