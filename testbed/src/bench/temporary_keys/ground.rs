//! Connections whose access keys are those of RAM roles: each has a role of its own, which trusts the `ServiceAccount` of
//! its namespace.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::super::plan::Place;
use crate::{
    gateway::{
        StsOptions,
        sts::{
            answers::ACCOUNT,
            roles::{Role, RoleArn},
            standard::provider,
        },
    },
    rrsa,
};

/// The `ServiceAccount` of each namespace.
const ACCOUNT_NAME: &str = "ob-kill";

/// STS with the roles of these connections. Keys live for `life`, whatever is asked for.
pub(super) fn sts(places: &[Place], life: Duration) -> StsOptions {
    let trusting = |place: &Place| {
        let subject = rrsa::subject(&place.namespace, ACCOUNT_NAME);
        Role::new(role(place)).trusting_subject(&provider(), &subject)
    };
    StsOptions { roles: places.iter().map(trusting).collect(), ..StsOptions::default() }.living(life)
}

/// The namespaces of these connections, each with a labelled `ServiceAccount` of which the operator may make tokens, as by
/// the chart's value `rbac.serviceAccountTokens`.
pub(super) fn namespaces(places: &[Place]) -> Value {
    let names: BTreeSet<&str> = places.iter().map(|place| place.namespace.as_str()).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": names.into_iter().flat_map(namespace).collect::<Vec<_>>()})
}

fn namespace(name: &str) -> [Value; 4] {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let [role, binding] = rrsa::token_right(name, ACCOUNT_NAME);
    [namespace, rrsa::account(name, ACCOUNT_NAME, true), role, binding]
}

/// The connection at this place, to the gateway at this URL. A call may take this many seconds.
pub(super) fn connection(place: &Place, gateway: &str, request_timeout_seconds: u64) -> Value {
    json!({
        "apiVersion": "sessionkill.dev/v1alpha1",
        "kind": "OceanBaseConnection",
        "metadata": {"name": place.connection, "namespace": place.namespace},
        "spec": {
            "alibabaCloud": {
                "regionID": "cn-hangzhou",
                "endpoint": gateway,
                "credentials": rrsa::credentials(ACCOUNT_NAME, &role(place), &provider()),
            },
            "requestTimeoutSeconds": request_timeout_seconds,
        },
    })
}

fn role(place: &Place) -> RoleArn {
    RoleArn::new(ACCOUNT, &format!("{}.{}", place.namespace, place.connection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_a_role_and_each_namespace_an_account() {
        let place =
            |namespace: &str, connection: &str| Place { namespace: namespace.into(), connection: connection.into() };
        let places = [place("team-0", "a"), place("team-1", "a"), place("team-0", "b")];
        let sts = sts(&places, Duration::from_secs(5));
        let arns: BTreeSet<String> = sts.roles.iter().map(|role| role.arn.to_string()).collect();
        assert_eq!((arns.len(), sts.lifetime), (3, Some(Duration::from_secs(5))));
        for (place, role) in places.iter().zip(&sts.roles) {
            let connection = connection(place, "http://127.0.0.1:1", 1);
            let named = connection.pointer("/spec/alibabaCloud/credentials/serviceAccountRef/roleARN").unwrap();
            assert_eq!(named, &Value::from(role.arn.to_string()));
        }
        assert_eq!(namespaces(&places)["items"].as_array().map(Vec::len), Some(2 * 4));
    }
}
