//! Whose access key signs the calls of the API, and what a cluster has for that. Pure.

use clap::ValueEnum;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::{
    gateway::{
        self, AccessKey,
        sts::standard::{SERVICE_ACCOUNT, oidc_role, provider},
    },
    rrsa,
};

/// The namespace of the demonstration.
const NAMESPACE: &str = "default";
/// The Secret with an access key.
const SECRET: &str = "aliyun-ak";

/// Whose access key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Identity {
    /// An access key of a user, in a Secret.
    Key,
    /// The one of a RAM role that a `ServiceAccount` is (RRSA): no key is in the cluster. Without the kill by SQL, whose login is
    /// in a Secret.
    Rrsa,
}

impl Identity {
    /// Whether STS issues the access key.
    pub(super) fn is_issued(self) -> bool {
        self == Self::Rrsa
    }

    /// In words, where the access key comes from.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Key => "A Secret holds the access key; an OceanBaseConnection says where to call with it",
            Self::Rrsa => {
                "Without an access key: a labelled ServiceAccount is a RAM role; a Role lets the operator make tokens of this one \
                 only; an OceanBaseConnection says where to call as that role"
            }
        }
    }

    /// The objects that give the access key. `key` is the one that the gateway accepts.
    pub(super) fn objects(self, key: &AccessKey) -> Vec<Value> {
        match self {
            Self::Key => vec![json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": SECRET, "labels": {"sessionkill.dev/credentials": "true"}},
                "stringData": {"accessKeyID": key.id, "accessKeySecret": key.secret.expose_secret()},
            })],
            Self::Rrsa => {
                let [role, binding] = rrsa::token_right(NAMESPACE, SERVICE_ACCOUNT);
                vec![rrsa::account(NAMESPACE, SERVICE_ACCOUNT, true), role, binding]
            }
        }
    }

    /// The `credentials` of a connection that uses them.
    pub(super) fn credentials(self) -> Value {
        match self {
            Self::Key => json!({"secretRef": {"name": SECRET}}),
            Self::Rrsa => rrsa::credentials(SERVICE_ACCOUNT, &oidc_role(), &provider()),
        }
    }

    /// How kubectl shows what takes the place of a Secret for this connection, if anything does.
    pub(super) fn shown_by(self, connection: &str) -> Vec<Vec<String>> {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        match self {
            Self::Key => vec![],
            Self::Rrsa => vec![
                words(&format!("get serviceaccount {SERVICE_ACCOUNT} --show-labels")),
                words(&format!("describe role {}", rrsa::token_role(SERVICE_ACCOUNT))),
                words(&format!("get oceanbaseconnection {connection} -o=jsonpath={{.spec.alibabaCloud.credentials}}")),
            ],
        }
    }
}

/// Whom the gateway must name as the caller of what goes through this connection without an access key.
pub(super) fn caller(connection: &str) -> gateway::Identity {
    gateway::Identity::AssumedRole {
        role_arn: oidc_role().to_string(),
        session_name: format!("sk-{NAMESPACE}-{connection}"),
    }
}
