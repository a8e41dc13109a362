//! Metrics as Prometheus and OpenTelemetry both have them, from what was counted in the kernel.

use crate::config::Unit;
use std::cmp::Ordering;
use usdt_attach::event::counts::{Histogram, Row, Total};
use usdt_attach::plan::{Buckets, PlannedProbe, Scale};

/// A metric: its name and a value for each combination of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Letters, digits, `_` and `:`.
    pub name: String,
    /// What it means.
    pub help: String,
    /// Of histograms.
    pub unit: Unit,
    /// What it is.
    pub kind: Kind,
    /// Its values.
    pub series: Vec<Series>,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is at the moment.
    Gauge,
    /// Values by size.
    Histogram,
}

/// A value and its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: Measured,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// Of a counter or gauge.
    Number(u64),
    /// Of a histogram.
    Sizes {
        /// Upper bounds, each included, and how many values lie in that bucket; what is above them all is not among them.
        buckets: Vec<(f64, u64)>,
        /// All values, those above the last bound included.
        count: u64,
        /// Their sum.
        sum: f64,
        /// The same buckets by exponents, where each ends at a power of two.
        powers: Option<Powers>,
    },
}

/// Buckets that end at powers of two: schema 0 of Prometheus' native histograms. Only those with values in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    /// Values that are 0.
    pub zero: u64,
    /// Exponents, and how many values lie above half of that power and not above it; ascending.
    pub positive: Vec<(i32, u64)>,
    /// The same for values below zero, without their sign.
    pub negative: Vec<(i32, u64)>,
}

/// Exponents of the bounds that every histogram has, so that they stay the same while values come: 1 µs to 64 s, and up to
/// a million of anything else.
const SECONDS: std::ops::RangeInclusive<i32> = -20..=6;
const OTHERS: std::ops::RangeInclusive<i32> = 0..=20;

impl Unit {
    /// So many are one of what is exported.
    fn parts(self) -> u32 {
        match self {
            Unit::Ns => 1_000_000_000,
            Unit::Us => 1_000_000,
            Unit::Ms => 1000,
            Unit::S | Unit::Bytes | Unit::None => 1,
        }
    }

    /// The buckets of a histogram that is exported: those that both Prometheus and OpenTelemetry call exponential.
    pub(super) fn scale(self) -> Scale {
        Scale::Exponential { unit: self.parts() }
    }

    /// A value as it is exported. Divided, as the nearest number then prints short.
    fn exported(self, value: i128) -> f64 {
        value as f64 / f64::from(self.parts())
    }

    /// Whether it is exported in seconds.
    fn is_time(self) -> bool {
        matches!(self, Unit::Ns | Unit::Us | Unit::Ms | Unit::S)
    }

    /// What it is called in names of metrics.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            _ if self.is_time() => "_seconds",
            Unit::Bytes => "_bytes",
            _ => "",
        }
    }

    /// UCUM's code, as OpenTelemetry has it.
    pub(super) fn code(self) -> &'static str {
        match self {
            _ if self.is_time() => "s",
            Unit::Bytes => "By",
            _ => "1",
        }
    }

    /// As the name of an argument has it.
    pub(super) fn of_argument(name: &str) -> Unit {
        let last = name.rsplit('_').next().unwrap_or(name);
        match last {
            "ns" => Unit::Ns,
            "us" => Unit::Us,
            "ms" => Unit::Ms,
            "bytes" => Unit::Bytes,
            _ => Unit::None,
        }
    }
}

/// A probe's name as part of a metric's.
pub(super) fn name_of(probe: &PlannedProbe) -> String {
    word(&format!("usdt_{}_{}", probe.provider, probe.name.replace("__", "_")))
}

/// Letters, digits and `_`.
pub(super) fn word(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The series of a row.
pub(super) fn series(row: &Row, unit: Unit, with_probe: bool) -> Series {
    let mut labels = Vec::new();
    if with_probe {
        labels.push(("provider".to_owned(), row.probe.provider.clone()));
        labels.push(("probe".to_owned(), row.probe.name.clone()));
    }
    labels.extend(row.labels.iter().map(|(name, key)| (word(name), key.value().to_plain_string())));
    let value = match &row.total {
        Total::Count(n) => Measured::Number(*n),
        Total::Histogram(histogram) => sizes(histogram, unit),
    };
    Series { labels, value }
}

/// Buckets by upper bounds. Values are whole numbers, so where a bucket ends at none, `le` is the highest of the bucket
/// itself, and no value is on the wrong side of it.
fn sizes(histogram: &Histogram, unit: Unit) -> Measured {
    let bucketing = histogram.buckets;
    let count = |index: usize| histogram.counts.get(index).copied().unwrap_or(0);
    let core = if unit.is_time() { SECONDS } else { OTHERS };
    let always = |index: usize| match bucketing.exponent(index) {
        Some((Ordering::Equal, _)) => !unit.is_time(),
        Some((side, exponent)) => side.is_gt() && core.contains(&exponent),
        None => matches!(bucketing, Buckets::Linear { .. }),
    };
    let mut shown = (0..bucketing.count()).filter(|index| count(*index) > 0 || always(*index));
    let first = shown.next().unwrap_or(0);
    let last = shown.next_back().unwrap_or(first);
    let mut buckets = Vec::with_capacity(last - first + 1);
    for index in first..=last {
        let bound = match (bucketing.exponent(index), bucketing.bounds(index)) {
            (Some((Ordering::Greater, exponent)), _) => f64::from(exponent).exp2(),
            (_, (_, Some(high))) => unit.exported(high),
            _ => continue,
        };
        buckets.push((bound, count(index)));
    }
    let powers = matches!(bucketing, Buckets::Exponential { .. }).then(|| powers(histogram));
    Measured::Sizes { buckets, count: histogram.count(), sum: unit.exported(histogram.sum), powers }
}

fn powers(histogram: &Histogram) -> Powers {
    let mut out = Powers::default();
    for (index, count) in histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        match histogram.buckets.exponent(index) {
            Some((Ordering::Greater, exponent)) => out.positive.push((exponent, *count)),
            // Those farthest from zero come first.
            Some((Ordering::Less, exponent)) => out.negative.insert(0, (exponent, *count)),
            Some((Ordering::Equal, _)) => out.zero = *count,
            None => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(buckets: Buckets, values: &[i64]) -> Histogram {
        let mut counts = vec![0; buckets.count()];
        for value in values {
            counts[buckets.index(*value as u64)] += 1;
        }
        let sum = values.iter().map(|v| i128::from(*v)).sum();
        Histogram { buckets, counts, sum, min: 0, max: 0 }
    }

    fn exponential(unit: Unit, signed: bool, values: &[i64]) -> Histogram {
        histogram(Buckets::Exponential { unit: unit.parts(), signed }, values)
    }

    #[test]
    fn bounds_hold_what_they_say() {
        let Measured::Sizes { buckets, count, sum, powers } = sizes(
            &exponential(Unit::Ns, false, &[500_000_000, 500_000_001, 2_000_000_000_000]),
            Unit::Ns,
        ) else {
            panic!()
        };
        assert_eq!(
            (count, buckets.iter().map(|b| b.1).sum::<u64>()),
            (3, 3),
            "the highest one has a bound, too"
        );
        assert_eq!(buckets[0], (1.0 / 1048576.0, 0));
        assert_eq!(buckets[18..=21], [(0.25, 0), (0.5, 1), (1.0, 1), (2.0, 0)]);
        assert_eq!(buckets.last(), Some(&(2048.0, 1)));
        assert!((sum - 2001.000000001).abs() < 1e-9);
        let powers = powers.unwrap();
        assert_eq!((powers.zero, powers.positive), (0, vec![(-1, 1), (0, 1), (11, 1)]));
        let Measured::Sizes { buckets, powers, .. } =
            sizes(&exponential(Unit::None, true, &[-5, -4, 0, 0, 1, 3, 4]), Unit::None)
        else {
            panic!()
        };
        assert_eq!(buckets[..5], [(-5.0, 1), (-3.0, 1), (-2.0, 0), (-1.0, 0), (0.0, 2)]);
        assert_eq!(buckets[5..8], [(1.0, 1), (2.0, 0), (4.0, 2)]);
        let expected =
            Powers { zero: 2, positive: vec![(0, 1), (2, 2)], negative: vec![(2, 1), (3, 1)] };
        assert_eq!(powers, Some(expected));
        let linear =
            histogram(Buckets::Linear { low: 0, high: 10, step: 5, signed: true }, &[-1, 3, 11]);
        let Measured::Sizes { buckets, count, powers, .. } = sizes(&linear, Unit::None) else {
            panic!()
        };
        assert_eq!(
            buckets,
            [(-1.0, 1), (4.0, 1), (9.0, 0)],
            "above the last bound is in the count alone"
        );
        assert_eq!((count, powers), (3, None));
    }

    #[test]
    fn bounds_stay_while_values_come() {
        let bounds = |values: &[i64]| {
            let Measured::Sizes { buckets, .. } =
                sizes(&exponential(Unit::Us, false, values), Unit::Us)
            else {
                panic!()
            };
            buckets.into_iter().map(|(bound, _)| bound).collect::<Vec<_>>()
        };
        assert_eq!(bounds(&[]), bounds(&[1, 1000, 60_000_000]));
        assert_eq!(bounds(&[]).last(), Some(&64.0));
        let Measured::Sizes { buckets, .. } =
            sizes(&exponential(Unit::Bytes, false, &[]), Unit::Bytes)
        else {
            panic!()
        };
        assert_eq!(buckets[..3], [(0.0, 0), (1.0, 0), (2.0, 0)], "nothing is a size, too");
    }

    #[test]
    fn units_of_arguments() {
        assert_eq!(Unit::of_argument("duration_ns"), Unit::Ns);
        assert_eq!(Unit::of_argument("ns"), Unit::Ns);
        assert_eq!(Unit::of_argument("columns"), Unit::None);
        assert_eq!(Unit::of_argument("bytes"), Unit::Bytes);
    }
}
