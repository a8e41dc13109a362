//! Statistics of repeated measurements: median, confidence interval and spread.

/// Values of one quantity, in the order of the rounds.
pub(crate) type Samples = [f64];

/// A median with its confidence interval, of 95 % unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Median {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// Computes the median and its 95 % confidence interval. Returns `None` without finite values.
pub(crate) fn median_of(samples: &Samples) -> Option<Median> {
    interval(samples, 0.05)
}

/// Computes the median and the confidence interval that leaves the true median outside with a
/// probability of at most `outside`, without assumptions about the distribution of the values: the
/// ranks of the bounds follow from the binomial distribution. Returns `None` without finite values.
///
/// With too few values for that probability, the interval is from the least to the greatest.
pub(crate) fn interval(samples: &Samples, outside: f64) -> Option<Median> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let upper = sorted.get(count / 2)?;
    let lower = sorted.get((count - 1) / 2)?;
    let rank = rank(count, outside);
    Some(Median {
        median: (lower + upper) / 2.0,
        low: *sorted.get(rank)?,
        high: *sorted.get(count - 1 - rank)?,
    })
}

/// Returns the largest rank from both ends that leaves the true median outside with a probability
/// of at most `limit`.
fn rank(count: usize, limit: f64) -> usize {
    let mut outside = 0.0;
    let mut ways = 0.5f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    for rank in 0..count / 2 {
        outside += ways;
        if 2.0 * outside > limit {
            return rank.saturating_sub(1);
        }
        ways *= (count - rank) as f64 / (rank + 1) as f64;
    }
    0
}

/// Divides the samples of one benchmark by those of another, round by round. A disturbance that
/// lasts longer than a round affects both.
pub(crate) fn ratios(samples: &Samples, base: &Samples) -> Vec<f64> {
    samples.iter().zip(base).map(|(value, base)| value / base).collect()
}

/// Returns the relative spread: half of the values lie within this share of the median.
pub(crate) fn spread(samples: &Samples) -> f64 {
    let Some(Median { median, .. }) = median_of(samples) else { return f64::NAN };
    let distances: Vec<f64> = samples.iter().map(|value| (value - median).abs()).collect();
    median_of(&distances).map_or(f64::NAN, |distance| distance.median / median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_match_published_tables() {
        // Published tables of order statistics count ranks from 1.
        for (count, expected) in
            [(1, 0), (5, 0), (6, 0), (9, 1), (15, 3), (20, 5), (25, 7), (50, 17)]
        {
            assert_eq!(rank(count, 0.05), expected, "{count}");
        }
        assert_eq!([15, 25, 50].map(|count| rank(count, 0.01)), [2, 5, 15]);
    }

    #[test]
    fn median_has_a_confidence_interval() {
        assert_eq!(median_of(&[]), None);
        assert_eq!(median_of(&[f64::NAN]), None);
        let single = median_of(&[3.0]).unwrap();
        assert_eq!((single.median, single.low, single.high), (3.0, 3.0, 3.0));
        let nine: Vec<f64> = (1..=9).rev().map(f64::from).collect();
        let nine = median_of(&nine).unwrap();
        assert_eq!((nine.median, nine.low, nine.high), (5.0, 2.0, 8.0));
        assert_eq!(median_of(&[1.0, 2.0]).unwrap().median, 1.5);
    }

    #[test]
    fn compares_round_by_round() {
        assert_eq!(ratios(&[2.0, 3.0], &[1.0, 2.0]), [2.0, 1.5]);
        assert_eq!(spread(&[9.0, 10.0, 11.0]), 0.1);
    }
}
