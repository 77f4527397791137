//! One call as the operator makes it, with a permit that shows whether it was returned.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sessionkill::backends::addresses::Addresses;
use sessionkill::oceanbase::{
    Access, AccessKey, CallError, Called, Client, ClientOptions, Endpoint, ErrorKind, KillAnswer, KillCall, KillPermit,
    KillTarget, Operation, Tenant, TimeSource,
};

use crate::{recorder, server::LIMIT};

/// A secret value. Only the gateway may get it.
pub const KEY_ID: &str = "LTAI-canary-id";
/// See above.
pub const SECRET: &str = "canary-secret";
/// See above.
pub const TOKEN: &str = "canary-token";

/// A permit that the test makes itself.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The nonce is derived from it.
    pub seed: String,
    /// The dispatch deadline, which the gateway gets as a time stamp.
    pub deadline: Timestamp,
    /// The time left by the operator's clocks.
    pub left: Option<Duration>,
}

impl Permit {
    /// Valid for 15 seconds.
    pub fn valid() -> Self {
        Self {
            seed: uuid::Uuid::new_v4().to_string(),
            deadline: Timestamp::now() + SignedDuration::from_secs(15),
            left: Some(Duration::from_secs(15)),
        }
    }
}

impl KillPermit for Permit {
    fn nonce_seed(&self) -> &str {
        &self.seed
    }

    fn dispatch_deadline(&self) -> Timestamp {
        self.deadline
    }

    fn not_after(&self) -> Timestamp {
        self.deadline
    }

    fn time_left(&self) -> Option<Duration> {
        self.left
    }
}

/// A client with this time-out.
pub fn client(request_timeout: Duration) -> Client {
    recorder::start();
    // Ignore the error: another test has installed a provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(&ClientOptions { request_timeout, addresses: Addresses::Any, proxy: None }).unwrap()
}

/// Access with the canary key and signature V3.
pub fn access(endpoint: &str) -> Access {
    Access {
        endpoint: Endpoint::parse(endpoint).unwrap(),
        access_key: AccessKey { id: KEY_ID.to_owned(), secret: SECRET.into(), security_token: None },
        signature_v1: false,
    }
}

/// The tenant of the gateway.
pub fn tenant() -> Tenant {
    Tenant { instance_id: "ob317v4uif0001".to_owned(), tenant_id: "t4louaeei0001".to_owned() }
}

/// A call of KillProcessList for two sessions of the gateway.
pub fn kill() -> KillCall {
    let sessions = vec![("192.168.13.119".to_owned(), 3_221_614_618), ("192.168.13.120".to_owned(), 3_221_555_062)];
    KillCall {
        operation: Operation::KillProcessList,
        target: KillTarget { tenant: tenant(), sessions: sessions.into_iter().map(Into::into).collect() },
        time_source: TimeSource::DispatchDeadline,
        request: 0,
    }
}

/// Calls `endpoint` with valid arguments, and with a time-out of 30 s, longer than any answer takes.
pub async fn call(endpoint: &str) -> Called<Permit> {
    client(Duration::from_secs(30)).kill(Permit::valid(), &kill(), &access(endpoint)).await
}

/// Calls `endpoint` with valid arguments and a time-out of 1 s.
pub async fn impatient_call(endpoint: &str) -> Called<Permit> {
    let client = client(Duration::from_secs(1));
    let (kill, access) = (kill(), access(endpoint));
    let called = client.kill(Permit::valid(), &kill, &access);
    tokio::time::timeout(LIMIT, called).await.expect("the time-out does not end the call")
}

/// The answer. Fails if there is none.
#[track_caller]
pub fn answered(called: Called<Permit>) -> KillAnswer {
    match called {
        Called::Answered(answer) => answer,
        other => panic!("not answered: {other:?}"),
    }
}

/// The error of a call that may be repeated. Fails otherwise.
#[track_caller]
pub fn not_executed(called: Called<Permit>) -> CallError {
    match called {
        Called::NotExecuted(_permit, error) => error,
        other => panic!("the permit is gone: {other:?}"),
    }
}

/// The error, with this code, of a call that must not be repeated. Fails otherwise.
#[track_caller]
pub fn ambiguous(called: Called<Permit>, code: &str) -> CallError {
    match called {
        Called::Ambiguous(error) => {
            assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Ambiguous, code), "{error}");
            error
        }
        other => panic!("not ambiguous: {other:?}"),
    }
}
