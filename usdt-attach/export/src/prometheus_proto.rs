//! The protobuf exposition format of Prometheus, which has native histograms: one message for each
//! metric, with its length as a prefix.
//!
//! The messages are those of `io/prometheus/client/metrics.proto` in prometheus/client_model;
//! fields that are never set are left out.

use crate::metric::{
    Family, HistogramValue, Kind, NativeBucket, NativeBuckets, Series, SeriesValue,
};
use prost::Message;

pub(crate) const CONTENT_TYPE: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The width of the zero bucket: 2^-128, as in the libraries of Prometheus. A histogram without
/// values is recognized as native by this field.
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

/// The messages `Gauge` and `Counter`, which have the same fields.
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

/// Encodes metrics.
pub(crate) fn render(families: &[Family]) -> Vec<u8> {
    families
        .iter()
        .flat_map(|family| encode_family(family).encode_length_delimited_to_vec())
        .collect()
}

fn encode_family(family: &Family) -> MetricFamily {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    MetricFamily {
        name: family.name.clone(),
        help: family.help.clone(),
        kind: kind.into(),
        metric: family.series.iter().map(|series| encode_series(series, kind)).collect(),
    }
}

fn encode_series(series: &Series, kind: MetricType) -> Metric {
    let label = series
        .all_labels()
        .into_iter()
        .map(|(name, value)| LabelPair { name: name.to_owned(), value: value.to_owned() })
        .collect();
    let mut out = Metric { label, ..Metric::default() };
    match &series.value {
        SeriesValue::Number(n) => {
            let number = Some(Number { value: *n as f64 });
            if kind == MetricType::Counter { out.counter = number } else { out.gauge = number }
        }
        SeriesValue::Histogram(value) => out.histogram = Some(encode_histogram(value)),
    }
    out
}

fn encode_histogram(value: &HistogramValue) -> Histogram {
    let mut cumulative_count = 0;
    let mut out =
        Histogram { sample_count: value.count, sample_sum: value.sum, ..Histogram::default() };
    for bucket in &value.buckets {
        cumulative_count += bucket.count;
        out.bucket.push(Bucket { cumulative_count, upper_bound: bucket.upper_bound });
    }
    if let Some(NativeBuckets { zero, positive, negative }) = &value.native {
        out.schema = Some(0);
        out.zero_threshold = Some(ZERO_THRESHOLD);
        out.zero_count = Some(*zero);
        (out.positive_span, out.positive_delta) = encode_native_buckets(positive);
        (out.negative_span, out.negative_delta) = encode_native_buckets(negative);
    }
    out
}

/// Encodes buckets as spans and deltas.
///
/// A span is a run of consecutive exponents, with its distance from the end of the previous span. A
/// delta is the difference between the counts of a bucket and of the previous one.
fn encode_native_buckets(buckets: &[NativeBucket]) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut spans, mut deltas) = (Vec::<BucketSpan>::new(), Vec::new());
    let (mut next_exponent, mut previous_count) = (0, 0i64);
    for bucket in buckets {
        match spans.last_mut() {
            Some(span) if bucket.exponent == next_exponent => span.length += 1,
            _ => spans.push(BucketSpan { offset: bucket.exponent - next_exponent, length: 1 }),
        }
        // No count reaches 2^63.
        let count = bucket.count as i64;
        deltas.push(count - previous_count);
        (next_exponent, previous_count) = (bucket.exponent + 1, count);
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Unit;
    use crate::metric;
    use proptest::prelude::*;

    fn native(buckets: &[(i32, u64)]) -> Vec<NativeBucket> {
        buckets
            .iter()
            .map(|(exponent, count)| NativeBucket { exponent: *exponent, count: *count })
            .collect()
    }

    #[test]
    fn encodes_classic_and_native_buckets_of_one_histogram() {
        let value = HistogramValue {
            buckets: vec![
                metric::Bucket { upper_bound: 0.5, count: 1 },
                metric::Bucket { upper_bound: 1.0, count: 2 },
            ],
            count: 4,
            sum: 7.25,
            native: Some(NativeBuckets {
                zero: 2,
                positive: native(&[(-3, 5), (-2, 1), (4, 7)]),
                negative: native(&[(0, 1)]),
            }),
        };
        let labels = vec![("method".to_owned(), "GET".to_owned())];
        let times = Family {
            name: "b_seconds".to_owned(),
            help: "Times.".to_owned(),
            unit: Unit::Ns,
            ucum: "s",
            kind: Kind::Histogram,
            series: vec![Series { owner: None, labels, value: SeriesValue::Histogram(value) }],
        };
        let hits = Family {
            name: "a_total".to_owned(),
            kind: Kind::Counter,
            series: vec![Series { owner: None, labels: Vec::new(), value: SeriesValue::Number(3) }],
            ..times.clone()
        };
        let page = render(&[hits, times]);
        let mut rest = page.as_slice();
        let first = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        assert_eq!(first.kind(), MetricType::Counter);
        assert_eq!(first.metric[0].counter, Some(Number { value: 3.0 }));
        let second = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        assert!(rest.is_empty());
        let metric = &second.metric[0];
        assert_eq!(metric.label, [LabelPair { name: "method".into(), value: "GET".into() }]);
        let histogram = metric.histogram.as_ref().unwrap();
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
        fn spans_and_deltas_decode_to_the_same_buckets(
            buckets in proptest::collection::btree_map(-64i32..65, 1..u64::from(u32::MAX), 0..40)
        ) {
            let buckets: Vec<(i32, u64)> = buckets.into_iter().collect();
            let (spans, deltas) = encode_native_buckets(&native(&buckets));
            let (mut exponent, mut count, mut deltas) = (0, 0, deltas.into_iter());
            let mut decoded = Vec::new();
            for span in spans {
                exponent += span.offset;
                for _ in 0..span.length {
                    count += deltas.next().unwrap();
                    decoded.push((exponent, count as u64));
                    exponent += 1;
                }
            }
            prop_assert_eq!(decoded, buckets);
            prop_assert_eq!(deltas.next(), None);
        }
    }
}
