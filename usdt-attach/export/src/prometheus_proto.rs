//! Prometheus' protobuf exposition, which has native histograms (`io/prometheus/client/metrics.proto` of
//! prometheus/client_model): a message for each metric, its length in front of it.

use crate::metric::{Family, Kind, Measured, Powers, Series};
use prost::Message;

pub(super) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// Values so near to zero are zero: 2^-128, as Prometheus' own libraries have it. That it is there makes a histogram a
/// native one, also without values.
const ZERO_THRESHOLD: f64 = 1.0 / (1u128 << 127) as f64 / 2.0;

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(enumeration = "MetricType", tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `Gauge` and `Counter`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, optional, tag = "5")]
    schema: Option<i32>,
    #[prost(double, optional, tag = "6")]
    zero_threshold: Option<f64>,
    #[prost(uint64, optional, tag = "7")]
    zero_count: Option<u64>,
    #[prost(message, repeated, tag = "9")]
    negative_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "10")]
    negative_delta: Vec<i64>,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// Renders metrics.
pub(super) fn render(families: &[Family]) -> Vec<u8> {
    families.iter().flat_map(|one| family(one).encode_length_delimited_to_vec()).collect()
}

fn family(family: &Family) -> MetricFamily {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    MetricFamily {
        name: family.name.clone(),
        help: family.help.clone(),
        kind: kind.into(),
        metric: family.series.iter().map(|series| metric(series, kind)).collect(),
    }
}

fn metric(series: &Series, kind: MetricType) -> Metric {
    let pair =
        |(name, value): &(String, String)| LabelPair { name: name.clone(), value: value.clone() };
    let mut out = Metric { label: series.labels.iter().map(pair).collect(), ..Metric::default() };
    match &series.value {
        Measured::Number(n) => {
            let number = Some(Number { value: *n as f64 });
            if kind == MetricType::Counter { out.counter = number } else { out.gauge = number }
        }
        Measured::Sizes { buckets, count, sum, powers } => {
            let mut below = 0;
            let bucket = buckets.iter().map(|(upper_bound, count)| {
                below += count;
                Bucket { cumulative_count: below, upper_bound: *upper_bound }
            });
            let mut histogram = Histogram {
                sample_count: *count,
                sample_sum: *sum,
                bucket: bucket.collect(),
                ..Histogram::default()
            };
            if let Some(powers) = powers {
                native(&mut histogram, powers);
            }
            out.histogram = Some(histogram);
        }
    }
    out
}

fn native(out: &mut Histogram, powers: &Powers) {
    out.schema = Some(0);
    out.zero_threshold = Some(ZERO_THRESHOLD);
    out.zero_count = Some(powers.zero);
    (out.positive_span, out.positive_delta) = spans(&powers.positive);
    (out.negative_span, out.negative_delta) = spans(&powers.negative);
}

/// Runs of exponents that follow each other, each with its distance from the end of the one before; and each count less
/// the one before.
fn spans(powers: &[(i32, u64)]) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut deltas) = (Vec::<BucketSpan>::new(), Vec::new());
    let (mut next, mut before) = (0, 0i64);
    for (exponent, count) in powers {
        match spans.last_mut() {
            Some(span) if *exponent == next => span.length += 1,
            _ => spans.push(BucketSpan { offset: exponent - next, length: 1 }),
        }
        // Nothing was counted 2^63 times.
        let count = *count as i64;
        deltas.push(count - before);
        (next, before) = (exponent + 1, count);
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Unit;
    use proptest::prelude::*;

    #[test]
    fn a_histogram_is_both() {
        let powers =
            Powers { zero: 2, positive: vec![(-3, 5), (-2, 1), (4, 7)], negative: vec![(0, 1)] };
        let value = Measured::Sizes {
            buckets: vec![(0.5, 1), (1.0, 2)],
            count: 4,
            sum: 7.25,
            powers: Some(powers),
        };
        let labels = vec![("method".to_owned(), "GET".to_owned())];
        let sizes = Family {
            name: "b_seconds".to_owned(),
            help: "Times.".to_owned(),
            unit: Unit::Ns,
            kind: Kind::Histogram,
            series: vec![Series { labels, value }],
        };
        let hits = Family {
            name: "a_total".to_owned(),
            kind: Kind::Counter,
            series: vec![Series { labels: Vec::new(), value: Measured::Number(3) }],
            ..sizes.clone()
        };
        let page = render(&[hits, sizes]);
        let mut rest = page.as_slice();
        let first = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        assert_eq!(first.kind(), MetricType::Counter);
        assert_eq!(first.metric[0].counter, Some(Number { value: 3.0 }));
        let second = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        assert!(rest.is_empty());
        let one = &second.metric[0];
        assert_eq!((one.label[0].name.as_str(), one.label[0].value.as_str()), ("method", "GET"));
        let histogram = one.histogram.as_ref().unwrap();
        assert_eq!(histogram.bucket[1], Bucket { cumulative_count: 3, upper_bound: 1.0 });
        assert_eq!((histogram.schema, histogram.zero_count), (Some(0), Some(2)));
        let span = |offset, length| BucketSpan { offset, length };
        assert_eq!(histogram.positive_span, [span(-3, 2), span(5, 1)]);
        assert_eq!(histogram.positive_delta, [5, -4, 6]);
        assert_eq!(
            (&*histogram.negative_span, &*histogram.negative_delta),
            (&[span(0, 1)][..], &[1][..])
        );
        assert_eq!(ZERO_THRESHOLD, (-128f64).exp2());
    }

    proptest! {
        #[test]
        fn spans_say_what_powers_do(
            powers in proptest::collection::btree_map(-64i32..65, 1..u64::from(u32::MAX), 0..40)
        ) {
            let powers: Vec<(i32, u64)> = powers.into_iter().collect();
            let (spans, deltas) = spans(&powers);
            let (mut at, mut count, mut deltas) = (0, 0, deltas.into_iter());
            let mut read = Vec::new();
            for span in spans {
                at += span.offset;
                for _ in 0..span.length {
                    count += deltas.next().unwrap();
                    read.push((at, count as u64));
                    at += 1;
                }
            }
            prop_assert_eq!(read, powers);
            prop_assert_eq!(deltas.next(), None);
        }
    }
}
