//! The identities that the operator lends to namespaces, by `--allow-identity`. Pure.

use std::fmt;
use std::str::FromStr;

use sessionkill_api::CredentialSource;

use crate::names::is_label;
use crate::text::quoted;

/// What the option says of the role of the operator's node.
const INSTANCE: &str = "instance";

/// A namespace, and the identity that it may use: rights that nobody in the namespace holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lent {
    namespace: String,
    role: Role,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Role {
    /// A RAM role that trusts the operator's own `ServiceAccount`.
    Operator(String),
    /// The role of the operator's node.
    Instance,
}

impl Lent {
    /// What must be lent to `namespace` for it to use `source`; `None` if nothing need be lent.
    #[must_use]
    pub fn wanted(namespace: &str, source: &CredentialSource) -> Option<Self> {
        let role = match source {
            CredentialSource::Operator(operator) => Role::Operator(operator.role_arn.clone()),
            CredentialSource::Instance => Role::Instance,
            CredentialSource::Secret(_) | CredentialSource::ServiceAccount(_) => return None,
        };
        Some(Self { namespace: namespace.to_owned(), role })
    }

    /// Whether it is the role of the operator's node.
    #[must_use]
    pub fn is_instance(&self) -> bool {
        self.role == Role::Instance
    }
}

/// As the option takes it.
impl fmt::Display for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match &self.role {
            Role::Operator(arn) => arn,
            Role::Instance => INSTANCE,
        };
        write!(f, "{}={role}", self.namespace)
    }
}

impl FromStr for Lent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            let text = quoted(text, 64);
            format!(
                "{text} lends nothing: write NAMESPACE=ROLE, where ROLE is the ARN of a RAM role, such as \
                 acs:ram::123456789012:role/sessionkill, or {INSTANCE} for the role of the operator's node"
            )
        };
        let (namespace, role) = text.split_once('=').ok_or_else(wrong)?;
        if !is_label(namespace) {
            return Err(wrong());
        }
        let role = match role {
            INSTANCE => Role::Instance,
            arn if is_role(arn) => Role::Operator(arn.to_owned()),
            _ => return Err(wrong()),
        };
        Ok(Self { namespace: namespace.to_owned(), role })
    }
}

/// Whether `text` is the ARN of a RAM role, by the rule that connections have, too: no other could be named.
fn is_role(text: &str) -> bool {
    let Some((account, name)) = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(":role/")) else {
        return false;
    };
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=20).contains(&account.len())
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && (1..=128).contains(&name.len())
        && name.bytes().all(of_name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(fields: serde_json::Value) -> CredentialSource {
        serde_json::from_value::<sessionkill_api::IdentitySpec>(fields).unwrap().source
    }

    #[test]
    fn only_the_exact_pair_is_lent() {
        let arn = "acs:ram::1:role/kill";
        let lent: Lent = format!("shop={arn}").parse().unwrap();
        let operator = |arn: &str| source(json!({"operatorIdentity": {"roleARN": arn}}));
        assert_eq!(Lent::wanted("shop", &operator(arn)), Some(lent.clone()));
        assert_ne!(Lent::wanted("shop2", &operator(arn)), Some(lent.clone()));
        assert_ne!(Lent::wanted("shop", &operator("acs:ram::1:role/kill2")), Some(lent.clone()));
        assert_ne!(Lent::wanted("shop", &source(json!({"instanceRole": {}}))), Some(lent));
        let instance: Lent = "shop=instance".parse().unwrap();
        assert_eq!(Lent::wanted("shop", &source(json!({"instanceRole": {}}))), Some(instance));
        assert_eq!(Lent::wanted("shop", &source(json!({"secretRef": {"name": "ak"}}))), None);
        let account = json!({"name": "a", "roleARN": arn, "oidcProviderARN": "acs:ram::1:oidc-provider/p"});
        assert_eq!(Lent::wanted("shop", &source(json!({"serviceAccountRef": account}))), None);
    }

    #[test]
    fn what_could_never_be_named_is_refused_at_the_start() {
        for text in ["shop=instance", "shop=acs:ram::123456789012:role/session-kill_1.x"] {
            assert_eq!(text.parse::<Lent>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "shop",
            "=instance",
            "Shop=instance",
            "*=instance",
            "shop=",
            "shop=*",
            "shop=Instance",
            "shop=acs:ram::1:role/",
            "shop=acs:ram::1:role/*",
            "shop=acs:ram::x:role/kill",
            "shop=acs:ram::1:user/kill",
            "shop=acs:ram::1:role/kill ",
        ] {
            assert!(text.parse::<Lent>().unwrap_err().contains("write NAMESPACE=ROLE"), "{text}");
        }
    }
}
