//! The answers of STS, in the shapes of the real API.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{oidc::VerifiedToken, roles::RoleArn, tokens::IssuedKey};
use crate::gateway::identity::Identity;

/// The account that the gateway's own access keys belong to.
pub const ACCOUNT: &str = "123456789012";
/// The session of an instance's role.
const INSTANCE_SESSION: &str = "i-testbed";

/// The answer of `AssumeRole`.
#[must_use]
pub fn assumed(key: &IssuedKey, role: &RoleArn, session_name: &str) -> Value {
    json!({
        "AssumedRoleUser": {
            "Arn": session_arn(role, session_name),
            "AssumedRoleId": session_id(role, session_name),
        },
        "Credentials": key.members(),
    })
}

/// The answer of `AssumeRoleWithOIDC`.
#[must_use]
pub fn assumed_with(token: &VerifiedToken, key: &IssuedKey, role: &RoleArn, session_name: &str) -> Value {
    let claims = &token.claims;
    let mut answer = assumed(key, role, session_name);
    answer["OIDCTokenInfo"] = json!({
        "Subject": claims.sub,
        "Issuer": claims.iss,
        "ClientIds": claims.audiences().join(","),
        "ExpirationTime": time(claims.exp),
        "IssuanceTime": claims.iat.and_then(time),
        "VerificationInfo": "Success",
    });
    answer
}

/// The answer of `GetCallerIdentity`. `None` for whom has no key.
#[must_use]
pub fn identity(caller: &Identity) -> Option<Value> {
    let (role_arn, session_name) = match caller {
        Identity::AccessKey { id } => return Some(user(id)),
        Identity::AssumedRole { role_arn, session_name } => (role_arn, session_name.as_str()),
        Identity::InstanceRole { role_arn } => (role_arn, INSTANCE_SESSION),
        Identity::OidcSubject { .. } => return None,
    };
    let role: RoleArn = role_arn.parse().ok()?;
    Some(json!({
        "IdentityType": "AssumedRoleUser",
        "AccountId": role.account,
        "RoleId": number_of(role_arn),
        "Arn": session_arn(&role, session_name),
        "PrincipalId": session_id(&role, session_name),
    }))
}

fn user(key_id: &str) -> Value {
    let number = number_of(key_id);
    json!({
        "IdentityType": "RAMUser",
        "AccountId": ACCOUNT,
        "UserId": number,
        "Arn": format!("acs:ram::{ACCOUNT}:user/{key_id}"),
        "PrincipalId": number,
    })
}

fn session_arn(role: &RoleArn, session_name: &str) -> String {
    format!("acs:ram::{}:assumed-role/{}/{session_name}", role.account, role.name)
}

fn session_id(role: &RoleArn, session_name: &str) -> String {
    format!("{}:{session_name}", number_of(&role.to_string()))
}

/// A number that is always the same for the same name.
fn number_of(name: &str) -> String {
    let digest = Sha256::digest(name);
    let number = digest.iter().take(7).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("3{number:017}")
}

fn time(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_told_as_the_service_tells_it() {
        let role_arn = "acs:ram::1:role/kill".to_owned();
        let told = |identity: &Identity| super::identity(identity).unwrap();
        let key = told(&Identity::AccessKey { id: "testbed".into() });
        assert_eq!(
            (&key["IdentityType"], &key["Arn"]),
            (&json!("RAMUser"), &json!("acs:ram::123456789012:user/testbed"))
        );
        let role = told(&Identity::AssumedRole { role_arn: role_arn.clone(), session_name: "ab".into() });
        assert_eq!((&role["Arn"], &role["AccountId"]), (&json!("acs:ram::1:assumed-role/kill/ab"), &json!("1")));
        let instance = told(&Identity::InstanceRole { role_arn });
        assert_eq!(instance["Arn"], "acs:ram::1:assumed-role/kill/i-testbed");
        assert_eq!(instance["RoleId"], role["RoleId"]);
        assert_eq!(super::identity(&Identity::OidcSubject { subject: "s".into() }), None);
    }
}
