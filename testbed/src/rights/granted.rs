//! The rights of the service accounts to which a manifest binds roles, each for one verb on one resource.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::request::Request;

/// A right, in the smallest form that rules can have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    /// The role, such as `ClusterRole sessionkill-operator`.
    pub(super) role: String,
    pub(super) group: String,
    /// The resource with its subresource, such as `sessionkills/status`.
    pub(super) resource: String,
    pub(super) verb: String,
    /// The name of the only object that it applies to. `None` means all objects.
    pub(super) name: Option<String>,
}

impl Right {
    pub(super) fn allows(&self, request: &Request) -> bool {
        let same = |right: &str, asked: &str| right == asked;
        same(&self.group, &request.group)
            && same(&self.resource, &request.resource)
            && same(&self.verb, &request.verb)
            && self.name.as_ref().is_none_or(|name| *name == request.name)
    }
}

/// All rights of a manifest, in its order.
#[derive(Debug, Default)]
pub(super) struct Granted {
    accounts: BTreeSet<String>,
    rights: Vec<Right>,
}

impl Granted {
    /// Reads roles and bindings. Fails if a bound role does not exist.
    pub(super) fn read(manifest: &str) -> anyhow::Result<Self> {
        let objects: Vec<Object> =
            serde_saphyr::from_multiple(manifest).context("not the YAML of roles and bindings")?;
        let mut granted = Self::default();
        for binding in &objects {
            let Some(bound) = &binding.role_ref else { continue };
            let accounts = binding.subjects.iter().filter(|subject| subject.kind == "ServiceAccount");
            granted.accounts.extend(accounts.map(|it| format!("system:serviceaccount:{}:{}", it.namespace, it.name)));
            let role = objects.iter().find(|it| it.kind == bound.kind && it.metadata.name == bound.name);
            let role = role.with_context(|| format!("{} {} is bound but not there", bound.kind, bound.name))?;
            granted.rights.extend(role.rules.iter().flat_map(|rule| rule.rights(&role.title())));
        }
        ensure!(!granted.rights.is_empty(), "no role is bound to a service account");
        Ok(granted)
    }

    pub(super) fn rights(&self) -> &[Right] {
        &self.rights
    }

    /// Whether the user of this name has the rights.
    pub(super) fn is_to(&self, user: &str) -> bool {
        self.accounts.contains(user)
    }

    /// Whether a right is for the objects of this name only.
    pub(super) fn name(&self, name: &str) -> bool {
        self.rights.iter().any(|right| right.name.as_deref() == Some(name))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    kind: String,
    metadata: Named,
    #[serde(default)]
    rules: Vec<Rule>,
    role_ref: Option<Reference>,
    #[serde(default)]
    subjects: Vec<Subject>,
}

impl Object {
    fn title(&self) -> String {
        format!("{} {}", self.kind, self.metadata.name)
    }
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Reference {
    kind: String,
    name: String,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    verbs: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

impl Rule {
    fn rights(&self, role: &str) -> Vec<Right> {
        let names: Vec<Option<String>> = if self.resource_names.is_empty() {
            vec![None]
        } else {
            self.resource_names.iter().cloned().map(Some).collect()
        };
        let mut rights = vec![];
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    rights.extend(names.iter().map(|name| Right {
                        role: role.into(),
                        group: group.clone(),
                        resource: resource.clone(),
                        verb: verb.clone(),
                        name: name.clone(),
                    }));
                }
            }
        }
        rights
    }
}
