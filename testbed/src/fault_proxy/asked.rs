//! The kind of a request, in one word for people and for rules.

use http::{Method, request::Parts};
use percent_encoding::percent_decode_str;

/// A request on its way.
#[derive(Debug)]
pub struct Asked {
    /// The client's name.
    pub client: String,
    /// Its kind. For the API server: verb and resource, such as `patch sessionkills/status`. For the gateway: the
    /// action, such as `KillProcessList`. A list of finished objects has the suffix `(finished)`, and a call that names
    /// no session has `(probe)`.
    pub kind: String,
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: String,
    /// The text of its body.
    pub body: String,
}

impl Asked {
    pub(super) fn of(client: &str, parts: &Parts, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body).into_owned();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let action = parts.headers.get("x-acs-action").and_then(|action| action.to_str().ok());
        let kind = match action {
            Some(action) => call(action, &body),
            None => resource(&parts.method, &target),
        };
        Self { client: client.into(), kind, method: parts.method.clone(), target, body }
    }

    /// Its path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

fn call(action: &str, body: &str) -> String {
    let is_probe = action.contains("Kill") && !body.contains("SessionList=");
    if is_probe { format!("{action} (probe)") } else { action.to_owned() }
}

/// `/apis/GROUP/VERSION/[namespaces/NAMESPACE/]RESOURCE[/NAME[/SUBRESOURCE]]`, or the same below `/api/VERSION`.
fn resource(method: &Method, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (["apis", _, _, rest @ ..] | ["api", _, rest @ ..]) = parts.as_slice() else {
        return format!("{} {path}", method.as_str().to_lowercase());
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let query = percent_decode_str(query).decode_utf8_lossy();
    let is_watch = query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch=&watch=true"));
    let verb = match (method.as_str(), rest.len()) {
        ("GET", 1) if is_watch => "watch",
        ("GET", 1) => "list",
        ("GET", _) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        (other, _) => other,
    };
    let name = rest.first().unwrap_or(&"");
    let subresource = rest.get(2).map(|sub| format!("/{sub}")).unwrap_or_default();
    let finished = if query.contains("completionTime!=") { " (finished)" } else { "" };
    format!("{verb} {name}{subresource}{finished}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_named_by_verb_and_resource() {
        let group = "/apis/sessionkill.dev/v1alpha1";
        let of = |rest: &str| format!("{group}/namespaces/ns/{rest}");
        assert_eq!(resource(&Method::GET, &of("sessionkills?&limit=500")), "list sessionkills");
        assert_eq!(resource(&Method::GET, &of("sessionkills?watch=true&timeoutSeconds=60")), "watch sessionkills");
        let finished = "sessionkills?fieldSelector=status.completionTime%21%3D";
        assert_eq!(resource(&Method::GET, &of(finished)), "list sessionkills (finished)");
        assert_eq!(resource(&Method::PATCH, &of("sessionkills/x/status?fieldManager=a")), "patch sessionkills/status");
        assert_eq!(resource(&Method::POST, &of("sessionkillreceipts?")), "create sessionkillreceipts");
        assert_eq!(resource(&Method::DELETE, &of("sessionkillreceipts/sk-1")), "delete sessionkillreceipts");
        assert_eq!(resource(&Method::GET, "/api/v1/namespaces/ns/secrets/ak"), "get secrets");
        assert_eq!(
            resource(&Method::GET, &format!("{group}/oceanbaseconnections?limit=5")),
            "list oceanbaseconnections"
        );
        assert_eq!(resource(&Method::GET, "/readyz"), "get /readyz");
    }

    #[test]
    fn calls_are_named_by_their_action() {
        assert_eq!(call("KillProcessList", "InstanceId=a&SessionList=b"), "KillProcessList");
        assert_eq!(call("KillProcessList", "InstanceId=a"), "KillProcessList (probe)");
        assert_eq!(call("DescribeProcessStatsComposition", "InstanceId=a"), "DescribeProcessStatsComposition");
    }
}
