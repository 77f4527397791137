//! Whether a role trusts who wants to assume it.

use super::roles::{Role, Trust};
use crate::gateway::identity::Identity;

/// Whether the role trusts this caller of `AssumeRole`.
#[must_use]
pub fn trusts(role: &Role, caller: &Identity, external_id: Option<&str>) -> bool {
    let name = match caller {
        Identity::AccessKey { id } => id,
        Identity::AssumedRole { role_arn, .. } | Identity::InstanceRole { role_arn } => role_arn,
        Identity::OidcSubject { .. } => return false,
    };
    role.trust.iter().any(|trust| match trust {
        Trust::Caller { who, external_id: expected } => {
            who == name && expected.as_deref().is_none_or(|expected| external_id == Some(expected))
        }
        Trust::OidcSubject { .. } => false,
    })
}

/// Whether the role trusts this subject of a token that the provider vouches for.
#[must_use]
pub fn trusts_subject(role: &Role, provider_arn: &str, token_subject: &str) -> bool {
    role.trust.iter().any(|trust| match trust {
        Trust::OidcSubject { provider, subject } => provider == provider_arn && subject == token_subject,
        Trust::Caller { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::sts::roles::RoleArn;

    fn role() -> Role {
        Role::new(RoleArn::new("1", "kill"))
    }

    fn key(id: &str) -> Identity {
        Identity::AccessKey { id: id.into() }
    }

    #[test]
    fn a_role_trusts_only_whom_it_names() {
        let arn = "acs:ram::1:role/first";
        let trusting = role().trusting("key").trusting(arn);
        let first = Identity::AssumedRole { role_arn: arn.into(), session_name: "s".into() };
        for trusted in [key("key"), first, Identity::InstanceRole { role_arn: arn.into() }] {
            assert!(trusts(&trusting, &trusted, None), "{trusted:?}");
            assert!(trusts(&trusting, &trusted, Some("not asked for")), "{trusted:?}");
            assert!(!trusts(&role(), &trusted, None), "{trusted:?}");
        }
        assert!(!trusts(&trusting, &key("other"), None));
        assert!(!trusts(&trusting, &Identity::OidcSubject { subject: "key".into() }, None));
    }

    #[test]
    fn an_external_id_must_be_the_expected_one() {
        let role = role().trusting_with("key", "e1");
        assert!(trusts(&role, &key("key"), Some("e1")));
        assert!(!trusts(&role, &key("key"), Some("e2")) && !trusts(&role, &key("key"), None));
    }

    #[test]
    fn a_subject_is_trusted_with_its_provider_only() {
        let role = role().trusting_subject("p", "s").trusting("s");
        assert!(trusts_subject(&role, "p", "s"));
        assert!(!trusts_subject(&role, "other", "s") && !trusts_subject(&role, "p", "s2"));
    }
}
