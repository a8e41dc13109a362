//! Decides whether two builds differ.

use super::figures::Figure;
use crate::format::number;
use crate::median::{Median, interval, median_of, ratios};

/// The probability that a comparison of equal builds reports any difference, at most.
const ERROR: f64 = 0.01;
/// Ratios this close to 1 are no difference: where the linker places the code changes as much.
const TOLERANCE: f64 = 0.01;
/// The smallest change that a figure should show. Measuring goes on until it does.
pub(super) const MAX_VISIBLE_CHANGE: f64 = 0.04;

/// The outcome for one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Slower,
    Faster,
    /// No difference was seen, and one of [`MAX_VISIBLE_CHANGE`] would have been.
    Equal,
    /// No difference was seen, but the machine is too noisy to see a small one.
    Unknown,
}

/// The times of both builds, and their ratio.
#[derive(Debug)]
pub(super) struct Comparison {
    old: f64,
    new: f64,
    /// New divided by old, round by round.
    ratio: Median,
    rounds: usize,
}

impl Comparison {
    /// Compares times of the same rounds. `figures` is the number of figures in the comparison:
    /// each may err with its share of [`ERROR`]. Returns `None` without finite times.
    pub(super) fn new(old: &[f64], new: &[f64], figures: usize) -> Option<Comparison> {
        let outside = ERROR / figures.max(1) as f64;
        Some(Comparison {
            old: median_of(old)?.median,
            new: median_of(new)?.median,
            ratio: interval(&ratios(new, old), outside)?,
            rounds: old.len(),
        })
    }

    /// Returns the smallest slowdown that would be reported with this precision, as a share.
    pub(super) fn visible_change(&self) -> f64 {
        let Median { median, low, high } = self.ratio;
        TOLERANCE + (median - low).max(high - median) / median
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.ratio.low > 1.0 + TOLERANCE {
            Verdict::Slower
        } else if self.ratio.high < 1.0 - TOLERANCE {
            Verdict::Faster
        } else if self.visible_change() <= MAX_VISIBLE_CHANGE {
            Verdict::Equal
        } else {
            Verdict::Unknown
        }
    }

    /// Renders the row of a Markdown table.
    pub(super) fn row(&self, figure: &Figure) -> String {
        let percent = |ratio: f64| format!("{:+.1}", 100.0 * (ratio - 1.0));
        let Median { median, low, high } = self.ratio;
        let result = match self.verdict() {
            Verdict::Slower => "**slower**",
            Verdict::Faster => "faster",
            Verdict::Equal => "no difference",
            Verdict::Unknown => "no difference seen: too noisy",
        };
        format!(
            "| {}, {} | {} | {} | {} % ({} to {}) | {:.1} % | {} | {result} |",
            figure.name,
            figure.unit,
            number(self.old, 3),
            number(self.new, 3),
            percent(median),
            percent(low),
            percent(high),
            100.0 * self.visible_change(),
            self.rounds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around a base, with a deterministic disturbance of up to `noise`.
    fn times(base: f64, noise: f64, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        (0..25).map(|_| base * (1.0 + noise * next())).collect()
    }

    fn verdict(old: &[f64], new: &[f64]) -> Verdict {
        Comparison::new(old, new, 8).unwrap().verdict()
    }

    #[test]
    fn equal_builds_do_not_differ() {
        for seed in 0..200 {
            let (old, new) = (times(10.0, 0.03, 2 * seed), times(10.0, 0.03, 2 * seed + 1));
            assert_eq!(verdict(&old, &new), Verdict::Equal, "{seed}");
        }
    }

    #[test]
    fn a_slowdown_of_five_percent_is_reported() {
        for seed in 0..200 {
            let (old, new) = (times(10.0, 0.03, 2 * seed), times(10.5, 0.03, 2 * seed + 1));
            assert_eq!(verdict(&old, &new), Verdict::Slower, "{seed}");
            assert_eq!(verdict(&new, &old), Verdict::Faster, "{seed}");
        }
    }

    #[test]
    fn noise_is_no_difference_and_says_so() {
        let (old, new) = (times(10.0, 1.0, 1), times(10.0, 1.0, 2));
        assert_eq!(verdict(&old, &new), Verdict::Unknown);
        assert!(Comparison::new(&old, &new, 8).unwrap().visible_change() > MAX_VISIBLE_CHANGE);
        assert!(Comparison::new(&[f64::NAN], &[1.0], 1).is_none());
    }

    #[test]
    fn a_difference_within_the_tolerance_is_none() {
        let old = vec![1.0; 25];
        assert_eq!(verdict(&old, &[1.009; 25]), Verdict::Equal);
        assert_eq!(verdict(&old, &[1.011; 25]), Verdict::Slower);
    }
}
