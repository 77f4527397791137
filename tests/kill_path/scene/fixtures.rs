//! The sessions, keys and times that the tests start from.

use jiff::{SignedDuration, Timestamp, Unit};
pub use testbed::arena::{SERVER_IP, session_id};
use testbed::gateway::{AccessKey, Session};

/// In the text of every statement: it may stand in a status, for people to look at, and nowhere else.
pub const SQL_MARK: &str = "canary_statement";

/// The long-term access key that the gateway takes.
pub const KEY_ID: &str = "LTAI5tCanaryKeyID";
/// Its secret.
pub const KEY_SECRET: &str = "CanaryKeySecret7f3a";
/// The temporary access key that the gateway takes.
pub const STS_KEY_ID: &str = "STS.NUCanaryKeyID";
/// Its secret.
pub const STS_KEY_SECRET: &str = "CanaryStsSecret9c1e";
/// Its token.
pub const STS_TOKEN: &str = "CanarySecurityToken5b2d";

/// The content of a Secret: what stands under which key.
pub type Keys<'a> = &'a [(&'a str, &'a str)];

/// The keys that the gateway takes.
pub fn access_keys() -> Vec<AccessKey> {
    vec![
        AccessKey { id: KEY_ID.into(), secret: KEY_SECRET.into(), token: None },
        AccessKey { id: STS_KEY_ID.into(), secret: STS_KEY_SECRET.into(), token: Some(STS_TOKEN.into()) },
    ]
}

/// The session number `number`, in the middle of a long query that can be recognized.
pub fn session(number: i64) -> Session {
    let sql_text = format!("SELECT {SQL_MARK}, SUM(amount) FROM orders");
    Session { sql_text, ..testbed::arena::session(number) }
}

/// The same, but it stays in the process list after it was killed, until the sessions are set anew.
pub fn lingering(number: i64) -> Session {
    Session { lingering: true, ..session(number) }
}

/// Another user's session under the ID of session number `number`.
pub fn successor(number: i64) -> Session {
    Session { user: "app".into(), ..session(number) }
}

/// The time `seconds` from now, or before now if negative; whole seconds, so that it is stored as it is.
pub fn in_seconds(seconds: i64) -> Timestamp {
    let time = Timestamp::now() + SignedDuration::from_secs(seconds);
    time.round(Unit::Second).unwrap()
}
