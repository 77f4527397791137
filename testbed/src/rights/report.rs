//! The comparison, as a table and as a list of problems.

use std::fmt;

use super::{
    asked::{Asked, Times},
    granted::{Granted, Right},
    request::Request,
};

/// The result of the comparison.
#[derive(Debug)]
pub(super) struct Report {
    servers: usize,
    rights: Vec<(Right, Times)>,
    /// Requests that no right of the manifest allows: refused, or allowed by rights that everyone has.
    outside: Vec<(Request, Times)>,
}

/// Compares: how often each right was used, and which other requests were made.
pub(super) fn compare(granted: &Granted, asked: &Asked) -> Report {
    let rights = granted.rights().iter().map(|right| (right.clone(), used(right, asked)));
    let is_outside = |request: &Request| !granted.rights().iter().any(|right| right.allows(request));
    let outside = asked.times().filter(|(request, _)| is_outside(request));
    Report {
        servers: asked.servers(),
        rights: rights.collect(),
        outside: outside.map(|(request, times)| (request.clone(), *times)).collect(),
    }
}

fn used(right: &Right, asked: &Asked) -> Times {
    let by_it = asked.times().filter(|(request, _)| right.allows(request));
    by_it.fold(Times::default(), |sum, (_, times)| sum.and(*times))
}

impl Times {
    fn and(self, other: Self) -> Self {
        Self {
            cluster_wide: self.cluster_wide + other.cluster_wide,
            namespaced: self.namespaced + other.namespaced,
            early: self.early + other.early,
            refused: self.refused + other.refused,
        }
    }

    fn allowed(self) -> u64 {
        self.cluster_wide + self.namespaced
    }
}

impl Report {
    /// The problems, one sentence each.
    pub(super) fn faults(&self) -> Vec<String> {
        let unused = self.rights.iter().filter(|(_, times)| times.allowed() == 0);
        let unused = unused.map(|(right, _)| {
            format!("{} has {} {} without need: no request used it", right.role, right.verb, place(right))
        });
        let refused = self.outside.iter().filter(|(_, times)| times.refused > 0).map(|(request, times)| {
            let Request { verb, group, resource, .. } = request;
            format!("{verb} {} was refused {} times: no rule allows it", full(group, resource), times.refused)
        });
        let in_vain = self.rights.iter().filter(|(_, times)| times.refused > 0).map(|(right, times)| {
            format!("{} {} was refused {} times, though a rule has it", right.verb, place(right), times.refused)
        });
        unused.chain(refused).chain(in_vain).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Requests of the operator to {} API servers:\n", self.servers)?;
        writeln!(f, "| right of | verb | on | in one namespace | over all | refused |")?;
        writeln!(f, "|---|---|---|---:|---:|---:|")?;
        for (right, times) in &self.rights {
            let Times { cluster_wide, namespaced, refused, .. } = times;
            let place = place(right);
            writeln!(f, "| {} | {} | `{place}` | {namespaced} | {cluster_wide} | {refused} |", right.role, right.verb)?;
        }
        writeln!(f)?;
        for (request, times) in &self.outside {
            let place = full(&request.group, &request.resource);
            let (allowed, refused) = (times.allowed(), times.refused);
            writeln!(f, "By no rule: {} {place}: {allowed} allowed to everyone, {refused} refused", request.verb)?;
        }
        let sum = |of: fn(&Times) -> u64| self.rights.iter().map(|(_, times)| of(times)).sum::<u64>();
        let unused = self.rights.iter().filter(|(_, times)| times.allowed() == 0).count();
        let outside: u64 = self.outside.iter().map(|(_, times)| times.refused).sum();
        writeln!(
            f,
            "{} rights, {unused} unused; {} requests allowed;",
            self.rights.len(),
            sum(|times| times.allowed())
        )?;
        let (refused, early) = (sum(|times| times.refused) + outside, sum(|times| times.early));
        writeln!(f, "{refused} refused, and {early} by a server that had not learned of the right yet.")
    }
}

fn place(right: &Right) -> String {
    let place = full(&right.group, &right.resource);
    right.name.as_ref().map_or_else(|| place.clone(), |name| format!("{place} {name}"))
}

fn full(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const RIGHTS: &str = r#"
kind: ClusterRole
metadata: {name: operator}
rules:
- {apiGroups: [example.org], resources: [things], verbs: [get, watch]}
- {apiGroups: [example.org], resources: [things/status], verbs: [patch]}
---
kind: ClusterRole
metadata: {name: of-somebody-else}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
kind: ClusterRoleBinding
metadata: {name: operator}
roleRef: {kind: ClusterRole, name: operator}
subjects: [{kind: ServiceAccount, name: operator, namespace: there}]
---
kind: Role
metadata: {name: leader}
rules: [{apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [operator], verbs: [update]}]
---
kind: RoleBinding
metadata: {name: leader}
roleRef: {kind: Role, name: leader}
subjects: [{kind: ServiceAccount, name: operator, namespace: there}]
"#;

    fn entry(user: &str, request: &str, object: &str, decision: &str) -> String {
        let (verb, stage) = request.split_once(' ').unwrap();
        format!(
            r#"{{"verb":"{verb}","stage":"{stage}","user":{{"username":"system:serviceaccount:there:{user}"}},"objectRef":{object},"annotations":{{"authorization.k8s.io/decision":"{decision}"}}}}"#
        )
    }

    fn report(entries: &[String]) -> Report {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("1.log"), entries.join("\n") + "\n{\"verb\":\"ge").unwrap();
        let granted = Granted::read(RIGHTS).unwrap();
        compare(&granted, &Asked::read(directory.path(), &granted).unwrap())
    }

    fn all_used() -> Vec<String> {
        let things = r#"{"apiGroup":"example.org","resource":"things","namespace":"a","name":"x"}"#;
        let everywhere = r#"{"apiGroup":"example.org","resource":"things"}"#;
        let status =
            r#"{"apiGroup":"example.org","resource":"things","subresource":"status","namespace":"a","name":"x"}"#;
        let lease = r#"{"apiGroup":"coordination.k8s.io","resource":"leases","namespace":"there","name":"operator"}"#;
        vec![
            entry("operator", "get ResponseComplete", things, "allow"),
            entry("operator", "watch ResponseStarted", everywhere, "allow"),
            entry("operator", "watch ResponseComplete", everywhere, "allow"),
            entry("operator", "patch ResponseComplete", status, "allow"),
            entry("operator", "update ResponseComplete", lease, "allow"),
        ]
    }

    #[test]
    fn rights_that_were_all_used_are_in_order() {
        let report = report(&all_used());
        assert_eq!(report.faults(), [""; 0]);
        let table = report.to_string();
        assert!(table.contains("| ClusterRole operator | watch | `things.example.org` | 0 | 1 | 0 |"), "{table}");
        assert!(
            table.contains("| Role leader | update | `leases.coordination.k8s.io operator` | 1 | 0 | 0 |"),
            "{table}"
        );
    }

    #[test]
    fn each_right_that_was_not_used_is_named() {
        for (without, named) in [
            (0, "get things.example.org"),
            (1, "watch things.example.org"),
            (3, "patch things/status.example.org"),
            (4, "update leases.coordination.k8s.io operator"),
        ] {
            let mut entries = all_used();
            let lost = entries.remove(without);
            let faults = report(&entries).faults();
            assert!(faults.len() == 1 && faults[0].contains(named), "{faults:?}");
            // Neither a request of another user, nor a refused one, nor one for another object counts.
            entries.push(lost.replace(":operator\"", ":somebody\""));
            entries.push(lost.replace(r#""name":"operator""#, r#""name":"x""#).replace("example.org", "example.com"));
            assert!(report(&entries).faults().contains(&faults[0]), "{named}");
            entries.push(lost.replace("allow", "forbid"));
            let faults = report(&entries).faults();
            assert!(faults.len() == 2 && faults[1].contains("though a rule has it"), "{faults:?}");
            // Once a request is allowed, the server has learned of the right.
            entries.push(lost);
            assert_eq!(report(&entries).faults(), [""; 0]);
        }
    }

    #[test]
    fn a_request_that_no_rule_allows_is_named_when_it_was_refused() {
        let pods = r#"{"resource":"pods","namespace":"a","name":"x"}"#;
        let mut entries = all_used();
        entries.push(entry("operator", "get ResponseComplete", pods, "allow"));
        assert_eq!(report(&entries).faults(), [""; 0]);
        entries.push(entry("operator", "get ResponseComplete", pods, "forbid"));
        assert_eq!(report(&entries).faults(), ["get pods was refused 1 times: no rule allows it"]);
        // A request that a test makes in its name does not count.
        let agent = format!(r#"{{"userAgent":"{}","#, crate::control_plane::TEST_AGENT);
        let last = entries.len() - 1;
        entries[last] = entries[last].replacen('{', &agent, 1);
        assert_eq!(report(&entries).faults(), [""; 0]);
    }

    #[test]
    fn a_role_that_is_bound_but_absent_is_an_error() {
        let error = Granted::read(&RIGHTS.replace("metadata: {name: leader}\nrules", "metadata: {name: other}\nrules"));
        assert!(error.unwrap_err().to_string().contains("Role leader"));
    }
}
