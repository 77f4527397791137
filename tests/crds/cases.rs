//! A table of changes to a valid object, with the API server's answer to each.

use std::time::{Duration, Instant};

use http::Request;
use kube::{Client, Error};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::control_plane::{cluster, repository};

/// One row: the changes, and the API server's answer.
pub struct Case {
    changes: Vec<(String, Option<Value>)>,
    /// Parts of the error message. Empty if the result is accepted.
    refusal: Vec<String>,
}

/// Sets one field. Fields are JSON pointers. Missing parents are created, and `-` appends to a list.
pub fn set(field: impl Into<String>, value: impl Into<Value>) -> Case {
    Case { changes: vec![(field.into(), Some(value.into()))], refusal: vec![] }
}

/// Removes one field.
pub fn without(field: impl Into<String>) -> Case {
    Case { changes: vec![(field.into(), None)], refusal: vec![] }
}

impl Case {
    /// Adds the changes of another case.
    pub fn and(mut self, other: Self) -> Self {
        self.changes.extend(other.changes);
        self
    }

    /// The same case, with the changes of `earlier` before its own.
    pub fn after(self, mut earlier: Self) -> Self {
        earlier.changes.extend(self.changes);
        Self { changes: earlier.changes, refusal: self.refusal }
    }

    /// Expects a refusal with this text in its message.
    pub fn refused(mut self, fragment: impl Into<String>) -> Self {
        self.refusal.push(fragment.into());
        self
    }

    /// The fields that it changes.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.changes.iter().map(|(field, _)| field.as_str())
    }

    /// The expected parts of the error message. Empty for a case that is accepted.
    pub fn refusal(&self) -> &[String] {
        &self.refusal
    }

    /// Returns `object` with the changes.
    pub fn applied_to(&self, object: &Value) -> Value {
        let mut object = object.clone();
        for (field, value) in &self.changes {
            change(&mut object, field, value.clone());
        }
        object
    }

    /// How the API server's answer differs from the expected one. `None` if it does not differ.
    fn judge(&self, answer: &Result<Value, String>) -> Option<String> {
        let complaint = match answer {
            Ok(_) if self.refusal.is_empty() => return None,
            Ok(_) => "was accepted".to_owned(),
            Err(message) if self.refusal.is_empty() => format!("was refused: {message}"),
            Err(message) if self.refusal.iter().all(|fragment| message.contains(fragment)) => return None,
            Err(message) => format!("was refused with\n    {message}\n  instead of {:?}", self.refusal),
        };
        Some(format!("{self} {complaint}"))
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (field, value) in &self.changes {
            let value = value.as_ref().map_or("(removed)".to_owned(), Value::to_string);
            let shown: String = value.chars().take(80).collect();
            write!(f, "{field} = {shown} ")?;
        }
        Ok(())
    }
}

fn change(object: &mut Value, field: &str, value: Option<Value>) {
    let (parent, name) = field.rsplit_once('/').unwrap();
    let parent = parent.split('/').skip(1).fold(object, |at, name| match at {
        Value::Array(items) => &mut items[name.parse::<usize>().unwrap()],
        object => &mut object[name],
    });
    match (parent, value) {
        (Value::Array(items), Some(value)) if name == "-" => items.push(value),
        (Value::Array(items), Some(value)) => items[name.parse::<usize>().unwrap()] = value,
        (Value::Array(items), None) => drop(items.remove(name.parse().unwrap())),
        (parent, Some(value)) => parent[name] = value,
        (parent, None) => drop(parent.as_object_mut().and_then(|fields| fields.remove(name))),
    }
}

fn is_namespaced(object: &Value) -> bool {
    object["kind"] != "ClusterOceanBaseConnection"
}

/// The API server, for objects of one namespace.
pub struct Server {
    client: Client,
    namespace: &'static str,
    validation: &'static str,
}

impl Server {
    /// Creates the namespace, and installs the policies that refuse unknown fields.
    pub async fn in_namespace(namespace: &'static str) -> Self {
        static POLICIES: OnceCell<()> = OnceCell::const_new();
        cluster().await.namespace(namespace, &[]).await;
        let client = cluster().await.control_plane.client().await.unwrap();
        let server = Self { client, namespace, validation: "Strict" };
        POLICIES.get_or_init(|| server.install_policies()).await;
        server
    }

    /// The same with this `fieldValidation` in every request.
    pub fn validating(&self, validation: &'static str) -> Self {
        Self { client: self.client.clone(), namespace: self.namespace, validation }
    }

    async fn install_policies(&self) {
        let policies = repository("deploy/base/admission-fields.yaml");
        let said = cluster().await.kubectl(&["apply", "--server-side", "-f", policies.to_str().unwrap()]).await;
        assert!(said.success, "{}", said.stderr);
        let deadline = Instant::now() + Duration::from_mins(1);
        for mut unknown in
            [crate::session_kill::valid(), crate::connection::valid(), crate::cluster_connection::valid()]
        {
            unknown["spec"]["unheardOf"] = true.into();
            while self.send("POST", &self.path(&unknown, ""), "&dryRun=All", &unknown).await.is_ok() {
                assert!(Instant::now() < deadline, "the policy of {} is not in force", unknown["kind"]);
            }
        }
    }

    /// Applies `object` on the server, as a dry run.
    pub async fn apply(&self, object: &Value) -> Result<Value, String> {
        self.apply_with("&dryRun=All", object).await
    }

    /// Applies `object` on the server, and stores it.
    pub async fn apply_for_good(&self, object: &Value) -> Value {
        self.apply_with("", object).await.unwrap()
    }

    async fn apply_with(&self, options: &str, object: &Value) -> Result<Value, String> {
        let options = format!("&fieldManager=gitops{options}");
        let object = self.own(object);
        self.ask("PATCH", "application/apply-patch+yaml", &self.path_to(&object, ""), &options, &object).await
    }

    /// Changes the stored `object` by a JSON merge patch, as a dry run.
    pub async fn merge(&self, object: &Value, patch: &Value) -> Result<Value, String> {
        self.ask("PATCH", "application/merge-patch+json", &self.path_to(object, ""), "&dryRun=All", patch).await
    }

    /// Stores a new object.
    pub async fn create(&self, object: &Value) -> Value {
        self.send("POST", &self.path(object, ""), "", &self.own(object)).await.unwrap()
    }

    /// Stores the status of an object.
    pub async fn store_status(&self, object: &Value) -> Value {
        self.send("PUT", &self.path_to(object, "/status"), "", object).await.unwrap()
    }

    /// Creates `object` with each of the changes, as a dry run.
    pub async fn check_create(&self, object: &Value, cases: &[Case]) {
        self.check("POST", &self.path(object, ""), &self.own(object), cases).await;
    }

    /// Makes each of the changes to the stored `object`, as a dry run.
    pub async fn check_update(&self, object: &Value, cases: &[Case]) {
        self.check("PUT", &self.path_to(object, ""), object, cases).await;
    }

    /// Makes each of the changes to the status of the stored `object`, as a dry run.
    pub async fn check_status(&self, object: &Value, cases: &[Case]) {
        self.check("PUT", &self.path_to(object, "/status"), object, cases).await;
    }

    async fn check(&self, method: &str, path: &str, object: &Value, cases: &[Case]) {
        let mut complaints = vec![];
        for case in cases {
            let answer = self.send(method, path, "&dryRun=All", &case.applied_to(object)).await;
            complaints.extend(case.judge(&answer));
        }
        assert!(complaints.is_empty(), "{} of {} cases:\n{}", complaints.len(), cases.len(), complaints.join("\n"));
    }

    async fn send(&self, method: &str, path: &str, options: &str, object: &Value) -> Result<Value, String> {
        self.ask(method, "application/json", path, options, object).await
    }

    async fn ask(
        &self,
        method: &str,
        media_type: &str,
        path: &str,
        options: &str,
        body: &Value,
    ) -> Result<Value, String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?fieldValidation={}{options}", self.validation))
            .header("content-type", media_type)
            .body(serde_json::to_vec(body).unwrap())
            .unwrap();
        match self.client.request(request).await {
            Ok(answer) => Ok(answer),
            Err(Error::Api(status)) => Err(status.message),
            Err(error) => Err(format!("no answer: {error}")),
        }
    }

    /// The object with a name of its own, if its kind has no namespace: all tests share those names.
    fn own(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if !is_namespaced(&object) {
            object["metadata"]["name"] =
                format!("{}-{}", object["metadata"]["name"].as_str().unwrap(), self.namespace).into();
        }
        object
    }

    fn path(&self, object: &Value, rest: &str) -> String {
        let plural = object["kind"].as_str().unwrap().to_lowercase();
        let scope = if is_namespaced(object) { format!("namespaces/{}/", self.namespace) } else { String::new() };
        format!("/apis/sessionkill.dev/v1alpha1/{scope}{plural}s{rest}")
    }

    fn path_to(&self, object: &Value, rest: &str) -> String {
        self.path(object, &format!("/{}{rest}", object["metadata"]["name"].as_str().unwrap()))
    }
}

/// The longest text that a field accepts, and a text with one character more.
pub fn longest(field: &str, name: &str, limit: usize) -> [Case; 2] {
    let refusal = format!("{name}: Too long: may not be more than {limit} bytes");
    [set(field, "a".repeat(limit)), set(field, "a".repeat(limit + 1)).refused(refusal)]
}
