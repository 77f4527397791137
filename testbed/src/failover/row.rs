//! A line of the table of what was measured.

use crate::bench::statistics::percentile;

/// Prints it: how many there are, and how they lie.
pub(super) fn row(what: &str, seconds: &[f64]) {
    let at = |percent| percentile(seconds, percent).unwrap_or_default();
    let (least, median, high, most) = (at(0.0), at(50.0), at(95.0), at(100.0));
    println!("{what:<35}{:>6} {least:>8.3} {median:>8.3} {high:>8.3} {most:>8.3}", seconds.len());
}
