//! The source `instanceRole`: the metadata service of the operator's node, version 2 only. Does I/O.
//!
//! Each request after the first carries the token of the first. If one fails there is no other way: without a token, whoever
//! makes a server send a request for him would get the key.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use sessionkill_api::WaitReason;
use sessionkill_core::credentials::lifetime;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::answer::{MAX_BYTES, of_metadata};
use super::errors::Unavailable;
use super::issue::Issued;
use crate::addresses::Addresses;
use crate::alibaba::{Endpoint, Transports};

/// The longest that one request may take in total: the service is on the same machine, and off Alibaba Cloud nobody answers.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// For how many seconds the token is asked for, 1 to 21600: it is used at once.
const TOKEN_SECONDS: &str = "60";

/// The most bytes of a token or of a role's name.
const MAX_WORD: usize = 4 * 1024;

const ADDRESS: &str = "http://100.100.100.200";
const TOKEN: &str = "/latest/api/token";
const KEYS: &str = "/latest/meta-data/ram/security-credentials/";

/// The client.
pub struct Metadata {
    address: String,
    /// Never through a proxy, which is another machine.
    transports: Transports,
}

impl Metadata {
    /// A client of the service at its fixed address, or at the one that whoever runs the operator names.
    #[must_use]
    pub fn new(named: Option<&Endpoint>) -> Self {
        let address = named.map_or_else(|| ADDRESS.to_owned(), ToString::to_string);
        Self { address, transports: Transports::new(None) }
    }

    /// A key of the node's role.
    pub(super) async fn issue(&self) -> Result<Issued, Unavailable> {
        let seconds = ("x-aliyun-ecs-metadata-token-ttl-seconds", HeaderValue::from_static(TOKEN_SECONDS));
        let (token, _) = self.ask(Method::PUT, TOKEN, seconds, MAX_WORD).await?;
        let mut token = HeaderValue::from_bytes(token.trim_ascii()).map_err(|_| unavailable("gave an odd token"))?;
        token.set_sensitive(true);
        let token = ("x-aliyun-ecs-metadata-token", token);
        let (role, _) = self.ask(Method::GET, KEYS, token.clone(), MAX_WORD).await?;
        let role = role_name(&role).ok_or_else(|| unavailable("names no RAM role: attach one to the node"))?;
        let since = Instant::now();
        let (body, time) = self.ask(Method::GET, &format!("{KEYS}{role}"), token, MAX_BYTES).await?;
        let read = of_metadata(&body).map_err(|what| unavailable(&format!("gave {what} for the role {role}")))?;
        let lifetime = lifetime(read.expiration, time.unwrap_or_else(Timestamp::now), None)
            .ok_or_else(|| unavailable("gave an access key that has expired already: check the clock of the node"))?;
        Ok(Issued { key: read.key, lifetime, since })
    }

    /// The body of the answer to a request with `header`, and the time in it.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        (name, value): (&'static str, HeaderValue),
        max_bytes: usize,
    ) -> Result<(Zeroizing<Vec<u8>>, Option<Timestamp>), Unavailable> {
        let failed = |why: String| {
            unavailable(&format!(
                "does not answer {method} {path} ({why}): check that the node has a RAM role, and that the Pod may reach the service"
            ))
        };
        let transport = self.transports.to(Addresses::Any).map_err(&failed)?;
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), value)]);
        let request = transport.plain(method.clone(), &format!("{}{path}", self.address), headers);
        let request = request.map_err(|error| failed(error.to_string()))?;
        let answer =
            transport.exchange(request, TIMEOUT, max_bytes).await.map_err(|error| failed(error.to_string()))?;
        let (head, body) = answer.split();
        if head.status != 200 {
            return Err(failed(format!("HTTP {}", head.status)));
        }
        let body = body.whole().await.map_err(|error| failed(error.to_string()))?;
        Ok((body, head.gateway_time))
    }
}

/// The name of a role, which may end with a line break. It becomes a part of a path, so that nothing else will do.
fn role_name(body: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(body).ok()?.trim();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_some = (1..=128).contains(&name.len()) && name.bytes().all(is_name) && !name.starts_with('.');
    is_some.then_some(name)
}

fn unavailable(what: &str) -> Unavailable {
    let message = format!("the metadata service of the operator's node {what}: trying again");
    Unavailable::for_now(WaitReason::MetadataUnavailable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_role_becomes_a_part_of_a_path() {
        assert_eq!(role_name(b"KubernetesWorkerRole-1.a_b\n"), Some("KubernetesWorkerRole-1.a_b"));
        for bad in ["", "\n", "a\nb", "a/b", "..", "a?b", "a b", "<html>", &"a".repeat(129)] {
            assert_eq!(role_name(bad.as_bytes()), None, "{bad}");
        }
    }
}
