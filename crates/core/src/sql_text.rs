//! Which part of a SQL statement is stored: more people can read a status than the database. Pure.

use sessionkill_api::SqlTextPolicy;
use sha2::{Digest as _, Sha256};

use super::text::clamp;

/// The most characters stored of a statement.
const MAX_CHARS: usize = 256;

/// The stored form of `statement`; an empty statement stays empty.
#[must_use]
pub fn stored(statement: &str, policy: SqlTextPolicy) -> String {
    match policy {
        SqlTextPolicy::None => String::new(),
        SqlTextPolicy::Digest if statement.is_empty() => String::new(),
        SqlTextPolicy::Digest => format!("sha256:{}", hex::encode(Sha256::digest(statement))),
        SqlTextPolicy::Truncated => clamp(statement, MAX_CHARS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_cut_digested_or_left_out() {
        let statement = format!("SELECT\x1b '{}'", "数".repeat(300));
        let cut = stored(&statement, SqlTextPolicy::Truncated);
        assert_eq!(cut.chars().count(), 256);
        assert!(cut.ends_with('…') && !cut.contains('\x1b'), "{cut}");
        assert_eq!(stored(&statement, SqlTextPolicy::None), "");
        // printf 'SELECT 1' | sha256sum
        assert_eq!(
            stored("SELECT 1", SqlTextPolicy::Digest),
            "sha256:e004ebd5b5532a4b85984a62f8ad48a81aa3460c1ca07701f386135d72cdecf5"
        );
        assert_eq!(stored("", SqlTextPolicy::Digest), "");
    }
}
