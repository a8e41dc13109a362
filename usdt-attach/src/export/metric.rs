//! Metrics as Prometheus and OpenTelemetry both have them, from what was counted in the kernel.

use super::config::Unit;
use crate::aggregate::{Histogram, Row, Total};
use crate::plan::{Buckets, PlannedProbe};
use crate::report::text;

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
    },
}

/// Powers of two between which every histogram has its bounds, so that they stay the same while values come: 1 µs to 69 s in
/// nanoseconds, up to a million of anything else.
const TIMES: std::ops::RangeInclusive<u32> = 10..=36;
const OTHERS: std::ops::RangeInclusive<u32> = 0..=20;

impl Unit {
    /// A value as it is exported. Divided, as the nearest number then prints short.
    fn exported(self, value: i128) -> f64 {
        let parts = match self {
            Unit::Ns => 1e9,
            Unit::Us => 1e6,
            Unit::Ms => 1e3,
            Unit::S | Unit::Bytes | Unit::None => 1.0,
        };
        value as f64 / parts
    }

    /// What it is called in names of metrics.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Unit::Ns | Unit::Us | Unit::Ms | Unit::S => "_seconds",
            Unit::Bytes => "_bytes",
            Unit::None => "",
        }
    }

    /// UCUM's code, as OpenTelemetry has it.
    pub(super) fn code(self) -> &'static str {
        match self {
            Unit::Ns | Unit::Us | Unit::Ms | Unit::S => "s",
            Unit::Bytes => "By",
            Unit::None => "1",
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
    labels.extend(row.key.iter().map(|(name, key)| (word(name), text::plain(key.value()))));
    let value = match &row.total {
        Total::Count(n) => Measured::Number(*n),
        Total::Histogram(histogram) => sizes(histogram, unit),
    };
    Series { labels, value }
}

/// Buckets by upper bounds. Values are whole numbers, so `le` is the highest of the bucket itself and no value is on
/// the wrong side of it.
fn sizes(histogram: &Histogram, unit: Unit) -> Measured {
    let used = |index: usize| histogram.counts.get(index).is_some_and(|n| *n > 0);
    let all = 0..histogram.counts.len();
    let always = match histogram.buckets {
        Buckets::Linear { .. } => all.clone(),
        Buckets::Log2 { signed } => {
            let zero = if signed { 64 } else { 0 };
            let core = if matches!(unit, Unit::Ns) { TIMES } else { OTHERS };
            zero + *core.start() as usize..zero + *core.end() as usize + 1
        }
    };
    let first = all.clone().find(|i| used(*i)).map_or(always.start, |i| i.min(always.start));
    let last = all.clone().rev().find(|i| used(*i)).map_or(always.end, |i| (i + 1).max(always.end));
    let mut buckets = Vec::with_capacity(last.saturating_sub(first));
    for index in first..last {
        let (_, Some(high)) = histogram.buckets.bounds(index) else { continue };
        let count = histogram.counts.get(index).copied().unwrap_or(0);
        buckets.push((unit.exported(high), count));
    }
    Measured::Sizes { buckets, count: histogram.count(), sum: unit.exported(histogram.sum) }
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

    #[test]
    fn bounds_hold_what_they_say() {
        let times = histogram(Buckets::Log2 { signed: true }, &[1023, 1024, 2_000_000_000_000]);
        let Measured::Sizes { buckets, count, sum } = sizes(&times, Unit::Ns) else { panic!() };
        assert_eq!((count, buckets[0].1, buckets[1].1), (3, 1, 1));
        assert!(buckets[0].0 >= 1023e-9 && buckets[0].0 < 1024e-9, "{buckets:?}");
        assert_eq!(buckets.iter().map(|b| b.1).sum::<u64>(), 3, "the highest one has a bound of its own");
        assert!((sum - 2000.000002047).abs() < 1e-9);
        let negative = histogram(Buckets::Log2 { signed: true }, &[-5]);
        let Measured::Sizes { buckets, .. } = sizes(&negative, Unit::None) else { panic!() };
        assert_eq!(buckets[0], (-4.0, 1));
        let linear = histogram(Buckets::Linear { low: 0, high: 10, step: 5, signed: true }, &[-1, 3, 11]);
        let Measured::Sizes { buckets, count, .. } = sizes(&linear, Unit::None) else { panic!() };
        assert_eq!(buckets, [(-1.0, 1), (4.0, 1), (9.0, 0)], "above the last bound is in the count alone");
        assert_eq!(count, 3);
    }

    #[test]
    fn units_of_arguments() {
        assert_eq!(Unit::of_argument("duration_ns"), Unit::Ns);
        assert_eq!(Unit::of_argument("ns"), Unit::Ns);
        assert_eq!(Unit::of_argument("columns"), Unit::None);
        assert_eq!(Unit::of_argument("bytes"), Unit::Bytes);
    }
}
