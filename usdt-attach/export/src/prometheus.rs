//! The text exposition format 0.0.4 of Prometheus, and the choice between it and protobuf.

use crate::metric::{Family, HistogramValue, Kind, Series, SeriesValue};
use std::fmt::Write as _;

/// The value of the `Content-Type` header.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Formats metrics as text. Each family must occur once, because the format wants the series of one
/// name together.
pub(crate) fn render_text(families: &[Family]) -> String {
    let mut out = String::new();
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {0} {help}\n# TYPE {0} {kind}", family.name);
        for series in &family.series {
            write_series(&mut out, &family.name, series);
        }
    }
    out
}

fn write_series(out: &mut String, name: &str, series: &Series) {
    let labels = join_labels(&series.all_labels());
    let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    match &series.value {
        SeriesValue::Number(n) => {
            let _ = writeln!(out, "{name}{braced} {n}");
        }
        SeriesValue::Histogram(HistogramValue { buckets, count, sum, .. }) => {
            let before_bound = if labels.is_empty() { labels } else { labels + "," };
            let mut cumulative_count = 0u64;
            for bucket in buckets {
                cumulative_count += bucket.count;
                let bound = bucket.upper_bound;
                let _ = writeln!(
                    out,
                    "{name}_bucket{{{before_bound}le=\"{bound}\"}} {cumulative_count}"
                );
            }
            let _ = writeln!(out, "{name}_bucket{{{before_bound}le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{name}_sum{braced} {sum}\n{name}_count{braced} {count}");
        }
    }
}

/// Formats labels, separated by commas and without braces.
fn join_labels(labels: &[(&str, &str)]) -> String {
    let labels =
        labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape_label_value(value)));
    labels.collect::<Vec<_>>().join(",")
}

fn escape_label_value(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Whether an `Accept` header gives protobuf a higher weight than text. Prometheus does so if
/// native histograms are enabled.
pub(crate) fn prefers_protobuf(accept: &str) -> bool {
    let protobuf = max_weight(accept, |media_type| media_type == "application/vnd.google.protobuf");
    let text =
        max_weight(accept, |media_type| matches!(media_type, "text/plain" | "text/*" | "*/*"));
    protobuf > text
}

/// The highest weight of the media types that match; 0 if none does.
fn max_weight(accept: &str, matches: impl Fn(&str) -> bool) -> f64 {
    let mut max = 0f64;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        if !matches(parts.next().unwrap_or_default()) {
            continue;
        }
        let weight = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0));
        max = max.max(weight);
    }
    max
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Unit;
    use crate::metric::Bucket;
    use crate::owner::Owner;
    use std::sync::Arc;

    #[test]
    fn prefers_protobuf_if_its_weight_is_higher() {
        for (accept, protobuf) in [
            ("", false),
            ("*/*", false),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", false),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,text/plain;q=0.5",
                true,
            ),
            (
                "application/vnd.google.protobuf;encoding=delimited;q=0.3, text/plain;version=0.0.4;q=0.6",
                false,
            ),
            ("application/vnd.google.protobuf;q=x", false),
        ] {
            assert_eq!(prefers_protobuf(accept), protobuf, "{accept}");
        }
    }

    #[test]
    fn escapes_text_and_accumulates_buckets() {
        let label = |value: &str| vec![("method".to_owned(), value.to_owned())];
        let owner = Some(Arc::new(Owner {
            service: "web shop".to_owned(),
            container: Some("4f9c8b7a6d5e4f3c2b1a".to_owned()),
        }));
        let families = [
            Family {
                name: "a_total".to_owned(),
                help: "Two\nlines \\.".to_owned(),
                unit: Unit::None,
                ucum: "",
                kind: Kind::Counter,
                series: vec![
                    Series {
                        owner: owner.clone(),
                        labels: label("G\"E\\T\n"),
                        value: SeriesValue::Number(3),
                    },
                    Series {
                        owner: None,
                        labels: Vec::new(),
                        value: SeriesValue::Number(u64::MAX),
                    },
                ],
            },
            Family {
                name: "b_seconds".to_owned(),
                help: "Times.".to_owned(),
                unit: Unit::Ns,
                ucum: "s",
                kind: Kind::Histogram,
                series: vec![Series {
                    owner: None,
                    labels: label("GET"),
                    value: SeriesValue::Histogram(HistogramValue {
                        buckets: vec![
                            Bucket { upper_bound: 0.5, count: 1 },
                            Bucket { upper_bound: 1.0, count: 2 },
                        ],
                        count: 4,
                        sum: 7.25,
                        native: None,
                    }),
                }],
            },
        ];
        insta::assert_snapshot!(render_text(&families), @r#"
        # HELP a_total Two\nlines \\.
        # TYPE a_total counter
        a_total{container="4f9c8b7a6d5e",service="web shop",method="G\"E\\T\n"} 3
        a_total 18446744073709551615
        # HELP b_seconds Times.
        # TYPE b_seconds histogram
        b_seconds_bucket{method="GET",le="0.5"} 1
        b_seconds_bucket{method="GET",le="1"} 3
        b_seconds_bucket{method="GET",le="+Inf"} 4
        b_seconds_sum{method="GET"} 7.25
        b_seconds_count{method="GET"} 4
        "#);
    }
}
