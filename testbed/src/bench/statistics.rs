//! Statistics of one run and of several. Pure.

use serde::{Deserialize, Serialize};

/// The percentile `percent` of `values` by the nearest rank: a measured value. `None` if there is no value.
pub(crate) fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let rank = (percent / 100.0 * sorted.len() as f64).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
    let index = (rank as usize).saturating_sub(1);
    sorted.get(index).copied()
}

/// The median of several runs, and their range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median. For an even number, the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// The spread of these values. `None` if there is none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), least, most })
    }
}

/// Whether things that began in an order also ended in it: Kendall's tau, 1 for the same order, -1 for the reverse.
/// Pairs are formed within each group, and all pairs count the same. `groups` hold the ranks of the ends, in the order
/// of the beginnings. `None` if there is no pair.
pub(super) fn order_kept<'a>(groups: impl IntoIterator<Item = &'a [u32]>) -> Option<f64> {
    let (mut pairs, mut inversions) = (0_u64, 0_u64);
    for group in groups {
        let length = group.len() as u64;
        pairs += length * length.saturating_sub(1) / 2;
        inversions += sort_and_count(&mut group.to_vec());
    }
    #[allow(clippy::cast_precision_loss, reason = "a ratio with three decimals")]
    (pairs > 0).then(|| 1.0 - 2.0 * inversions as f64 / pairs as f64)
}

/// Sorts, and counts the pairs that were in the wrong order.
fn sort_and_count(values: &mut [u32]) -> u64 {
    if values.len() < 2 {
        return 0;
    }
    let (left, right) = values.split_at_mut(values.len() / 2);
    let mut inversions = sort_and_count(left) + sort_and_count(right);
    let (mut merged, mut rest) = (Vec::with_capacity(left.len() + right.len()), right.iter().peekable());
    for (index, value) in left.iter().enumerate() {
        while let Some(smaller) = rest.next_if(|other| *other < value) {
            merged.push(*smaller);
            inversions += (left.len() - index) as u64;
        }
        merged.push(*value);
    }
    merged.extend(rest);
    values.copy_from_slice(&merged);
    inversions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50.0), Some(50.0));
        assert_eq!(percentile(&values, 99.0), Some(99.0));
        assert_eq!(percentile(&values, 100.0), Some(100.0));
        assert_eq!(percentile(&[7.0], 99.0), Some(7.0));
        assert_eq!(percentile(&[], 99.0), None);
    }

    #[test]
    fn a_spread_is_the_median_between_the_extremes() {
        assert_eq!(Spread::of([3.0, 1.0, 8.0]), Some(Spread { median: 3.0, least: 1.0, most: 8.0 }));
        assert_eq!(Spread::of([4.0, 2.0]), Some(Spread { median: 3.0, least: 2.0, most: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn order_is_judged_within_each_group() {
        assert_eq!(order_kept([&[0, 1, 2, 3][..]]), Some(1.0));
        assert_eq!(order_kept([&[3, 2, 1, 0][..]]), Some(-1.0));
        assert_eq!(order_kept([&[0, 2, 1][..]]), Some(1.0 - 2.0 / 3.0));
        assert_eq!(order_kept([&[0, 5][..], &[1, 2][..]]), Some(1.0));
        assert_eq!(order_kept([&[0, 5][..], &[2, 1][..]]), Some(0.0));
        assert_eq!(order_kept([&[4][..], &[]]), None);
    }
}
