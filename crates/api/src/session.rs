//! One session, as a request names it.

use kube_derive::KubeSchema;
use serde::{Deserialize, Serialize};

use super::expect::Expect;

/// One session on one OBServer.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[x_kube(crates(kube_core = "::kube_core"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.expect) == has(oldSelf.expect) && (!has(self.expect) || self.expect == oldSelf.expect)")
        .message("expect is immutable: create a new SessionKill instead")
        .field_path(".expect"),
    validation = Rule::new("has(self.serverPort) == has(oldSelf.serverPort) && (!has(self.serverPort) || self.serverPort == oldSelf.serverPort)")
        .message("serverPort is immutable: create a new SessionKill instead")
        .field_path(".serverPort")
)]
pub struct Session {
    /// The IP address of the OBServer that holds the session, in canonical form, such as 192.168.13.119.
    #[serde(rename = "serverIP")]
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = ("isIP(self) && ip.isCanonical(self)", "serverIP must be an IP address in canonical form, such as 192.168.13.119 or fd00::1"))]
    pub server_ip: String,

    /// The SQL port of that OBServer, if several have the same address. By SQL only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub server_port: Option<i32>,

    /// The ID of the session on that OBServer, as the process list shows it: 1 to 2^53-1, and by SQL at most 4294967295.
    #[serde(rename = "sessionID")]
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub session_id: i64,

    /// What the process list must show for the session right before the kill. If a given field differs, the session is
    /// skipped. Set it: session IDs are reused, and without expect any session that has the ID is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}
