//! What the access key of a role is limited to, beside what the role itself may. Pure.

use serde_json::{Value, json};
use sessionkill_api::{KillOperation, Operation, SessionPolicy};

use crate::alibaba::LIST_ACTION;

/// The most characters of a policy that STS takes.
pub const LONGEST: usize = 2048;

/// Which calls an access key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Those that end sessions, and those that list them.
    All,
    /// Those that end sessions.
    Kills,
    /// Those that list sessions.
    Lists,
}

/// The session policy of an access key that signs `calls`; `None` if it has none. It is compact: an official client signs
/// a blank in it wrongly, and so a verifier may. The error says why there is none: a policy that does not fit must not
/// become a wider one.
pub fn session_policy(
    policy: SessionPolicy,
    calls: Calls,
    kill_operation: KillOperation,
    instance_ids: &[String],
) -> Result<Option<String>, String> {
    let resource = match policy {
        SessionPolicy::None => return Ok(None),
        SessionPolicy::Actions => json!("*"),
        SessionPolicy::Instances if instance_ids.is_empty() => {
            return Err(
                "sessionPolicy is Instances, and no instance is listed: list some in spec.alibabaCloud.instanceIDs"
                    .into(),
            );
        }
        SessionPolicy::Instances => {
            instance_ids.iter().map(|id| format!("acs:oceanbase:*:*:instance/{id}")).collect::<Value>()
        }
    };
    let actions: Vec<_> = actions(calls, kill_operation).map(|action| format!("oceanbase:{action}")).collect();
    // Not by `json!`, which sorts the members: the version comes first in every example.
    let (actions, resource) = (Value::from(actions), resource);
    let text =
        format!(r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":{actions},"Resource":{resource}}}]}}"#);
    match text.chars().count() {
        ..=LONGEST => Ok(Some(text)),
        length => Err(format!(
            "the session policy has {length} characters, and STS takes {LONGEST}: list fewer instances in \
             spec.alibabaCloud.instanceIDs, or set sessionPolicy to Actions"
        )),
    }
}

/// The operations that are called.
fn actions(calls: Calls, kill_operation: KillOperation) -> impl Iterator<Item = &'static str> {
    let kills: &[Operation] = match (calls, kill_operation) {
        (Calls::Lists, _) => &[],
        (_, KillOperation::Auto) => &[Operation::KillProcessList, Operation::BatchKillProcessList],
        (_, KillOperation::KillProcessList) => &[Operation::KillProcessList],
        (_, KillOperation::BatchKillProcessList) => &[Operation::BatchKillProcessList],
    };
    let lists = (calls != Calls::Kills).then_some(LIST_ACTION);
    lists.into_iter().chain(kills.iter().map(|operation| operation.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("ob317v4uif{n:04}")).collect()
    }

    #[test]
    fn a_key_may_call_only_what_it_is_for() {
        let policy = |calls, operation| session_policy(SessionPolicy::Actions, calls, operation, &[]).unwrap().unwrap();
        assert_eq!(
            policy(Calls::All, KillOperation::KillProcessList),
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["oceanbase:DescribeProcessStatsComposition","oceanbase:KillProcessList"],"Resource":"*"}]}"#
        );
        let lists = policy(Calls::Lists, KillOperation::Auto);
        assert!(lists.contains(r#""Action":["oceanbase:DescribeProcessStatsComposition"]"#), "{lists}");
        let kills = policy(Calls::Kills, KillOperation::Auto);
        assert!(
            kills.contains(r#""Action":["oceanbase:KillProcessList","oceanbase:BatchKillProcessList"]"#),
            "{kills}"
        );
        let batch = policy(Calls::Kills, KillOperation::BatchKillProcessList);
        assert!(batch.contains(r#""Action":["oceanbase:BatchKillProcessList"]"#), "{batch}");
        assert_eq!(session_policy(SessionPolicy::None, Calls::All, KillOperation::Auto, &ids(1)), Ok(None));
    }

    #[test]
    fn a_policy_that_does_not_fit_never_becomes_a_wider_one() {
        let policy = |count| session_policy(SessionPolicy::Instances, Calls::All, KillOperation::Auto, &ids(count));
        let one = policy(1).unwrap().unwrap();
        assert!(one.contains(r#""Resource":["acs:oceanbase:*:*:instance/ob317v4uif0000"]"#) && !one.contains(' '));
        let longest = (1..100).take_while(|count| policy(*count).is_ok()).last().unwrap();
        assert!(policy(longest).unwrap().unwrap().len() > LONGEST - 50, "{longest}");
        let error = policy(longest + 1).unwrap_err();
        assert!(error.contains("and STS takes 2048: list fewer instances"), "{error}");
        assert!(policy(0).unwrap_err().contains("no instance is listed"));
    }
}
