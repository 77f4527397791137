//! The metadata service of an instance, with a listener of its own: it hands out the keys of the instance's role.
//!
//! Version 2 asks for a token first, by `PUT`. Version 1 is served as well if [`Access`] says so.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, extract::Request, response::Response};
use http::{HeaderMap, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{
    errors::ApiError,
    faults::Fault,
    identity::{Identity, Signer},
    in_force::Faults,
    reply::Reply,
    sts::{
        instance::{Access, InstanceRole},
        tokens::{IssuedKey, IssuedKeys},
    },
};

const TOKEN_PATH: &str = "/latest/api/token";
const CREDENTIALS_PATH: &str = "/latest/meta-data/ram/security-credentials/";
const TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
/// How long a token may live, in seconds.
const TTLS: std::ops::RangeInclusive<i64> = 1..=21_600;
/// How long a key lives, unless a lifetime is set.
const KEY_LIFE: Duration = Duration::from_hours(6);
/// The most tokens that are remembered at a time.
const MOST_TOKENS: usize = 10_000;

/// One request to the metadata service.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataRecord {
    /// When it arrived, by the gateway's clock.
    pub received_time: Timestamp,
    /// The name by which faults call it. `None` if nothing is served at the path.
    pub action: Option<&'static str>,
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// Whether it had a token, good or not.
    pub has_token: bool,
    /// The status of the answer. `None` while it runs, and if there was no answer.
    pub http_status: Option<u16>,
    /// The kind of fault that applied to it.
    pub fault: Option<String>,
}

/// The service.
pub struct Metadata {
    role: InstanceRole,
    issued: Arc<IssuedKeys>,
    faults: Arc<Faults>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The tokens and their ends.
    tokens: HashMap<String, Timestamp>,
    key: Option<IssuedKey>,
    requests: Vec<MetadataRecord>,
    /// How many records were cleared: the place of a record counts them.
    cleared: usize,
}

/// What a request asks for.
enum Asked<'a> {
    Token,
    RoleName,
    Credentials(&'a str),
    Nothing,
}

impl<'a> Asked<'a> {
    fn of(method: &Method, path: &'a str) -> Self {
        let role = path.strip_prefix(CREDENTIALS_PATH);
        match (method, role) {
            (&Method::PUT, _) if path == TOKEN_PATH => Self::Token,
            (&Method::GET, Some("")) => Self::RoleName,
            (&Method::GET, Some(name)) => Self::Credentials(name),
            _ => Self::Nothing,
        }
    }

    fn action(&self) -> Option<&'static str> {
        match self {
            Self::Token => Some("PutMetadataToken"),
            Self::RoleName => Some("GetInstanceRole"),
            Self::Credentials(_) => Some("GetInstanceCredentials"),
            Self::Nothing => None,
        }
    }
}

impl Metadata {
    /// Hands out keys of this role, which become known in `issued`.
    #[must_use]
    pub fn new(role: InstanceRole, issued: Arc<IssuedKeys>, faults: Arc<Faults>) -> Self {
        Self { role, issued, faults, state: Mutex::default() }
    }

    /// Every request since the start or the last clearing, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<MetadataRecord> {
        self.state().requests.clone()
    }

    /// Forgets all requests.
    pub fn clear(&self) {
        let mut state = self.state();
        state.cleared += state.requests.len();
        state.requests.clear();
    }

    /// What answers requests.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new().fallback(move |request: Request| Arc::clone(&self).answer(request))
    }

    async fn answer(self: Arc<Self>, request: Request) -> Response {
        let (head, _) = request.into_parts();
        let path = head.uri.path();
        let asked = Asked::of(&head.method, path);
        let fault = self.faults.take(asked.action(), None);
        let place = self.enter(MetadataRecord {
            received_time: self.faults.now(),
            action: asked.action(),
            method: head.method.to_string(),
            path: path.to_owned(),
            has_token: head.headers.contains_key(TOKEN_HEADER),
            http_status: None,
            fault: fault.as_ref().map(Fault::name),
        });
        let reply = self.respond(&asked, &head.headers, fault.as_ref()).await;
        self.complete(place, reply.status);
        reply.into_response("", self.faults.now())
    }

    async fn respond(&self, asked: &Asked<'_>, headers: &HeaderMap, fault: Option<&Fault>) -> Reply {
        let instead = |fault: &Fault| Reply::instead(fault, "", "metadata");
        if let Some(reply) = self.faults.play_before(fault, instead).await {
            return reply;
        }
        let reply = match fault.and_then(Fault::refusal) {
            Some(refusal) => error(&refusal),
            None => self.execute(asked, headers),
        };
        self.faults.play_after(fault, reply, instead).await
    }

    fn execute(&self, asked: &Asked<'_>, headers: &HeaderMap) -> Reply {
        let now = self.faults.now();
        match asked {
            Asked::Nothing => Reply::text(StatusCode::NOT_FOUND, "not found"),
            Asked::Token => self.make_token(headers, now),
            Asked::RoleName | Asked::Credentials(_) if !self.admits(headers, now) => {
                Reply::text(StatusCode::FORBIDDEN, "a token is needed, and must be a good one")
            }
            Asked::RoleName => Reply::text(StatusCode::OK, self.role.arn.name.clone()),
            Asked::Credentials(name) if *name == self.role.arn.name => Reply::members(None, self.credentials(now)),
            Asked::Credentials(_) => Reply::text(StatusCode::NOT_FOUND, "the instance has no such role"),
        }
    }

    fn make_token(&self, headers: &HeaderMap, now: Timestamp) -> Reply {
        let seconds = headers.get(TTL_HEADER).and_then(|value| value.to_str().ok()?.parse::<i64>().ok());
        let Some(seconds) = seconds.filter(|seconds| TTLS.contains(seconds)) else {
            return Reply::text(StatusCode::BAD_REQUEST, format!("{TTL_HEADER} is no number from 1 to 21600"));
        };
        let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(54).collect();
        let token = format!("{random}==");
        let mut state = self.state();
        state.tokens.retain(|_, end| *end > now);
        if state.tokens.len() >= MOST_TOKENS {
            return Reply::text(StatusCode::TOO_MANY_REQUESTS, "too many tokens are in use");
        }
        state.tokens.insert(token.clone(), now + SignedDuration::from_secs(seconds));
        Reply::text(StatusCode::OK, token)
    }

    fn admits(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let Some(token) = headers.get(TOKEN_HEADER) else { return self.role.access == Access::TokenOptional };
        let state = self.state();
        token.to_str().ok().and_then(|token| state.tokens.get(token)).is_some_and(|end| *end > now)
    }

    /// The same key until half of its life is over, and then a new one.
    fn credentials(&self, now: Timestamp) -> Value {
        let mut state = self.state();
        let kept = state.key.take().filter(|key| now.duration_since(key.issued) < key.expires.duration_since(now));
        let key = kept.unwrap_or_else(|| {
            let identity = Identity::InstanceRole { role_arn: self.role.arn.to_string() };
            self.issued.issue(Signer { identity, policy: None }, KEY_LIFE, now)
        });
        let mut members = key.members();
        members["LastUpdated"] = key.issued.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into();
        members["Code"] = "Success".into();
        state.key = Some(key);
        members
    }

    fn enter(&self, record: MetadataRecord) -> usize {
        let mut state = self.state();
        state.requests.push(record);
        state.cleared + state.requests.len() - 1
    }

    /// Does nothing if the record was cleared meanwhile.
    fn complete(&self, place: usize, status: Option<StatusCode>) {
        let mut state = self.state();
        let place = place.checked_sub(state.cleared);
        if let Some(record) = place.and_then(|place| state.requests.get_mut(place)) {
            record.http_status = status.map(|status| status.as_u16());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn error(error: &ApiError) -> Reply {
    Reply::text(error.status, error.code.clone())
}
