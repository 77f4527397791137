//! The backend for any OceanBase: its own SQL, over the MySQL protocol.

use kube_derive::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::credential_source::SecretRef;
use super::session_kill::{IS_ID, IS_OBJECT_NAME};

/// The name of the one tenant that sees and ends the sessions of all tenants.
pub const SYS_TENANT: &str = "sys";

/// How to end sessions by SQL: on which server, as which user. Connect to an OBServer itself, not to a proxy.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.service) != has(self.host)")
        .message("name the server either by service or by host: service for a Service of this namespace, host for any other server that the operator's --allow-sql-host allows")
)]
pub struct Sql {
    /// A Service in the same namespace that leads to OBServers themselves, not to a proxy (ODP). Any OBServer of the
    /// cluster will do: KILL reaches the sessions of all of them. Type ExternalName is refused. Set this or host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<SqlService>,

    /// An OBServer that no Service leads to, as HOST:PORT, such as db.example:2881. Write an IPv6 address in brackets. The
    /// operator calls it only if it runs with --allow-sql-host for it. Set this or service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 259))]
    #[x_kube(validation = (IS_HOST, "host must be a lower-case host name or an IP address, and a port, such as db.example:2881 or [fd00::1]:2881"))]
    pub host: Option<String>,

    /// The name of the OceanBase cluster. Requests give it as instanceID. If the server tells the name of its cluster
    /// (SHOW PARAMETERS LIKE 'cluster') and it is another, nothing is sent.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = (IS_ID, "cluster must be lower-case letters, digits, - and _ only, as requests give it as instanceID"))]
    pub cluster: String,

    /// The tenant to log in to, in MySQL mode. Requests give it as tenantID. Through the tenant sys, requests may name any
    /// tenant: limit them by tenantIDs.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = (IS_ID, "tenant must be lower-case letters, digits, - and _ only, as requests give it as tenantID"))]
    pub tenant: String,

    /// The database user, without @ and its tenant. It needs the rights PROCESS, SUPER and SELECT on oceanbase.*. Unset
    /// means the one in the key username of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = ("self.matches('^[^@#:[:cntrl:]]+$')", "user must be a name without @, # and :, as the tenant has its own field"))]
    pub user: Option<String>,

    /// The Secret with the password of the user.
    pub credentials: SqlCredentials,

    /// How the connection is encrypted, and how the server is verified. Unset means TLS, with a certificate for the name
    /// of the server by the CA in the key ca.crt of the Secret.
    #[serde(default)]
    pub tls: SqlTls,
}

/// A host name, an IPv4 address or an IPv6 address in brackets, with a port.
const IS_HOST: &str = r"self.matches(r'^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|[\[][0-9a-f:.]+[\]]):[0-9]{1,5}$')";

/// The Secret with the password of the user.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlCredentials {
    /// A Secret in the same namespace, with the label sessionkill.dev/credentials: "true". It has the keys password and,
    /// unless spec.sql.user is set, username. Its annotation sessionkill.dev/servers names the servers that may get the
    /// password, such as NAME:2881 for the Service NAME. If your keys have other names, say so in annotations of the
    /// Secret.
    pub secret_ref: SecretRef,
}

/// Whether a string is the name of a Service, which is a label of a host name.
const IS_SERVICE_NAME: &str = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')";

/// Names a Service in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SqlService {
    /// The name of the Service.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = (IS_SERVICE_NAME, "service.name must be the name of a Service: lower-case letters, digits and -"))]
    pub name: String,

    /// The port of the Service, not of its Pods. OBServers serve SQL at 2881, and proxies (ODP), which are refused, at
    /// 2883.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,
}

/// The SQL port of an OBServer.
const fn default_port() -> i32 {
    2881
}

/// How the connection is encrypted, and how the server is verified.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.mode) || self.mode != 'Disabled' || (!has(self.caRef) && !has(self.serverName))")
        .message("caRef and serverName have no meaning with mode Disabled: leave them out")
        .field_path(".mode")
)]
pub struct SqlTls {
    /// VerifyIdentity: the server's certificate must be issued by the CA, for the name of the server. VerifyCA: it must be
    /// issued by the CA, and may be for any name. Disabled: no TLS. Then others on the network can read statements, whoever
    /// answers at the address is taken for the server, and the condition Encrypted is False.
    #[serde(default)]
    pub mode: SqlTlsMode,

    /// Where the certificates of the CA are kept, if not in the key ca.crt of the Secret with the password.
    #[serde(rename = "caRef", default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,

    /// The name that the server's certificate must be for. Unset means the name that is called: NAME.NAMESPACE.svc for a
    /// Service, or that of host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = (r"self.matches(r'^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$') || isIP(self)", "serverName must be a lower-case host name or an IP address"))]
    pub server_name: Option<String>,
}

/// How the server is verified.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqlTlsMode {
    /// By its certificate and its name.
    #[default]
    VerifyIdentity,
    /// By its certificate, for any name.
    #[serde(rename = "VerifyCA")]
    VerifyCa,
    /// Not at all, and nothing is encrypted.
    Disabled,
}

/// Names the certificates of a CA in a Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaRef {
    /// The name of the Secret. It needs the label sessionkill.dev/credentials: "true", too.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = (IS_OBJECT_NAME, "caRef.name must be the name of a Secret: lower-case letters, digits, - and ."))]
    pub name: String,

    /// The key of the Secret, which holds certificates in PEM.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = ("self.matches('^[-._a-zA-Z0-9]+$')", "caRef.key must be the key of a Secret: letters, digits, -, _ and ."))]
    pub key: String,
}

/// As cert-manager names it.
fn default_ca_key() -> String {
    "ca.crt".to_owned()
}
