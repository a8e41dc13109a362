//! Repeated measurements: their middle, and how sure that is.

/// Values of one quantity, in the order of the rounds.
pub(crate) type Samples = [f64];

/// What is said of a quantity: the median, and between which values it lies in 19 of 20 cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Median {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The median with its interval, which takes nothing for granted of how the values are distributed: ranks between
/// which the median is by the binomial distribution.
pub(crate) fn middle(samples: &Samples) -> Option<Median> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let upper = sorted.get(count / 2)?;
    let lower = sorted.get((count - 1) / 2)?;
    let rank = rank(count);
    Some(Median {
        median: (lower + upper) / 2.0,
        low: *sorted.get(rank)?,
        high: *sorted.get(count - 1 - rank)?,
    })
}

/// The largest rank from both ends that leaves the median outside in no more than one of 20 cases.
fn rank(count: usize) -> usize {
    let mut outside = 0.0;
    let mut ways = 0.5f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    for rank in 0..count / 2 {
        outside += ways;
        if 2.0 * outside > 0.05 {
            return rank.saturating_sub(1);
        }
        ways *= (count - rank) as f64 / (rank + 1) as f64;
    }
    0
}

/// Round by round, one quantity by another: what disturbs the machine for longer than a round disturbs both.
pub(crate) fn ratios(samples: &Samples, base: &Samples) -> Vec<f64> {
    samples.iter().zip(base).map(|(value, base)| value / base).collect()
}

/// Half of the values lie within this share of the median.
pub(crate) fn spread(samples: &Samples) -> f64 {
    let Some(Median { median, .. }) = middle(samples) else { return f64::NAN };
    let distances: Vec<f64> = samples.iter().map(|value| (value - median).abs()).collect();
    middle(&distances).map_or(f64::NAN, |distance| distance.median / median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_match_published_tables() {
        // The usual tables of order statistics, counted from 1 there.
        for (count, expected) in
            [(1, 0), (5, 0), (6, 0), (9, 1), (15, 3), (20, 5), (25, 7), (50, 17)]
        {
            assert_eq!(rank(count), expected, "{count}");
        }
    }

    #[test]
    fn median_has_a_confidence_interval() {
        assert_eq!(middle(&[]), None);
        assert_eq!(middle(&[f64::NAN]), None);
        let one = middle(&[3.0]).unwrap();
        assert_eq!((one.median, one.low, one.high), (3.0, 3.0, 3.0));
        let nine: Vec<f64> = (1..=9).rev().map(f64::from).collect();
        let nine = middle(&nine).unwrap();
        assert_eq!((nine.median, nine.low, nine.high), (5.0, 2.0, 8.0));
        assert_eq!(middle(&[1.0, 2.0]).unwrap().median, 1.5);
    }

    #[test]
    fn compares_round_by_round() {
        assert_eq!(ratios(&[2.0, 3.0], &[1.0, 2.0]), [2.0, 1.5]);
        assert_eq!(spread(&[9.0, 10.0, 11.0]), 0.1);
    }
}
