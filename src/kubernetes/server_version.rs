//! Whether the Kubernetes version of an API server is new enough. Pure.

use k8s_openapi::apimachinery::pkg::version::Info;

use crate::domain::text::clamp;

/// The most characters of a version's name.
const MAX_NAME: usize = 64;

/// The oldest supported minor version of Kubernetes 1. An older API server refuses the CRD of `SessionKill`, as it
/// estimates its validation rules as too costly. Also, it would refuse a status update of an object stored before a CRD
/// became stricter, so that its outcome could not be shown.
pub const OLDEST_MINOR: u32 = 33;

/// What to do, for people, if this API server is too old; `None` if it is new enough or gives no parseable version.
#[must_use]
pub fn too_old(version: &Info) -> Option<String> {
    let wanted = (1, OLDEST_MINOR);
    let found = (number(&version.major)?, number(&version.minor)?);
    let name = name(version);
    (found < wanted).then(|| {
        format!("the API server is of Kubernetes {name}, and 1.{OLDEST_MINOR} or newer is needed: upgrade the cluster")
    })
}

/// The version's name, cut, as anything may answer at the API server's address.
#[must_use]
pub fn name(version: &Info) -> String {
    clamp(&version.git_version, MAX_NAME)
}

/// The leading number of `text`, as vendors write `33+`.
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
