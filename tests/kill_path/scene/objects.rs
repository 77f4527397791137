//! Requests, as users write and read them.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::PostParams;
use serde_json::Value;
use sessionkill::api::{
    ConnectionKind, ConnectionRef, Expect, Mode, Scope, Session, SessionKill, SessionKillSpec, SessionOutcome,
    SessionReason, Verification, VerificationPolicy,
};

use super::{SERVER_IP, Scene, in_seconds, session_id};

/// Builds a request. By default it names session 1 of the memory backend, and its `notAfterTime` is in 10 minutes.
#[must_use]
pub struct RequestBuilder<'a> {
    scene: &'a Scene,
    name: String,
    spec: SessionKillSpec,
}

impl<'a> RequestBuilder<'a> {
    pub(super) fn new(scene: &'a Scene, name: &str) -> Self {
        let spec = SessionKillSpec {
            connection_ref: ConnectionRef { name: Scene::CONNECTION.into(), ..ConnectionRef::default() },
            instance_id: Scene::INSTANCE.into(),
            tenant_id: Scene::TENANT.into(),
            mode: Mode::Kill,
            scope: Scope::Session,
            sessions: vec![],
            selector: None,
            not_before_time: None,
            not_after_time: Time(in_seconds(600)),
            reason: Some("INC-4711 runaway report".into()),
            // Only 5 s, so that no test waits long for what follows the end.
            verification: Verification { policy: VerificationPolicy::BestEffort, timeout_seconds: 5 },
            suspend: false,
            ttl_seconds_after_finished: None,
        };
        Self { scene, name: name.into(), spec }.sessions([1])
    }

    /// The same content under another name.
    pub fn named(&self, name: &str) -> Self {
        Self { scene: self.scene, name: name.into(), spec: self.spec.clone() }
    }

    /// Names these sessions of the memory backend.
    pub fn sessions(mut self, numbers: impl IntoIterator<Item = i64>) -> Self {
        let session = |number| Session {
            server_ip: SERVER_IP.into(),
            session_id: session_id(number),
            server_port: None,
            expect: None,
        };
        self.spec.sessions = numbers.into_iter().map(session).collect();
        self
    }

    /// Chooses sessions by this selector instead.
    pub fn selecting(mut self, selector: Value) -> Self {
        self.spec.sessions.clear();
        self.spec.selector = Some(serde_json::from_value(selector).unwrap());
        self
    }

    /// Names one session of any server.
    pub fn session_on(mut self, server_ip: &str, session_id: i64) -> Self {
        self.spec.sessions = vec![Session { server_ip: server_ip.into(), session_id, server_port: None, expect: None }];
        self
    }

    /// Adds a session of any server.
    pub fn and_session_on(mut self, server_ip: &str, session_id: i64) -> Self {
        self.spec.sessions.push(Session { server_ip: server_ip.into(), session_id, server_port: None, expect: None });
        self
    }

    /// Sets `expect` for all of its sessions.
    pub fn expecting(mut self, expect: &Expect) -> Self {
        for session in &mut self.spec.sessions {
            session.expect = Some(expect.clone());
        }
        self
    }

    /// Sets `expect` for the session that was added last.
    pub fn expecting_of_it(mut self, expect: &Expect) -> Self {
        self.spec.sessions.last_mut().unwrap().expect = Some(expect.clone());
        self
    }

    /// Ends the statements only.
    pub fn query(mut self) -> Self {
        self.spec.scope = Scope::Query;
        self
    }

    /// Makes it a `DryRun`.
    pub fn dry_run(mut self) -> Self {
        self.spec.mode = Mode::DryRun;
        self
    }

    /// Sets the verification policy and its time-out in seconds.
    pub fn verified(mut self, policy: VerificationPolicy, timeout_seconds: i32) -> Self {
        self.spec.verification = Verification { policy, timeout_seconds };
        self
    }

    /// Names another connection.
    pub fn through(mut self, connection: &str) -> Self {
        self.spec.connection_ref.name = connection.into();
        self
    }

    /// Names this connection of no namespace.
    pub fn through_cluster(mut self, connection: &str) -> Self {
        self.spec.connection_ref =
            ConnectionRef { kind: ConnectionKind::ClusterOceanBaseConnection, name: connection.into() };
        self
    }

    /// Names another instance.
    pub fn instance(mut self, id: &str) -> Self {
        self.spec.instance_id = id.into();
        self
    }

    /// Names another tenant.
    pub fn tenant(mut self, id: &str) -> Self {
        self.spec.tenant_id = id.into();
        self
    }

    /// Sets `notBeforeTime`.
    pub fn not_before(mut self, time: Timestamp) -> Self {
        self.spec.not_before_time = Some(Time(time));
        self
    }

    /// Sets `notAfterTime`.
    pub fn not_after(mut self, time: Timestamp) -> Self {
        self.spec.not_after_time = Time(time);
        self
    }

    /// Sets `suspend`.
    pub fn suspended(mut self) -> Self {
        self.spec.suspend = true;
        self
    }

    /// Sets `reason`.
    pub fn because(mut self, reason: &str) -> Self {
        self.spec.reason = Some(reason.into());
        self
    }

    /// Sets `ttlSecondsAfterFinished`.
    pub fn ttl(mut self, seconds: i32) -> Self {
        self.spec.ttl_seconds_after_finished = Some(seconds);
        self
    }

    /// The object, not created.
    pub fn object(&self) -> SessionKill {
        SessionKill::new(&self.name, self.spec.clone())
    }

    /// Creates the object.
    pub async fn create(&self) -> SessionKill {
        self.scene.requests().create(&PostParams::default(), &self.object()).await.unwrap()
    }
}

/// What a user sees of any object with conditions.
pub trait Shown {
    /// Its conditions.
    fn conditions(&self) -> &[Condition];

    /// The condition of this type.
    fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions().iter().find(|condition| condition.type_ == type_)
    }

    /// Type, status and reason of each condition, such as `Ready=True(SessionsKilled)`.
    fn summary(&self) -> Vec<String> {
        self.conditions().iter().map(|c| format!("{}={}({})", c.type_, c.status, c.reason)).collect()
    }
}

impl Shown for SessionKill {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }
}

impl Shown for sessionkill::api::OceanBaseConnection {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }
}

impl Shown for sessionkill::api::ClusterOceanBaseConnection {
    fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
    }
}

/// What a user sees of a request.
pub trait Request: Shown {
    /// The reason of its `Succeeded` condition; empty before there is one.
    fn reason(&self) -> &str {
        self.condition("Succeeded").map_or("", |condition| &condition.reason)
    }

    /// The message of its `Succeeded` condition; empty before there is one.
    fn message(&self) -> &str {
        self.condition("Succeeded").map_or("", |condition| &condition.message)
    }

    /// Whether it has ended.
    fn is_finished(&self) -> bool;

    /// Outcome and reason of each session.
    fn outcomes(&self) -> Vec<(SessionOutcome, SessionReason)>;
}

impl Request for SessionKill {
    fn is_finished(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.completion_time.is_some())
    }

    fn outcomes(&self) -> Vec<(SessionOutcome, SessionReason)> {
        let sessions = self.status.as_ref().map(|status| status.sessions.as_slice()).unwrap_or_default();
        sessions.iter().map(|session| (session.outcome, session.reason)).collect()
    }
}
