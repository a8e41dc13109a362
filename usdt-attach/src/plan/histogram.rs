//! How a histogram divides its values.

use serde::Serialize;
use std::cmp::Ordering;

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
    /// One bucket for each power of two of a unit, which is the bucket's highest value: zero alone, above half the unit up
    /// to the unit, above that up to two of it; for signed values the same below zero. Exponential histograms of
    /// Prometheus (schema 0) and OpenTelemetry (scale 0) have these.
    Exponential {
        /// So many make one of what is exported, such as 1,000,000,000 ns; not 0.
        unit: u32,
        /// Whether there are buckets below zero.
        signed: bool,
    },
}

/// How the buckets of a histogram follow each other. Whether there are any below zero says the argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// By the number of bits, as [`Buckets::Log2`].
    #[default]
    Log2,
    /// Of one width, as [`Buckets::Linear`].
    Linear {
        /// The first bucket's lower bound.
        low: i64,
        /// The upper bound.
        high: i64,
        /// The width.
        step: u32,
    },
    /// By powers of two of a unit, as [`Buckets::Exponential`].
    Exponential {
        /// So many make one of what is exported.
        unit: u32,
    },
}

impl Scale {
    pub(super) fn buckets(self, signed: bool) -> Buckets {
        match self {
            Scale::Log2 => Buckets::Log2 { signed },
            Scale::Linear { low, high, step } => Buckets::Linear { low, high, step, signed },
            Scale::Exponential { unit } => Buckets::Exponential { unit: unit.max(1), signed },
        }
    }
}

/// Most buckets of a linear histogram: its values are per CPU and key.
pub(super) const MOST_LINEAR: u64 = 1000;

/// A unit with its highest bit where a word has its own.
pub(crate) fn aligned_unit(unit: u32) -> u64 {
    u64::from(unit) << (32 + unit.leading_zeros()).min(63)
}

impl Buckets {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Buckets::Log2 { signed: false } => 65,
            Buckets::Log2 { signed: true } | Buckets::Exponential { signed: true, .. } => 129,
            // The highest values lie above the highest power of a unit that has their number of bits.
            Buckets::Exponential { signed: false, .. } => 66,
            // At most MOST_LINEAR and two.
            Buckets::Linear { .. } => self.inner() as usize + 2,
        }
    }

    /// Linear buckets between the bounds.
    pub fn inner(self) -> u64 {
        match self {
            Buckets::Log2 { .. } | Buckets::Exponential { .. } => 0,
            Buckets::Linear { low, high, step, .. } => {
                high.abs_diff(low).div_ceil(u64::from(step.max(1)))
            }
        }
    }

    /// Whether values have a sign.
    pub fn signed(self) -> bool {
        match self {
            Buckets::Log2 { signed }
            | Buckets::Linear { signed, .. }
            | Buckets::Exponential { signed, .. } => signed,
        }
    }

    /// The bucket of a value, given as 64 bits.
    pub fn index(self, value: u64) -> usize {
        let bits = |value: u64| (64 - value.leading_zeros()) as usize;
        match self {
            Buckets::Log2 { .. } => self.mirrored(value, bits),
            Buckets::Exponential { unit, .. } => self.mirrored(value, |value| {
                let bits = bits(value);
                // Both with their highest bits in one place: which is the larger one?
                bits + usize::from(
                    value
                        .checked_shl(64 - bits as u32)
                        .is_some_and(|value| value > aligned_unit(unit)),
                )
            }),
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

    /// The bucket of a magnitude, on the side of zero that the value lies on.
    fn mirrored(self, value: u64, of: impl Fn(u64) -> usize) -> usize {
        match self.signed() {
            false => of(value),
            true if (value as i64) < 0 => 64 - of(value.wrapping_neg()),
            true => 64 + of(value),
        }
    }

    /// Of an exponential histogram's bucket: on which side of zero it lies, and for which power of two its values are at
    /// most that many units away from it.
    pub fn exponent(self, index: usize) -> Option<(Ordering, i32)> {
        let Buckets::Exponential { unit, signed } = self else { return None };
        let offset = index as i32 - if signed { 64 } else { 0 };
        Some((offset.cmp(&0), offset.abs() - (32 - unit.leading_zeros()) as i32))
    }

    /// Lowest and highest value of a bucket; `None` where it has no end.
    pub fn bounds(self, index: usize) -> (Option<i128>, Option<i128>) {
        let power = |n: usize| 1i128 << n.min(126);
        match self {
            Buckets::Log2 { .. } => {
                let offset = index as i64 - if self.signed() { 64 } else { 0 };
                let size = offset.unsigned_abs() as usize;
                match offset {
                    0 => (Some(0), Some(0)),
                    1.. => (Some(power(size - 1)), Some(power(size) - 1)),
                    _ => (Some(1 - power(size)), Some(-power(size - 1))),
                }
            }
            Buckets::Exponential { unit, .. } => {
                let (side, exponent) = self.exponent(index).unwrap_or((Ordering::Equal, 0));
                let power = |n: i32| match n {
                    0.. => i128::from(unit) << n.min(80),
                    _ => i128::from(unit) >> n.unsigned_abs().min(80),
                };
                let (low, high) = (power(exponent - 1) + 1, power(exponent));
                match side {
                    Ordering::Equal => (Some(0), Some(0)),
                    Ordering::Greater => (Some(low), Some(high)),
                    Ordering::Less => (Some(-high), Some(-low)),
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
            (-1000i64..1000, 1i64..1000, 1u32..50, any::<bool>()).prop_map(
                |(low, width, step, signed)| {
                    Buckets::Linear { low, high: low + width, step, signed }
                }
            ),
            (prop_oneof![Just(1), Just(1000), Just(1_000_000_000), 1u32..], any::<bool>())
                .prop_map(|(unit, signed)| Buckets::Exponential { unit, signed }),
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

        /// As Prometheus and OpenTelemetry have it: above half a power of two of the unit, up to it.
        #[test]
        fn exponential_buckets_are_those_of_exporters(unit in 1u32.., shift in 0u32..64, raw: u64) {
            let buckets = Buckets::Exponential { unit, signed: true };
            let value = (raw as i64) >> shift;
            let (side, exponent) = buckets.exponent(buckets.index(value as u64)).unwrap();
            prop_assert_eq!(side, value.cmp(&0));
            // Exact: a power of two only changes an exponent, and there are 53 bits.
            let (size, unit) = (value.unsigned_abs(), f64::from(unit));
            if size != 0 && size < 1 << 53 {
                prop_assert!(size as f64 <= unit * 2f64.powi(exponent), "{value} {unit} {exponent}");
                prop_assert!(size as f64 > unit * 2f64.powi(exponent - 1), "{value} {unit} {exponent}");
            }
        }

        #[test]
        fn buckets_touch(buckets in buckets()) {
            for index in 1..buckets.count() {
                prop_assert_eq!(buckets.bounds(index).0, buckets.bounds(index - 1).1.map(|high| high + 1));
            }
        }
    }
}
