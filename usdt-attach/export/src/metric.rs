//! Metrics as both Prometheus and OpenTelemetry define them, built from the totals of aggregations
//! in the kernel.

use crate::config::Unit;
use crate::owner::Owner;
use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::Arc;
use usdt_attach::event::counts::{Histogram, Row, Total};
use usdt_attach::plan::{Buckets, PlannedProbe, Scale, TimeUnit, decimal_times};

/// A metric: a name, and a series for each combination of labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// Consists of letters, digits, `_` and `:`.
    pub(crate) name: String,
    pub(crate) help: String,
    /// The unit of the values before export: times are exported in seconds.
    pub(crate) unit: Unit,
    /// The UCUM code of the exported values, which OpenTelemetry uses; empty if it is not known.
    pub(crate) ucum: &'static str,
    pub(crate) kind: Kind,
    pub(crate) series: Vec<Series>,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Monotonic since the exporter started.
    Counter,
    /// The value at the moment.
    Gauge,
    Histogram,
}

/// A value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// Whose numbers they are; `None` for those of the exporter itself.
    pub(crate) owner: Option<Arc<Owner>>,
    /// Names and values, without those of the owner.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: SeriesValue,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SeriesValue {
    /// The value of a counter or gauge.
    Number(u64),
    Histogram(HistogramValue),
}

/// The value of a histogram, in exported units.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HistogramValue {
    /// Buckets by ascending upper bounds. Values above the last bound are only in `count`.
    pub(crate) buckets: Vec<Bucket>,
    /// The number of all values.
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// The same values in exponential buckets; `None` if the buckets are linear.
    pub(crate) native: Option<NativeBuckets>,
}

/// A bucket with an inclusive upper bound; the bound of the previous bucket is its exclusive lower
/// bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) upper_bound: f64,
    /// The number of values in this bucket alone.
    pub(crate) count: u64,
}

/// The buckets that are not empty, as schema 0 of Prometheus native histograms defines them: each
/// ends at a power of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NativeBuckets {
    /// The number of zeros.
    pub(crate) zero: u64,
    /// Buckets of positive values, by ascending exponent.
    pub(crate) positive: Vec<NativeBucket>,
    /// Buckets of the absolute values of negative values, by ascending exponent.
    pub(crate) negative: Vec<NativeBucket>,
}

/// The values above half of two to the power of `exponent`, up to that power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NativeBucket {
    pub(crate) exponent: i32,
    pub(crate) count: u64,
}

/// The highest of the bounds that each histogram of times has, beginning with 1 µs: 50 s, in
/// picoseconds. These bounds are exported even if their buckets are empty, so that a histogram keeps
/// its bounds while values come.
const LAST_TIME: u64 = 50_000_000_000_000;
/// The exponents of the bounds that all other histograms have: 1 to 2^20.
const OTHER_EXPONENTS: RangeInclusive<i32> = 0..=20;

impl Unit {
    /// How many of this unit are one exported unit.
    fn per_exported_unit(self) -> u32 {
        self.time_unit().map_or(1, TimeUnit::per_second)
    }

    /// The buckets of an exported histogram: they end at powers of two of the exported unit, as
    /// exponential buckets of both Prometheus and OpenTelemetry. Those of times also end at decimal
    /// bounds.
    pub(crate) fn scale(self) -> Scale {
        match self.time_unit() {
            Some(unit) => Scale::Time { unit },
            None => Scale::Exponential { unit: self.per_exported_unit() },
        }
    }

    fn time_unit(self) -> Option<TimeUnit> {
        match self {
            Unit::Ns => Some(TimeUnit::Ns),
            Unit::Us => Some(TimeUnit::Us),
            Unit::Ms => Some(TimeUnit::Ms),
            Unit::S => Some(TimeUnit::S),
            Unit::Bytes | Unit::None => None,
        }
    }

    /// Converts a value to the exported unit. It is divided and not multiplied by the inverse,
    /// because the nearest double of a quotient prints with few digits.
    fn to_exported(self, value: i128) -> f64 {
        value as f64 / f64::from(self.per_exported_unit())
    }

    fn is_time(self) -> bool {
        self.time_unit().is_some()
    }

    /// The suffix of metric names in this unit.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            _ if self.is_time() => "_seconds",
            Unit::Bytes => "_bytes",
            _ => "",
        }
    }

    /// The UCUM code of the exported unit, which OpenTelemetry uses; empty if it is not known.
    pub(crate) fn ucum_code(self) -> &'static str {
        match self {
            _ if self.is_time() => "s",
            Unit::Bytes => "By",
            _ => "",
        }
    }

    /// The unit that the name of an argument ends in.
    pub(crate) fn of_argument(name: &str) -> Unit {
        let last_word = name.rsplit('_').next().unwrap_or(name);
        match last_word {
            "ns" => Unit::Ns,
            "us" => Unit::Us,
            "ms" => Unit::Ms,
            "bytes" => Unit::Bytes,
            _ => Unit::None,
        }
    }
}

/// The name of a probe as the beginning of a metric name: `usdt_PROVIDER_PROBE`.
pub(crate) fn metric_name(probe: &PlannedProbe) -> String {
    to_metric_chars(&format!("usdt_{}_{}", probe.provider, probe.name.replace("__", "_")))
}

/// Replaces all characters but letters and digits by `_`.
pub(crate) fn to_metric_chars(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Converts a row. `with_probe` adds the labels `provider` and `probe`.
pub(crate) fn series(row: &Row, owner: &Arc<Owner>, unit: Unit, with_probe: bool) -> Series {
    let mut labels = Vec::new();
    if with_probe {
        labels.push(("provider".to_owned(), row.probe.provider.clone()));
        labels.push(("probe".to_owned(), row.probe.name.clone()));
    }
    let key = row.labels.iter();
    labels.extend(key.map(|(name, key)| (to_metric_chars(name), key.value().to_plain_string())));
    let value = match &row.total {
        Total::Count(n) => SeriesValue::Number(*n),
        Total::Histogram(histogram) => SeriesValue::Histogram(histogram_value(histogram, unit)),
    };
    Series { owner: Some(Arc::clone(owner)), labels, value }
}

impl Series {
    /// The labels with those of the owner, `service` and `container`, before them. If the series
    /// has a label of that name, that of the owner is called `exported_service` or
    /// `exported_container`.
    pub(crate) fn all_labels(&self) -> Vec<(&str, &str)> {
        let mut out = Vec::with_capacity(self.labels.len() + 2);
        if let Some(owner) = &self.owner {
            let is_free = |name: &str| self.labels.iter().all(|(label, _)| label != name);
            let name = |name, other| if is_free(name) { name } else { other };
            if let Some(container) = owner.short_container() {
                out.push((name("container", "exported_container"), container));
            }
            out.push((name("service", "exported_service"), &owner.service));
        }
        out.extend(self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        out
    }
}

/// Converts a histogram to buckets with upper bounds.
///
/// Values are integers of `unit`. If the bound of a bucket is not one, the highest integer in the
/// bucket is exported instead, so that no value is on the wrong side of the bound.
fn histogram_value(histogram: &Histogram, unit: Unit) -> HistogramValue {
    let scheme = histogram.buckets;
    let buckets = match scheme {
        Buckets::Time { unit, .. } => decimal_buckets(histogram, unit),
        _ => other_buckets(histogram, unit),
    };
    let has_native = matches!(scheme, Buckets::Exponential { .. } | Buckets::Time { .. });
    HistogramValue {
        buckets,
        count: histogram.count(),
        sum: unit.to_exported(histogram.sum),
        native: has_native.then(|| native_buckets(histogram)),
    }
}

/// Buckets of times, in seconds. The kernel's buckets end at each of their bounds.
fn decimal_buckets(histogram: &Histogram, unit: TimeUnit) -> Vec<Bucket> {
    let mut counts = histogram.counts.iter().enumerate().peekable();
    let mut out = Vec::new();
    // The number of buckets up to the last one that is exported.
    let mut used = 0;
    for time in decimal_times() {
        let highest = i128::from(unit.highest_within(time));
        let is_within =
            |index: usize| histogram.buckets.bounds(index).1.is_some_and(|high| high <= highest);
        let mut count = 0;
        while let Some((_, n)) = counts.next_if(|(index, _)| is_within(*index)) {
            count += n;
        }
        // Divided and not multiplied by the inverse: the nearest double prints with few digits.
        out.push(Bucket { upper_bound: time as f64 / 1e12, count });
        if count > 0 || time <= LAST_TIME {
            used = out.len();
        }
    }
    out.truncate(used);
    out
}

/// Buckets of values that are not times.
fn other_buckets(histogram: &Histogram, unit: Unit) -> Vec<Bucket> {
    let scheme = histogram.buckets;
    let count_at = |index: usize| histogram.counts.get(index).copied().unwrap_or(0);
    let is_always_exported = |index: usize| match scheme.exponent(index) {
        Some((Ordering::Equal, _)) => !unit.is_time(),
        Some((side, exponent)) => side.is_gt() && OTHER_EXPONENTS.contains(&exponent),
        None => matches!(scheme, Buckets::Linear { .. }),
    };
    let mut exported =
        (0..scheme.count()).filter(|index| count_at(*index) > 0 || is_always_exported(*index));
    let first = exported.next().unwrap_or(0);
    let last = exported.next_back().unwrap_or(first);
    let mut buckets = Vec::with_capacity(last - first + 1);
    for index in first..=last {
        let upper_bound = match (scheme.exponent(index), scheme.bounds(index)) {
            (Some((Ordering::Greater, exponent)), _) => f64::from(exponent).exp2(),
            (_, (_, Some(highest))) => unit.to_exported(highest),
            _ => continue,
        };
        buckets.push(Bucket { upper_bound, count: count_at(index) });
    }
    buckets
}

fn native_buckets(histogram: &Histogram) -> NativeBuckets {
    let mut out = NativeBuckets::default();
    for (index, count) in histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        match histogram.buckets.exponent(index) {
            // Several buckets of times are in one native bucket.
            Some((Ordering::Greater, exponent)) => match out.positive.last_mut() {
                Some(last) if last.exponent == exponent => last.count += count,
                _ => out.positive.push(NativeBucket { exponent, count: *count }),
            },
            // Negative values come in ascending order, that is, with descending exponents.
            Some((Ordering::Less, exponent)) => match out.negative.first_mut() {
                Some(first) if first.exponent == exponent => first.count += count,
                _ => out.negative.insert(0, NativeBucket { exponent, count: *count }),
            },
            Some((Ordering::Equal, _)) => out.zero = *count,
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(buckets: Buckets, values: &[i64]) -> Histogram {
        let mut counts = vec![0; buckets.count()];
        for value in values {
            counts[buckets.index(*value as u64)] += 1;
        }
        let sum = values.iter().map(|v| i128::from(*v)).sum();
        Histogram { buckets, counts, sum, min: 0, max: 0 }
    }

    fn exponential(unit: Unit, signed: bool, values: &[i64]) -> HistogramValue {
        let buckets = match unit.scale() {
            Scale::Time { unit } => Buckets::Time { unit, signed },
            _ => Buckets::Exponential { unit: unit.per_exported_unit(), signed },
        };
        histogram_value(&histogram(buckets, values), unit)
    }

    fn bounds_and_counts(value: &HistogramValue) -> Vec<(f64, u64)> {
        value.buckets.iter().map(|bucket| (bucket.upper_bound, bucket.count)).collect()
    }

    fn native(buckets: &[(i32, u64)]) -> Vec<NativeBucket> {
        buckets
            .iter()
            .map(|(exponent, count)| NativeBucket { exponent: *exponent, count: *count })
            .collect()
    }

    #[test]
    fn bounds_of_times_are_decimal_and_native_buckets_are_exact() {
        let value = exponential(Unit::Ns, false, &[500_000_000, 500_000_001, 2_000_000_000_000]);
        let buckets = bounds_and_counts(&value);
        assert_eq!(
            (value.count, buckets.iter().map(|b| b.1).sum::<u64>()),
            (3, 3),
            "the highest value has a bucket, too"
        );
        assert_eq!(buckets[0], (0.000_001, 0));
        assert_eq!(buckets[16..=19], [(0.25, 0), (0.5, 1), (1.0, 1), (2.5, 0)]);
        assert_eq!(buckets.last(), Some(&(2500.0, 1)));
        let shown: Vec<String> = buckets.iter().map(|(bound, _)| bound.to_string()).collect();
        assert_eq!(shown[..4], ["0.000001", "0.0000025", "0.000005", "0.00001"]);
        assert!(shown.iter().all(|bound| bound.len() <= 9), "{shown:?}");
        assert!((value.sum - 2001.000000001).abs() < 1e-9);
        let buckets = value.native.unwrap();
        assert_eq!(buckets.zero, 0);
        assert_eq!(buckets.positive, native(&[(-1, 1), (0, 1), (11, 1)]));
    }

    #[test]
    fn bounds_of_negative_values_are_the_highest_integers_of_their_buckets() {
        let value = exponential(Unit::None, true, &[-5, -4, 0, 0, 1, 3, 4]);
        let buckets = bounds_and_counts(&value);
        assert_eq!(buckets[..5], [(-5.0, 1), (-3.0, 1), (-2.0, 0), (-1.0, 0), (0.0, 2)]);
        assert_eq!(buckets[5..8], [(1.0, 1), (2.0, 0), (4.0, 2)]);
        let expected = NativeBuckets {
            zero: 2,
            positive: native(&[(0, 1), (2, 2)]),
            negative: native(&[(2, 1), (3, 1)]),
        };
        assert_eq!(value.native, Some(expected));
    }

    #[test]
    fn linear_values_above_the_last_bound_are_only_in_the_count() {
        let buckets = Buckets::Linear { low: 0, high: 10, step: 5, signed: true };
        let value = histogram_value(&histogram(buckets, &[-1, 3, 11]), Unit::None);
        assert_eq!(bounds_and_counts(&value), [(-1.0, 1), (4.0, 1), (9.0, 0)]);
        assert_eq!((value.count, value.native), (3, None));
    }

    #[test]
    fn bounds_do_not_depend_on_the_values() {
        let bounds = |values: &[i64]| {
            let value = exponential(Unit::Us, false, values);
            value.buckets.iter().map(|bucket| bucket.upper_bound).collect::<Vec<_>>()
        };
        assert_eq!(bounds(&[]), bounds(&[1, 1000, 50_000_000]));
        assert_eq!(bounds(&[]).last(), Some(&50.0));
        let empty = bounds_and_counts(&exponential(Unit::Bytes, false, &[]));
        assert_eq!(empty[..3], [(0.0, 0), (1.0, 0), (2.0, 0)], "zero bytes have a bound, too");
    }

    proptest! {
        #[test]
        fn every_time_is_at_most_its_bound(
            unit in prop_oneof![Just(Unit::Ns), Just(Unit::Us), Just(Unit::Ms), Just(Unit::S)],
            signed: bool,
            values in proptest::collection::vec((any::<i64>(), 0u32..64), 0..20),
        ) {
            let values: Vec<i64> = values.iter().map(|(n, shift)| (n >> shift).max(if signed { i64::MIN } else { 0 })).collect();
            let value = exponential(unit, signed, &values);
            let mut seen = 0;
            for bucket in &value.buckets {
                seen += bucket.count;
                let bound = bucket.upper_bound * f64::from(unit.per_exported_unit());
                // A bound is not an integer of every unit. Products of decimals are not exact.
                let expected = values.iter().filter(|n| **n as f64 <= bound * (1.0 + 1e-12)).count();
                prop_assert_eq!(seen, expected as u64, "{}", bucket.upper_bound);
            }
            let native = value.native.unwrap();
            let total: u64 = native.positive.iter().chain(&native.negative).map(|b| b.count).sum();
            prop_assert_eq!(total + native.zero, values.len() as u64);
            let exponents: Vec<i32> = native.positive.iter().map(|b| b.exponent).collect();
            prop_assert!(exponents.is_sorted_by(|a, b| a < b), "{exponents:?}");
        }
    }

    #[test]
    fn takes_the_unit_from_the_last_word_of_an_argument() {
        assert_eq!(Unit::of_argument("duration_ns"), Unit::Ns);
        assert_eq!(Unit::of_argument("ns"), Unit::Ns);
        assert_eq!(Unit::of_argument("columns"), Unit::None);
        assert_eq!(Unit::of_argument("bytes"), Unit::Bytes);
    }
}
