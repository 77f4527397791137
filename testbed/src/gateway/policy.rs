//! Policies of sessions. They are enforced by action only: a statement about any resource counts.

use serde::Deserialize;

/// The longest policy, in characters.
const LONGEST: usize = 2048;

/// A policy, such as
///
/// ```json
/// {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "oceanbase:Describe*", "Resource": "*"}]}
/// ```
#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Policy {
    version: String,
    statement: Vec<Statement>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    effect: Effect,
    action: OneOrMore,
    resource: OneOrMore,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::More(all) => all,
        }
    }
}

impl Policy {
    /// Reads a policy. `None` if it is too long, or if anything in it is unknown or missing: then nobody can tell what
    /// it would allow.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let policy: Self = Some(text).filter(|text| text.chars().count() <= LONGEST).and_then(read)?;
        let is_whole = |it: &Statement| !it.action.all().is_empty() && !it.resource.all().is_empty();
        (policy.version == "1" && !policy.statement.is_empty() && policy.statement.iter().all(is_whole))
            .then_some(policy)
    }

    /// Whether a statement allows this action and none denies it.
    #[must_use]
    pub fn allows(&self, action: &str) -> bool {
        let has = |effect: Effect| {
            let of_effect = self.statement.iter().filter(|it| it.effect == effect);
            of_effect.flat_map(|it| it.action.all()).any(|pattern| matches(pattern, action))
        };
        has(Effect::Allow) && !has(Effect::Deny)
    }
}

fn read(text: &str) -> Option<Policy> {
    serde_json::from_str(text).ok()
}

/// Compares without regard to case. `*` stands for any number of characters.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == action };
    let Some(mut action) = action.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return action.ends_with(part);
        }
        let Some(found) = action.find(part) else { return false };
        action = &action[found + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(statements: &serde_json::Value) -> Option<Policy> {
        Policy::parse(&json!({"Version": "1", "Statement": statements}).to_string())
    }

    #[test]
    fn an_action_is_allowed_only_if_a_statement_names_it_and_none_denies_it() {
        let statements = json!([
            {"Effect": "Allow", "Action": ["oceanbase:Describe*", "oceanbase:KillProcessList"], "Resource": "*"},
            {"Effect": "Deny", "Action": "oceanbase:DescribeSecrets", "Resource": ["*"]},
        ]);
        let policy = policy(&statements).unwrap();
        let allowed = ["oceanbase:DescribeProcessStatsComposition", "oceanbase:killprocesslist"];
        let refused = ["oceanbase:DescribeSecrets", "oceanbase:BatchKillProcessList", "sts:AssumeRole", ""];
        assert!(allowed.iter().all(|action| policy.allows(action)));
        assert!(!refused.iter().any(|action| policy.allows(action)));
    }

    #[test]
    fn a_star_stands_for_any_characters_and_for_none() {
        for (pattern, action, expected) in [
            ("*", "a:b", true),
            ("a:*", "a:", true),
            ("a:*", "b:a:", false),
            ("*b", "a:b", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("a*a", "a", false),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, action), expected, "{pattern} {action}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_policy() {
        let allow = json!({"Effect": "Allow", "Action": "oceanbase:*", "Resource": "*"});
        assert!(policy(&json!([allow])).is_some());
        for (field, value) in [
            ("Effect", json!("Maybe")),
            ("Action", json!([])),
            ("Action", json!(7)),
            ("Resource", json!(null)),
            ("NotAction", json!("oceanbase:*")),
        ] {
            let mut statement = allow.clone();
            statement[field] = value;
            assert!(policy(&json!([statement])).is_none(), "{statement}");
        }
        let long = json!({"Effect": "Allow", "Action": "a:".to_owned() + &"x".repeat(LONGEST), "Resource": "*"});
        for text in [policy_text(&[]), policy_text(&[long]), "{}".into(), String::new()] {
            assert!(Policy::parse(&text).is_none(), "{text}");
        }
        let of_another_version = json!({"Version": "2", "Statement": [allow]}).to_string();
        assert!(Policy::parse(&of_another_version).is_none());
    }

    fn policy_text(statements: &[serde_json::Value]) -> String {
        json!({"Version": "1", "Statement": statements}).to_string()
    }
}
