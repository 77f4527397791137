//! The requests of the operator's accounts, from the records of the API servers.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use serde::Deserialize;

use super::{granted::Granted, request::Request};
use crate::control_plane::TEST_AGENT;

/// How often a kind of request was made, and with which result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// Requests over all namespaces at once.
    pub(super) cluster_wide: u64,
    pub(super) namespaced: u64,
    /// Requests refused for lack of a right that the same server allowed later: it had not learned of the right yet.
    pub(super) early: u64,
    /// Requests refused for lack of a right, and never allowed.
    pub(super) refused: u64,
}

/// All requests.
#[derive(Debug, Default)]
pub(super) struct Asked {
    servers: usize,
    times: BTreeMap<Request, Times>,
}

impl Asked {
    /// Reads all records in `directory`: the requests of the accounts with the rights, without those that tests made in
    /// their name.
    pub(super) fn read(directory: &Path, granted: &Granted) -> anyhow::Result<Self> {
        let mut asked = Self::default();
        let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
            asked.servers += 1;
            let mut refused = Refused::new();
            for line in BufReader::new(file).split(b'\n') {
                // Ignore a last line that is cut off: the servers of a test are killed with it.
                if let Ok(entry) = serde_json::from_slice::<Entry>(&line?) {
                    asked.note(entry, granted, &mut refused);
                }
            }
            for ((request, _), times) in refused {
                asked.times.entry(request).or_default().refused += times;
            }
        }
        Ok(asked)
    }

    /// How many API servers wrote a record.
    pub(super) fn servers(&self) -> usize {
        self.servers
    }

    pub(super) fn times(&self) -> impl Iterator<Item = (&Request, &Times)> {
        self.times.iter()
    }

    fn note(&mut self, entry: Entry, granted: &Granted, refused: &mut Refused) {
        let of_the_operator = granted.is_to(&entry.user.username) && entry.user_agent != TEST_AGENT;
        // Skip paths that are not resources: discovery and health are open to everyone.
        let Some(object) = entry.object_ref.filter(|object| of_the_operator && !object.resource.is_empty()) else {
            return;
        };
        // Count the beginning of a watch: its end is not recorded if the server ends first.
        if entry.stage != if entry.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" } {
            return;
        }
        let mut resource = object.resource;
        if !object.subresource.is_empty() {
            resource = format!("{resource}/{}", object.subresource);
        }
        let name = if granted.name(&object.name) { object.name } else { String::new() };
        let request = Request { verb: entry.verb, group: object.api_group, resource, name };
        let is_cluster_wide = object.namespace.is_empty();
        let place = (request.clone(), is_cluster_wide);
        if forbidden(&entry.annotations) {
            *refused.entry(place).or_default() += 1;
            return;
        }
        let times = self.times.entry(request).or_default();
        times.early += refused.remove(&place).unwrap_or_default();
        if is_cluster_wide {
            times.cluster_wide += 1;
        } else {
            times.namespaced += 1;
        }
    }
}

/// What a server has refused and not allowed since, and whether that was over all namespaces.
type Refused = BTreeMap<(Request, bool), u64>;

fn forbidden(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get("authorization.k8s.io/decision").is_some_and(|decision| decision == "forbid")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectRef>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}
