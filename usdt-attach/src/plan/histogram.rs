//! The buckets of histograms.

use serde::Serialize;
use std::cmp::Ordering;
use std::sync::OnceLock;

/// The buckets of a histogram.
///
/// ```
/// use usdt_attach::plan::Buckets;
///
/// let buckets = Buckets::Log2 { signed: false };
/// assert_eq!(buckets.bounds(buckets.index(700)), (Some(512), Some(1023)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Buckets {
    /// Powers of two, one bucket per number of bits: 0, 1, 2–3, 4–7 …, mirrored below zero for
    /// signed values.
    Log2 {
        /// True if there are buckets below zero.
        signed: bool,
    },
    /// Buckets of equal width between two bounds, one bucket for values below and one for values
    /// above.
    Linear {
        /// The lower bound of the first inner bucket.
        low: i64,
        /// The upper bound of the last inner bucket, exclusive.
        high: i64,
        /// The width of an inner bucket; the last one may be narrower.
        step: u32,
        /// True if values are signed.
        signed: bool,
    },
    /// Powers of two of a unit, each of which is the highest value of its bucket. One bucket, for
    /// example, has the values above the unit up to twice the unit. Zero has a bucket of its own,
    /// and signed values have the same buckets below zero.
    ///
    /// These are the buckets of native histograms in Prometheus (schema 0) and of exponential
    /// histograms in OpenTelemetry (scale 0).
    Exponential {
        /// Number of measured units in one exported unit, such as 1,000,000,000 ns in a second; not
        /// 0.
        unit: u32,
        /// True if there are buckets below zero.
        signed: bool,
    },
    /// Times: bounds at 1, 2.5 and 5 times each power of ten of a second from 1 µs to 5,000 s, and at
    /// each power of two of a second. Each bound is the highest value of its bucket. So the counts
    /// for decimal bounds and for native histograms are both exact.
    Time {
        /// The unit of the values.
        unit: TimeUnit,
        /// True if there are buckets below zero.
        signed: bool,
    },
}

/// The unit of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
}

impl TimeUnit {
    /// Returns how many of this unit are a second.
    pub fn per_second(self) -> u32 {
        match self {
            TimeUnit::Ns => 1_000_000_000,
            TimeUnit::Us => 1_000_000,
            TimeUnit::Ms => 1000,
            TimeUnit::S => 1,
        }
    }

    /// Returns the highest value that is at most a decimal time, given in picoseconds: a bound of
    /// [`Buckets::Time`].
    pub fn highest_within(self, picoseconds: u64) -> u64 {
        let value = u128::from(picoseconds) * u128::from(self.per_second()) / 1_000_000_000_000;
        u64::try_from(value).unwrap_or(u64::MAX)
    }

    /// Returns the upper bounds of magnitudes in ascending order, beginning with 0. Magnitudes above
    /// the last one have a bucket, too.
    pub(crate) fn bounds(self) -> &'static [u64] {
        static ALL: [OnceLock<Vec<u64>>; 4] = [const { OnceLock::new() }; 4];
        let all = ALL.get(self as usize).map(|bounds| bounds.get_or_init(|| self.compute_bounds()));
        all.map_or(&[], Vec::as_slice)
    }

    fn compute_bounds(self) -> Vec<u64> {
        let powers = (-32..64).filter_map(|exponent| self.power_of_two(exponent));
        let decimals = decimal_times().map(|time| self.highest_within(time));
        let mut bounds: Vec<u64> = powers.chain(decimals).chain([0]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        bounds
    }

    /// Returns the highest value that is at most two to the power of `exponent` seconds; `None` if
    /// it does not fit.
    fn power_of_two(self, exponent: i32) -> Option<u64> {
        let unit = u128::from(self.per_second());
        let value = match exponent {
            0.. => unit << exponent.min(64),
            _ => unit >> exponent.unsigned_abs().min(64),
        };
        u64::try_from(value).ok()
    }
}

/// Returns 1, 2.5 and 5 times each power of ten from 1 µs to 1,000 s, in picoseconds and ascending.
pub fn decimal_times() -> impl Iterator<Item = u64> {
    (5..15).flat_map(|exponent| [10, 25, 50].map(|n| n * 10u64.pow(exponent)))
}

/// The sequence of a histogram's buckets. Signed arguments also get buckets for negative values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Powers of two, as [`Buckets::Log2`].
    #[default]
    Log2,
    /// Equal width, as [`Buckets::Linear`]. There are up to 1,000 inner buckets.
    Linear {
        /// The lower bound of the first inner bucket; less than `high`.
        low: i64,
        /// The upper bound of the last inner bucket, exclusive.
        high: i64,
        /// The width of an inner bucket; not 0.
        step: u32,
    },
    /// Powers of two of a unit, as [`Buckets::Exponential`].
    Exponential {
        /// Number of measured units in one exported unit.
        unit: u32,
    },
    /// Bounds that people know and powers of two, as [`Buckets::Time`].
    Time {
        /// The unit of the values.
        unit: TimeUnit,
    },
}

impl Scale {
    pub(super) fn buckets(self, signed: bool) -> Buckets {
        match self {
            Scale::Log2 => Buckets::Log2 { signed },
            Scale::Linear { low, high, step } => Buckets::Linear { low, high, step, signed },
            Scale::Time { unit } => Buckets::Time { unit, signed },
            Scale::Exponential { unit } => Buckets::Exponential { unit: unit.max(1), signed },
        }
    }
}

/// Number of inner buckets of a linear histogram at most. Every key has all buckets on every CPU.
pub(super) const MAX_LINEAR: u64 = 1000;

/// Shifts a unit so that its highest bit is the highest of 64. The unit is not 0.
pub(crate) fn aligned_unit(unit: u32) -> u64 {
    u64::from(unit) << (32 + unit.leading_zeros()).min(63)
}

impl Buckets {
    /// Returns the number of buckets.
    pub fn count(self) -> usize {
        match self {
            Buckets::Log2 { signed: false } => 65,
            Buckets::Log2 { signed: true } | Buckets::Exponential { signed: true, .. } => 129,
            // One more than 65: values of 64 bits can exceed the highest power of the unit that has
            // 64 bits.
            Buckets::Exponential { signed: false, .. } => 66,
            Buckets::Time { unit, signed: false } => unit.bounds().len() + 1,
            Buckets::Time { unit, signed: true } => 2 * unit.bounds().len() + 1,
            // The inner buckets, at most MAX_LINEAR, and one on each side.
            Buckets::Linear { .. } => self.inner() as usize + 2,
        }
    }

    /// Returns the number of linear buckets between the bounds; 0 for other kinds.
    pub(super) fn inner(self) -> u64 {
        match self {
            Buckets::Log2 { .. } | Buckets::Exponential { .. } | Buckets::Time { .. } => 0,
            Buckets::Linear { low, high, step, .. } => {
                high.abs_diff(low).div_ceil(u64::from(step.max(1)))
            }
        }
    }

    /// Returns true if values are signed.
    pub(crate) fn signed(self) -> bool {
        match self {
            Buckets::Log2 { signed }
            | Buckets::Linear { signed, .. }
            | Buckets::Time { signed, .. }
            | Buckets::Exponential { signed, .. } => signed,
        }
    }

    /// Returns the index of a value's bucket. A signed value is given as its two's complement.
    pub fn index(self, value: u64) -> usize {
        match self {
            Buckets::Log2 { .. } => self.mirrored(value, bit_len),
            Buckets::Exponential { unit, .. } => {
                self.mirrored(value, |magnitude| exponential_index(magnitude, unit))
            }
            Buckets::Time { unit, .. } => self.mirrored(value, |magnitude| {
                unit.bounds().partition_point(|bound| *bound < magnitude)
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

    /// Returns the index of a value's bucket, given the function for magnitudes. Buckets of
    /// negative values precede those of positive ones.
    fn mirrored(self, value: u64, index: impl Fn(u64) -> usize) -> usize {
        match self.signed() {
            false => index(value),
            true if (value as i64) < 0 => self.center() - index(value.wrapping_neg()),
            true => self.center() + index(value),
        }
    }

    /// Returns the index of zero if values are signed.
    pub(crate) fn center(self) -> usize {
        match self {
            Buckets::Time { unit, .. } => unit.bounds().len(),
            _ => 64,
        }
    }

    /// Returns the side of zero on which a bucket of times or an exponential one lies, and the
    /// exponent of its native bucket; `None` for other kinds of buckets. Magnitudes in the bucket
    /// are at most 2 to the power of the exponent, in exported units, and above half of that.
    pub fn exponent(self, index: usize) -> Option<(Ordering, i32)> {
        let center = if self.signed() { self.center() } else { 0 };
        let offset = index as i32 - center as i32;
        match self {
            Buckets::Exponential { unit, .. } => {
                Some((offset.cmp(&0), offset.abs() - (32 - unit.leading_zeros()) as i32))
            }
            Buckets::Time { unit, .. } => {
                let highest = unit.bounds().get(offset.unsigned_abs() as usize).copied();
                let highest = highest.unwrap_or(u64::MAX);
                let contains = |e: &i32| unit.power_of_two(*e).is_none_or(|power| power >= highest);
                Some((offset.cmp(&0), (-32..65).find(contains).unwrap_or(64)))
            }
            _ => None,
        }
    }

    /// Returns the lowest and the highest value of a bucket, both inclusive; `None` for an end that
    /// is not bounded.
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
            Buckets::Time { unit, signed } => {
                let center = if signed { self.center() } else { 0 };
                let at = index.abs_diff(center);
                let bound = |at: usize| unit.bounds().get(at).copied().map(i128::from);
                let low = at.checked_sub(1).and_then(bound).map_or(0, |below| below + 1);
                let high = bound(at).unwrap_or_else(|| u64::MAX.into());
                match index < center {
                    true => (Some(-high), Some(-low)),
                    false => (Some(low), Some(high)),
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

/// Returns the number of bits of a value; 0 for 0.
fn bit_len(value: u64) -> usize {
    (64 - value.leading_zeros()) as usize
}

/// Returns the number of bits of a magnitude, plus one if it is above the power of two of the unit
/// with as many bits.
fn exponential_index(magnitude: u64, unit: u32) -> usize {
    let bits = bit_len(magnitude);
    let aligned = magnitude.checked_shl(64 - bits as u32);
    bits + usize::from(aligned.is_some_and(|aligned| aligned > aligned_unit(unit)))
}

/// Returns the UCUM code of an argument's unit: the one that its schema declares, else the one that
/// its name ends in. `None` if neither is a time or a number of bytes.
pub(super) fn unit_of(argument: &str, declared: Option<&str>) -> Option<&'static str> {
    let code = match declared {
        Some(declared) => declared,
        None => match argument.rsplit('_').next().unwrap_or(argument) {
            "bytes" => "By",
            "seconds" => "s",
            last_word => last_word,
        },
    };
    let known = ["ns", "us", "ms", "By"].into_iter().find(|known| *known == code);
    // A name that ends in `_s` is usually a plural or a string.
    known.or_else(|| {
        (code == "s" && (declared.is_some() || argument.ends_with("seconds"))).then_some("s")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_unit_from_the_schema_or_the_name() {
        for (argument, declared, expected) in [
            ("duration_ns", None, Some("ns")),
            ("us", None, Some("us")),
            ("body_bytes", None, Some("By")),
            ("elapsed", Some("ns"), Some("ns")),
            ("elapsed", Some("s"), Some("s")),
            ("age_seconds", None, Some("s")),
            ("key_s", None, None),
            ("columns", None, None),
            ("wait_ns", Some("{request}"), None),
        ] {
            assert_eq!(unit_of(argument, declared), expected, "{argument}");
        }
    }

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
            (time_unit(), any::<bool>()).prop_map(|(unit, signed)| Buckets::Time { unit, signed }),
        ]
    }

    fn time_unit() -> impl Strategy<Value = TimeUnit> {
        prop_oneof![Just(TimeUnit::Ns), Just(TimeUnit::Us), Just(TimeUnit::Ms), Just(TimeUnit::S)]
    }

    #[test]
    fn bounds_of_times_contain_those_that_people_know() {
        let bounds = TimeUnit::Ns.bounds();
        for known in [1_000, 2_500, 5_000_000, 10_000_000, 250_000_000, 10_000_000_000] {
            assert!(bounds.contains(&known), "{known}");
        }
        assert!(bounds.contains(&976_562), "2^-10 s");
        assert!(bounds.len() < 100, "{}", bounds.len());
        assert_eq!(TimeUnit::Ms.highest_within(2_500_000_000), 2, "2.5 ms");
        assert_eq!(decimal_times().next(), Some(1_000_000), "1 µs");
        assert_eq!(decimal_times().last(), Some(5_000_000_000_000_000), "5000 s");
    }

    proptest! {
        #[test]
        fn times_are_in_the_native_buckets_of_prometheus(unit in time_unit(), shift in 0u32..64, raw: u64) {
            let buckets = Buckets::Time { unit, signed: true };
            let value = (raw as i64) >> shift;
            let (side, exponent) = buckets.exponent(buckets.index(value as u64)).unwrap();
            prop_assert_eq!(side, value.cmp(&0));
            let (size, unit) = (value.unsigned_abs(), f64::from(unit.per_second()));
            if size != 0 && size < 1 << 53 {
                prop_assert!(size as f64 <= unit * 2f64.powi(exponent), "{value} {unit} {exponent}");
                prop_assert!(size as f64 > unit * 2f64.powi(exponent - 1), "{value} {unit} {exponent}");
            }
        }

        #[test]
        fn bounds_contain_the_values_of_a_bucket(buckets in buckets(), shift in 0u32..64, raw: u64) {
            let value = if buckets.signed() { ((raw as i64) >> shift) as u64 } else { raw >> shift };
            let index = buckets.index(value);
            prop_assert!(index < buckets.count());
            let value = if buckets.signed() { i128::from(value as i64) } else { i128::from(value) };
            let (low, high) = buckets.bounds(index);
            prop_assert!(low.is_none_or(|low| low <= value), "{low:?} {value}");
            prop_assert!(high.is_none_or(|high| value <= high), "{value} {high:?}");
        }

        /// Prometheus and OpenTelemetry: above half a power of two of the unit, up to that power.
        #[test]
        fn exponential_buckets_match_prometheus_and_opentelemetry(unit in 1u32.., shift in 0u32..64, raw: u64) {
            let buckets = Buckets::Exponential { unit, signed: true };
            let value = (raw as i64) >> shift;
            let (side, exponent) = buckets.exponent(buckets.index(value as u64)).unwrap();
            prop_assert_eq!(side, value.cmp(&0));
            // Exact in f64: multiplying by a power of two changes only the exponent, and the
            // mantissa has 53 bits.
            let (size, unit) = (value.unsigned_abs(), f64::from(unit));
            if size != 0 && size < 1 << 53 {
                prop_assert!(size as f64 <= unit * 2f64.powi(exponent), "{value} {unit} {exponent}");
                prop_assert!(size as f64 > unit * 2f64.powi(exponent - 1), "{value} {unit} {exponent}");
            }
        }

        #[test]
        fn buckets_have_no_gaps(buckets in buckets()) {
            for index in 1..buckets.count() {
                prop_assert_eq!(buckets.bounds(index).0, buckets.bounds(index - 1).1.map(|high| high + 1));
            }
        }
    }
}
