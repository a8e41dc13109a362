//! The encoding of OTLP requests: JSON, as the OpenTelemetry protocol specification 1.x defines it
//! in the section "OTLP/HTTP". IDs are hexadecimal, and 64-bit integers are strings.
//!
//! Requests are serialized without intermediate values: there may be tens of thousands of spans per
//! second, and tens of thousands of series.

use crate::config::SpanKind;
use crate::metric::{Family, HistogramValue, Kind, Series, SeriesValue};
use crate::owner::Owner;
use crate::span::{Attribute, Span};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// The name of the instrumentation scope.
const SCOPE_NAME: &str = "usdt-attach";
/// The maximum number of series in a request. Collectors limit the size of requests.
const MAX_SERIES: usize = 2000;

/// When counters were 0, and when they were read, in nanoseconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Period {
    pub(crate) since: u64,
    pub(crate) now: u64,
}

/// Encodes metrics with a resource for each owner, and passes the body of each request to `send`.
pub(crate) fn metrics(
    families: &[Family],
    resource: &BTreeMap<String, String>,
    period: Period,
    mut send: impl FnMut(Vec<u8>),
) {
    let mut owners: BTreeMap<Option<&Owner>, Vec<Metric<'_>>> = BTreeMap::new();
    for family in families {
        for series in &family.series {
            let metrics = owners.entry(series.owner.as_deref()).or_default();
            match metrics.last_mut().filter(|metric| std::ptr::eq(metric.family, family)) {
                Some(metric) => metric.series.push(series),
                None => metrics.push(Metric { family, series: vec![series], period }),
            }
        }
    }
    let mut request: Vec<Resource<'_>> = Vec::new();
    let mut free = MAX_SERIES;
    for (owner, metrics) in owners {
        for Metric { family, mut series, period } in metrics {
            while !series.is_empty() {
                let later = series.split_off(series.len().min(free));
                free -= series.len();
                let metric = Metric { family, series, period };
                match request.last_mut().filter(|resource| resource.owner == owner) {
                    Some(resource) => resource.metrics.push(metric),
                    None => request.push(Resource { owner, metrics: vec![metric] }),
                }
                series = later;
                if free == 0 {
                    send(metrics_request(&std::mem::take(&mut request), resource));
                    free = MAX_SERIES;
                }
            }
        }
    }
    if !request.is_empty() {
        send(metrics_request(&request, resource));
    }
}

/// The metrics of one owner; `None` for those of the exporter itself.
struct Resource<'a> {
    owner: Option<&'a Owner>,
    metrics: Vec<Metric<'a>>,
}

fn metrics_request(resources: &[Resource<'_>], configured: &BTreeMap<String, String>) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct MetricsRequest<'a> {
        resource_metrics: Vec<ResourceMetrics<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ResourceMetrics<'a> {
        resource: Value,
        scope_metrics: [ScopeMetrics<'a>; 1],
    }
    #[derive(Serialize)]
    struct ScopeMetrics<'a> {
        scope: Value,
        metrics: &'a [Metric<'a>],
    }
    let resource_metrics = |one| {
        let Resource { owner, metrics }: &Resource<'_> = one;
        let attributes = match owner {
            Some(owner) => owner_attributes(configured, owner),
            None => resource_attributes(configured, &[("service.name", SCOPE_NAME.to_owned())]),
        };
        ResourceMetrics {
            resource: json!({"attributes": attributes}),
            scope_metrics: [ScopeMetrics { scope: scope(), metrics }],
        }
    };
    encode(&MetricsRequest { resource_metrics: resources.iter().map(resource_metrics).collect() })
}

/// The attributes of an owner's resource. If the configuration sets the name of the service for all
/// of them, the executable has the owner's: resources must differ.
fn owner_attributes(configured: &BTreeMap<String, String>, owner: &Owner) -> Vec<Value> {
    let mut defaults = vec![("service.name", owner.service.clone())];
    if configured.contains_key("service.name") {
        defaults.push(("process.executable.name", owner.service.clone()));
    }
    defaults.extend(owner.container.clone().map(|id| ("container.id", id)));
    resource_attributes(configured, &defaults)
}

/// Some series of a family.
struct Metric<'a> {
    family: &'a Family,
    series: Vec<&'a Series>,
    period: Period,
}

impl Serialize for Metric<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Data<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            aggregation_temporality: Option<u8>,
            #[serde(skip_serializing_if = "Option::is_none")]
            is_monotonic: Option<bool>,
            data_points: DataPoints<'a>,
        }
        // AGGREGATION_TEMPORALITY_CUMULATIVE
        const CUMULATIVE: Option<u8> = Some(2);
        let data_points = DataPoints { series: &self.series, period: self.period };
        let (name, aggregation_temporality, is_monotonic) = match self.family.kind {
            Kind::Counter => ("sum", CUMULATIVE, Some(true)),
            Kind::Gauge => ("gauge", None, None),
            Kind::Histogram => ("histogram", CUMULATIVE, None),
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.family.name)?;
        map.serialize_entry("description", &self.family.help)?;
        map.serialize_entry("unit", self.family.ucum)?;
        map.serialize_entry(name, &Data { aggregation_temporality, is_monotonic, data_points })?;
        map.end()
    }
}

struct DataPoints<'a> {
    series: &'a [&'a Series],
    period: Period,
}

impl Serialize for DataPoints<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let period = self.period;
        serializer.collect_seq(self.series.iter().map(|series| DataPoint { series, period }))
    }
}

struct DataPoint<'a> {
    series: &'a Series,
    period: Period,
}

impl Serialize for DataPoint<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("attributes", &Labels(&self.series.labels))?;
        map.serialize_entry("startTimeUnixNano", &AsString(self.period.since))?;
        map.serialize_entry("timeUnixNano", &AsString(self.period.now))?;
        match &self.series.value {
            SeriesValue::Number(n) => map.serialize_entry("asInt", &AsString(n))?,
            SeriesValue::Histogram(HistogramValue { buckets, count, sum, .. }) => {
                let in_buckets: u64 = buckets.iter().map(|bucket| bucket.count).sum();
                // The last count is that of the values above the last bound.
                let above = count.saturating_sub(in_buckets);
                let counts = buckets.iter().map(|bucket| bucket.count).chain([above]);
                let counts: Vec<AsString<u64>> = counts.map(AsString).collect();
                let bounds: Vec<f64> = buckets.iter().map(|bucket| bucket.upper_bound).collect();
                map.serialize_entry("count", &AsString(count))?;
                map.serialize_entry("sum", sum)?;
                map.serialize_entry("bucketCounts", &counts)?;
                map.serialize_entry("explicitBounds", &bounds)?;
            }
        }
        map.end()
    }
}

struct Labels<'a>(&'a [(String, String)]);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(name, value)| label(name, value)))
    }
}

/// An attribute with the value of a string.
#[derive(Serialize)]
struct StringAttribute<'a> {
    key: &'a str,
    value: StringValue<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StringValue<'a> {
    string_value: &'a str,
}

fn label<'a>(key: &'a str, value: &'a str) -> StringAttribute<'a> {
    StringAttribute { key, value: StringValue { string_value: value } }
}

/// Encodes spans as the body of a request, with a resource for each process.
pub(crate) fn spans(spans: &[(Arc<Owner>, Span)], resource: &BTreeMap<String, String>) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct TracesRequest<'a> {
        resource_spans: Vec<ResourceSpans<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ResourceSpans<'a> {
        resource: Value,
        scope_spans: [ScopeSpans<'a>; 1],
    }
    #[derive(Serialize)]
    struct ScopeSpans<'a> {
        scope: Value,
        spans: Vec<SpanObject<'a>>,
    }
    let mut processes: BTreeMap<(u32, &Owner), Vec<SpanObject<'_>>> = BTreeMap::new();
    for (owner, span) in spans {
        processes.entry((span.pid, owner)).or_default().push(SpanObject(span));
    }
    let resource_spans = |((pid, owner), spans): ((u32, &Owner), _)| {
        let mut attributes = owner_attributes(resource, owner);
        attributes.push(json!({"key": "process.pid", "value": {"intValue": pid.to_string()}}));
        ResourceSpans {
            resource: json!({"attributes": attributes}),
            scope_spans: [ScopeSpans { scope: scope(), spans }],
        }
    };
    encode(&TracesRequest { resource_spans: processes.into_iter().map(resource_spans).collect() })
}

/// Serialization cannot fail: all keys are strings.
fn encode(request: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(request).unwrap_or_default()
}

/// A span, serialized without an intermediate [`Value`], as there may be tens of thousands per
/// second.
struct SpanObject<'a>(&'a Span);

impl Serialize for SpanObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let span = self.0;
        let kind = match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("traceId", &AsString(Hex(&span.trace_id)))?;
        map.serialize_entry("spanId", &AsString(Hex(&span.span_id)))?;
        if let Some(parent_id) = &span.parent_id {
            map.serialize_entry("parentSpanId", &AsString(Hex(parent_id)))?;
        }
        map.serialize_entry("name", &span.name)?;
        map.serialize_entry("kind", &kind)?;
        map.serialize_entry("startTimeUnixNano", &AsString(span.start_ns))?;
        map.serialize_entry("endTimeUnixNano", &AsString(span.end_ns))?;
        map.serialize_entry("attributes", &Attributes(&span.attributes))?;
        if let Some(message) = &span.error {
            // STATUS_CODE_ERROR
            map.serialize_entry("status", &Status { code: 2, message })?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct Status<'a> {
    code: u8,
    message: &'a str,
}

struct Attributes<'a>(&'a [(String, Attribute)]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Pair<'a> {
            key: &'a str,
            value: AnyValue<'a>,
        }
        serializer
            .collect_seq(self.0.iter().map(|(key, value)| Pair { key, value: AnyValue(value) }))
    }
}

struct AnyValue<'a>(&'a Attribute);

impl Serialize for AnyValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            Attribute::Int(n) => map.serialize_entry("intValue", &AsString(n))?,
            Attribute::Float(n) if n.is_finite() => map.serialize_entry("doubleValue", n)?,
            // JSON has no such numbers. The JSON mapping of proto3 writes them as strings.
            Attribute::Float(n) if n.is_nan() => map.serialize_entry("doubleValue", "NaN")?,
            Attribute::Float(n) => {
                map.serialize_entry(
                    "doubleValue",
                    if *n > 0.0 { "Infinity" } else { "-Infinity" },
                )?;
            }
            Attribute::Bool(b) => map.serialize_entry("boolValue", b)?,
            Attribute::String(text) => map.serialize_entry("stringValue", text)?,
        }
        map.end()
    }
}

/// Serializes a value as the string that it displays.
struct AsString<T>(T);

impl<T: fmt::Display> Serialize for AsString<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |n: u8| char::from(DIGITS.get(usize::from(n & 15)).copied().unwrap_or(b'?'));
        self.0.iter().try_for_each(|byte| {
            f.write_char(digit(byte >> 4))?;
            f.write_char(digit(*byte))
        })
    }
}

fn scope() -> Value {
    json!({"name": SCOPE_NAME, "version": env!("CARGO_PKG_VERSION")})
}

fn string_attribute(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}

/// The attributes of the configuration, and the defaults that it does not override.
fn resource_attributes(
    configured: &BTreeMap<String, String>,
    defaults: &[(&str, String)],
) -> Vec<Value> {
    let mut out: Vec<Value> =
        configured.iter().map(|(name, value)| string_attribute(name, value)).collect();
    let missing = defaults.iter().filter(|(name, _)| !configured.contains_key(*name));
    out.extend(missing.map(|(name, value)| string_attribute(name, value)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Unit;
    use crate::metric::Bucket;

    fn requests(families: &[Family]) -> Vec<Value> {
        let mut out = Vec::new();
        metrics(families, &BTreeMap::new(), Period { since: 1, now: 2 }, |body| {
            out.push(serde_json::from_slice(&body).unwrap());
        });
        out
    }

    fn family(kind: Kind, series: Vec<Series>) -> Family {
        let (name, help) = ("m".to_owned(), "Help.".to_owned());
        Family { name, help, unit: Unit::Ns, ucum: "s", kind, series }
    }

    #[test]
    fn encodes_counters_and_histograms() {
        let labels = vec![("l".to_owned(), "v".to_owned())];
        let histogram = HistogramValue {
            buckets: vec![Bucket { upper_bound: 0.5, count: 1 }],
            count: 4,
            sum: 7.25,
            native: None,
        };
        let counter = Series { owner: None, labels: labels.clone(), value: SeriesValue::Number(3) };
        let histogram =
            Series { owner: None, labels: Vec::new(), value: SeriesValue::Histogram(histogram) };
        let all = requests(&[
            family(Kind::Counter, vec![counter]),
            family(Kind::Histogram, vec![histogram]),
        ]);
        let metrics = &all[0]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
        assert_eq!(
            metrics[0],
            json!({"name": "m", "description": "Help.", "unit": "s", "sum": {
                "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [{
                    "attributes": [{"key": "l", "value": {"stringValue": "v"}}],
                    "startTimeUnixNano": "1", "timeUnixNano": "2", "asInt": "3",
                }],
            }})
        );
        assert_eq!(
            metrics[1]["histogram"],
            json!({"aggregationTemporality": 2, "dataPoints": [{
                "attributes": [], "startTimeUnixNano": "1", "timeUnixNano": "2",
                "count": "4", "sum": 7.25, "bucketCounts": ["1", "3"], "explicitBounds": [0.5],
            }]})
        );
    }

    #[test]
    fn splits_many_series_into_requests() {
        let series = |n: usize| {
            (0..n).map(|n| Series {
                owner: None,
                labels: vec![("n".to_owned(), n.to_string())],
                value: SeriesValue::Number(1),
            })
        };
        let families = [
            family(Kind::Counter, series(10).collect()),
            family(Kind::Counter, series(2 * MAX_SERIES).collect()),
        ];
        let sizes: Vec<usize> = requests(&families)
            .iter()
            .map(|request| {
                let metrics =
                    request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].as_array().unwrap();
                let points = |metric: &Value| metric["sum"]["dataPoints"].as_array().unwrap().len();
                metrics.iter().map(points).sum()
            })
            .collect();
        assert_eq!(sizes, [MAX_SERIES, MAX_SERIES, 10]);
    }
}
