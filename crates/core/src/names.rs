//! Object names. Pure.

/// The most characters in an object name.
const LONGEST: usize = 253;

/// Whether `name` is an RFC 1123 subdomain, as the API server requires. Check this before using a name in a request
/// path: a name with blanks or slashes would address another resource, or fail to build a request.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let is_inner = |byte: &u8| is_end(Some(byte)) || *byte == b'-';
        is_end(bytes.first()) && is_end(bytes.last()) && bytes.iter().all(is_inner)
    };
    name.len() <= LONGEST && name.split('.').all(is_label)
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
}
