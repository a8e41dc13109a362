//! How a histogram divides its values.

use serde::Serialize;

/// The buckets of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Buckets {
    /// One bucket for each number of bits: 0, 1, 2–3, 4–7 …; for signed values the same below zero.
    Log2 {
        /// Whether there are buckets below zero.
        signed: bool,
    },
    /// Buckets of one width, one below and one above.
    Linear {
        /// The first bucket's lower bound.
        low: i64,
        /// The upper bound.
        high: i64,
        /// The width.
        step: u32,
        /// Whether values have a sign.
        signed: bool,
    },
}

/// Most buckets of a linear histogram: its values are per CPU and key.
pub(super) const MOST_LINEAR: u64 = 1000;

impl Buckets {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Buckets::Log2 { signed: false } => 65,
            Buckets::Log2 { signed: true } => 129,
            // At most MOST_LINEAR and two.
            Buckets::Linear { .. } => self.inner() as usize + 2,
        }
    }

    /// Linear buckets between the bounds.
    pub fn inner(self) -> u64 {
        match self {
            Buckets::Log2 { .. } => 0,
            Buckets::Linear { low, high, step, .. } => high.abs_diff(low).div_ceil(u64::from(step.max(1))),
        }
    }

    /// Whether values have a sign.
    pub fn signed(self) -> bool {
        match self {
            Buckets::Log2 { signed } | Buckets::Linear { signed, .. } => signed,
        }
    }

    /// The bucket of a value, given as 64 bits.
    pub fn index(self, value: u64) -> usize {
        let bits = |value: u64| (64 - value.leading_zeros()) as usize;
        match self {
            Buckets::Log2 { signed: false } => bits(value),
            Buckets::Log2 { signed: true } if (value as i64) < 0 => 64 - bits(value.wrapping_neg()),
            Buckets::Log2 { signed: true } => 64 + bits(value),
            Buckets::Linear { low, high, step, signed } => {
                let value = if signed { i128::from(value as i64) } else { i128::from(value) };
                if value < i128::from(low) {
                    0
                } else if value >= i128::from(high) {
                    self.count() - 1
                } else {
                    1 + ((value - i128::from(low)) / i128::from(step.max(1))) as usize
                }
            }
        }
    }

    /// Lowest and highest value of a bucket; `None` where it has no end.
    pub fn bounds(self, index: usize) -> (Option<i128>, Option<i128>) {
        let power = |n: usize| 1i128 << n.min(126);
        match self {
            Buckets::Log2 { signed: false } | Buckets::Log2 { signed: true } => {
                let offset = index as i64 - if self.signed() { 64 } else { 0 };
                let size = offset.unsigned_abs() as usize;
                match offset {
                    0 => (Some(0), Some(0)),
                    1.. => (Some(power(size - 1)), Some(power(size) - 1)),
                    _ => (Some(1 - power(size)), Some(-power(size - 1))),
                }
            }
            Buckets::Linear { low, high, step, .. } => {
                if index == 0 {
                    return (None, Some(i128::from(low) - 1));
                }
                if index + 1 == self.count() {
                    return (Some(high.into()), None);
                }
                let from = i128::from(low) + (index as i128 - 1) * i128::from(step);
                (Some(from), Some((from + i128::from(step)).min(high.into()) - 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn buckets() -> impl Strategy<Value = Buckets> {
        prop_oneof![
            any::<bool>().prop_map(|signed| Buckets::Log2 { signed }),
            (-1000i64..1000, 1i64..1000, 1u32..50, any::<bool>()).prop_map(|(low, width, step, signed)| {
                Buckets::Linear { low, high: low + width, step, signed }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(buckets in buckets(), shift in 0u32..64, raw: u64) {
            let value = if buckets.signed() { ((raw as i64) >> shift) as u64 } else { raw >> shift };
            let index = buckets.index(value);
            prop_assert!(index < buckets.count());
            let value = if buckets.signed() { i128::from(value as i64) } else { i128::from(value) };
            let (low, high) = buckets.bounds(index);
            prop_assert!(low.is_none_or(|low| low <= value), "{low:?} {value}");
            prop_assert!(high.is_none_or(|high| value <= high), "{value} {high:?}");
        }

        #[test]
        fn buckets_touch(buckets in buckets()) {
            for index in 1..buckets.count() {
                prop_assert_eq!(buckets.bounds(index).0, buckets.bounds(index - 1).1.map(|high| high + 1));
            }
        }
    }
}
