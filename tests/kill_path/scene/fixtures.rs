//! The sessions, keys and times that the tests start from.

use jiff::{SignedDuration, Timestamp, Unit};
pub use testbed::arena::{SERVER_IP, session_id};
use testbed::gateway::{AccessKey, Session};

/// A mark in the text of every statement. It may be in a status, and nowhere else.
pub const SQL_MARK: &str = "canary_statement";

/// The long-term access key that the gateway accepts.
pub const KEY_ID: &str = "LTAI5tCanaryKeyID";
/// Its secret.
pub const KEY_SECRET: &str = "CanaryKeySecret7f3a";
/// The temporary access key that the gateway accepts.
pub const STS_KEY_ID: &str = "STS.NUCanaryKeyID";
/// Its secret.
pub const STS_KEY_SECRET: &str = "CanaryStsSecret9c1e";
/// Its token.
pub const STS_TOKEN: &str = "CanarySecurityToken5b2d";

/// The content of a Secret: names and values.
pub type Keys<'a> = &'a [(&'a str, &'a str)];

/// The access keys that the gateway accepts.
pub fn access_keys() -> Vec<AccessKey> {
    vec![
        AccessKey { id: KEY_ID.into(), secret: KEY_SECRET.into(), token: None },
        AccessKey { id: STS_KEY_ID.into(), secret: STS_KEY_SECRET.into(), token: Some(STS_TOKEN.into()) },
    ]
}

/// Session number `number`, with a long query that has the mark.
pub fn session(number: i64) -> Session {
    let sql_text = format!("SELECT {SQL_MARK}, SUM(amount) FROM orders");
    Session { sql_text, ..testbed::arena::session(number) }
}

/// The same session, but it stays in the process list after it was killed, until the sessions are set again.
pub fn lingering(number: i64) -> Session {
    Session { lingering: true, ..session(number) }
}

/// Another user's session with the ID of session number `number`.
pub fn successor(number: i64) -> Session {
    Session { user: "app".into(), ..session(number) }
}

/// The time in `seconds` seconds, or in the past if negative. Rounded to whole seconds, so that it is stored unchanged.
pub fn in_seconds(seconds: i64) -> Timestamp {
    let time = Timestamp::now() + SignedDuration::from_secs(seconds);
    time.round(Unit::Second).unwrap()
}
