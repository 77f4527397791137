//! Which version of Kubernetes an API server is of, and whether that is new enough. Pure.

use k8s_openapi::apimachinery::pkg::version::Info;

use crate::domain::text::clamp;

/// The most characters of a version's name.
const MAX_NAME: usize = 64;

/// The oldest minor version of Kubernetes 1 that is supported. An older API server refuses the definition of `SessionKill`,
/// whose rules it takes for too costly. And where a later definition is stricter than an object that is stored, it refuses the
/// status of that object, so that no outcome could be told.
pub const OLDEST_MINOR: u32 = 33;

/// What is to be done, for people, if an API server that says this of itself is too old; none if it is new enough, or says
/// nothing that is a version.
#[must_use]
pub fn too_old(version: &Info) -> Option<String> {
    let wanted = (1, OLDEST_MINOR);
    let found = (number(&version.major)?, number(&version.minor)?);
    let name = name(version);
    (found < wanted).then(|| {
        format!("the API server is of Kubernetes {name}, and 1.{OLDEST_MINOR} or newer is needed: upgrade the cluster")
    })
}

/// What `version` is called: by whatever answers at the address of an API server.
#[must_use]
pub fn name(version: &Info) -> String {
    clamp(&version.git_version, MAX_NAME)
}

/// The number that `text` begins with: vendors write `33+`.
fn number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(major: &str, minor: &str, git_version: &str) -> Option<String> {
        let [major, minor, git_version] = [major, minor, git_version].map(str::to_owned);
        too_old(&Info { major, minor, git_version, ..Info::default() })
    }

    #[test]
    fn a_version_that_is_too_old_is_named_with_the_one_that_is_needed() {
        let sentence = "the API server is of Kubernetes v1.32.13, and 1.33 or newer is needed: upgrade the cluster";
        assert_eq!(said("1", "32", "v1.32.13").as_deref(), Some(sentence));
        assert!(said("1", "32+", "v1.32.9-eks-1-32-30").unwrap().contains("v1.32.9-eks-1-32-30"));
        assert!(said("1", "9", "v1.9.0").is_some());
        let odd = said("1", "9", &"\u{1b}[2J".repeat(1000)).unwrap();
        assert!(odd.chars().count() < 400 && !odd.contains('\u{1b}'), "{odd}");
    }

    #[test]
    fn what_is_new_enough_or_no_version_is_let_be() {
        for (major, minor, name) in [
            ("1", "33", "v1.33.0"),
            ("1", "33+", "v1.33.1-aliyun.1"),
            ("1", "37", "v1.37.2"),
            ("1", "100", "v1.100.0"),
            ("2", "0", "v2.0.0"),
            ("", "", ""),
            ("one", "32", "v1.32.0"),
        ] {
            assert_eq!(said(major, minor, name), None, "{name}");
        }
    }
}
