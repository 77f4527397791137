//! Object names. Pure.

/// The most characters in an object name.
const LONGEST: usize = 253;
/// The most characters in a label.
const LONGEST_LABEL: usize = 63;

/// Whether `name` is an RFC 1123 subdomain, as the API server requires. Check this before using a name in a request
/// path: a name with blanks or slashes would address another resource, or fail to build a request.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    name.len() <= LONGEST && name.split('.').all(is_part)
}

/// Whether `name` is an RFC 1123 label, as the names of namespaces are.
#[must_use]
pub fn is_label(name: &str) -> bool {
    name.len() <= LONGEST_LABEL && is_part(name)
}

fn is_part(part: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = part.as_bytes();
    let is_inner = |byte: &u8| is_end(Some(byte)) || *byte == b'-';
    is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(is_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_api_server_takes_for_a_name_is_one() {
        for good in ["a", "inc-4711", "0.example.com", &"a".repeat(253)] {
            assert!(is_object_name(good), "{good:?}");
        }
        for bad in ["", "a b", "A", "-a", "a-", "a..b", ".", "../x", "a/status", "a?x=1", "ü", &"a".repeat(254)] {
            assert!(!is_object_name(bad), "{bad:?}");
        }
    }
    #[test]
    fn a_label_is_short_and_has_no_dot() {
        assert!(is_label("shop-1") && is_label(&"a".repeat(63)));
        for bad in ["", "a.b", "Shop", "-a", "a-", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad:?}");
        }
    }
}
