//! A row of the table of measurements.

use crate::bench::statistics::percentile;

/// Prints it: the number of measurements, and their distribution.
pub(super) fn row(what: &str, seconds: &[f64]) {
    let at = |percent| percentile(seconds, percent).unwrap_or_default();
    let (least, median, high, most) = (at(0.0), at(50.0), at(95.0), at(100.0));
    println!("{what:<35}{:>6} {least:>8.3} {median:>8.3} {high:>8.3} {most:>8.3}", seconds.len());
}
