//! The words for what went wrong: what it is, and what to do.

use std::fmt::Write as _;

use kube::Error;

use crate::exit::Exit;

/// Why a command ended early.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// A message for the user, and the exit code.
    Said(String, Exit),
    /// The reader of the output has gone, such as `head`: nobody is there to be told.
    OutputClosed,
}

/// The result of a command or of a step of it.
pub type Result<T> = std::result::Result<T, Failure>;

/// A failure with this message, and exit code 1.
pub fn failure(message: impl Into<String>) -> Failure {
    Failure::Said(message.into(), Exit::Other)
}

/// What was tried at the API server.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The verb as in RBAC.
    pub verb: &'a str,
    /// The resource as in RBAC.
    pub resource: &'a str,
    /// The name of the object, or nothing.
    pub name: &'a str,
    /// The namespace; nothing for a resource of no namespace.
    pub namespace: Option<&'a str>,
}

impl Attempt<'_> {
    /// The failure that the API server's answer, or its silence, means.
    pub fn failed(self, error: &Error) -> Failure {
        let Error::Api(status) = error else { return unreachable(error) };
        let message = status.message.as_str();
        let is_by_policy = message.contains("denied request") || message.contains("admission webhook");
        let is_about_fields = ["unknown field", "spec.selector", "spec.sessions: Required"];
        match status.code {
            400 | 422 if is_about_fields.iter().any(|words| message.contains(words)) && is_old(message) => {
                failure(format!(
                    "the definitions in this cluster are older than this plugin: {message}\n\
                     ask whoever runs the operator to install the definitions of this version (crds/), or use an older plugin"
                ))
            }
            401 => failure(
                "the API server does not accept your credentials: log in to the cluster again, or choose another context with --context",
            ),
            403 if !is_by_policy => failure(self.missing_right(message)),
            404 if self.name.is_empty() || is_of_no_kind(message) => failure(format!(
                "this cluster has no {}.sessionkill.dev in version v1alpha1: install the definitions (crds/) and the operator, or choose another context with --context",
                self.resource
            )),
            404 => failure(format!(
                "{} {:?} is not found{}: list what there is with: kubectl get {}{}",
                self.resource,
                self.name,
                self.place(),
                self.resource,
                self.namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default(),
            )),
            409 => failure(format!("{} {:?} exists{}: choose another --name", self.resource, self.name, self.place())),
            // By a policy, or by the rules of the definition.
            403 | 422 => Failure::Said(format!("refused: {}", own_words(message)), Exit::Refused),
            _ => failure(format!("the API server answered {} {}: {message}", status.code, status.reason)),
        }
    }

    fn missing_right(self, message: &str) -> String {
        // It starts with: sessionkills.sessionkill.dev is forbidden: User "jane" cannot create ...
        let user = message.split("User \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("this user");
        let scope = self.namespace.map_or_else(
            || "a ClusterRoleBinding to".to_owned(),
            |namespace| format!("a RoleBinding in namespace {namespace} to"),
        );
        let group = if self.resource.contains('.') { "" } else { ".sessionkill.dev" };
        let mut said = format!("{user} may not {} {}{group}{}", self.verb, self.resource, self.place());
        let _ = write!(said, "\nask an admin of the cluster for {scope} the ClusterRole sessionkill-requester");
        said
    }

    fn place(self) -> String {
        self.namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default()
    }
}

/// Whether an answer refuses a field that only newer definitions have.
fn is_old(message: &str) -> bool {
    message.contains("unknown field") || message.contains("spec.sessions: Required")
}

/// Whether a 404 is about the kind, and not about the object.
fn is_of_no_kind(message: &str) -> bool {
    message.contains("could not find the requested resource") || message.contains("page not found")
}

/// What a policy or a rule says, without the API server's preamble.
fn own_words(message: &str) -> &str {
    message.split_once("denied request: ").map_or(message, |(_, words)| words)
}

/// The API server was not reached, or what it sent is no answer.
fn unreachable(error: &Error) -> Failure {
    let causes = causes(error);
    match error {
        Error::SerdeError(_) => failure(format!(
            "what the API server sent cannot be read: {causes}\nthe operator and its definitions may be newer or older than this plugin: compare with kubectl sessionkill version"
        )),
        Error::Auth(_) => failure(format!("your credentials cannot be had: {causes}")),
        _ => failure(format!(
            "the API server cannot be reached: {causes}\nlook at the address of the cluster in your kubeconfig, at VPN and proxy; or choose another context with --context"
        )),
    }
}

/// An error and its causes, each once, as libraries repeat them.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut all = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !all.contains(&words) {
            let _ = write!(all, ": {words}");
        }
        next = cause.source();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16, message: &str) -> String {
        let error = Error::Api(Box::new(
            serde_json::from_value(serde_json::json!({"code": code, "message": message})).unwrap(),
        ));
        let attempt = Attempt { verb: "create", resource: "sessionkills", name: "inc-4711", namespace: Some("shop") };
        match attempt.failed(&error) {
            Failure::Said(said, exit) => format!("{}: {said}", exit as u8),
            Failure::OutputClosed => String::new(),
        }
    }

    #[test]
    fn each_answer_has_its_words() {
        let rbac = "sessionkills.sessionkill.dev is forbidden: User \"jane\" cannot create resource \"sessionkills\" in API group \"sessionkill.dev\" in the namespace \"shop\"";
        let policy = "sessionkills.sessionkill.dev \"k\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: user jane may not end sessions through oceanbaseconnection prod-ob";
        for (code, message, words) in [
            (
                403,
                rbac,
                "1: jane may not create sessionkills.sessionkill.dev in namespace shop\nask an admin of the cluster for a RoleBinding in namespace shop to the ClusterRole sessionkill-requester",
            ),
            (403, policy, "4: refused: user jane may not end sessions through oceanbaseconnection prod-ob"),
            (
                404,
                "the server could not find the requested resource",
                "1: this cluster has no sessionkills.sessionkill.dev",
            ),
            (
                404,
                "sessionkills.sessionkill.dev \"inc-4711\" not found",
                "1: sessionkills \"inc-4711\" is not found in namespace shop",
            ),
            (401, "Unauthorized", "1: the API server does not accept your credentials"),
            (
                422,
                "SessionKill.sessionkill.dev \"k\" is invalid: unknown field \"spec.selector\"",
                "1: the definitions in this cluster are older",
            ),
            (
                422,
                "SessionKill.sessionkill.dev \"k\" is invalid: spec.sessions: Required value",
                "1: the definitions in this cluster are older",
            ),
            (422, "SessionKill.sessionkill.dev \"k\" is invalid: spec.selector: needs maxSessions", "4: refused: "),
            (500, "etcd has gone", "1: the API server answered 500"),
        ] {
            let said = answered(code, message);
            assert!(said.starts_with(words), "{said}");
        }
    }
}
