//! The client of an OpenTelemetry collector: OTLP over HTTP in its JSON encoding.
//!
//! The encoding is that of the OpenTelemetry protocol specification 1.x, section "OTLP/HTTP": IDs
//! are hexadecimal, and 64-bit integers are strings. Requests are sent by a thread, so that a slow
//! collector does not delay the exporter.

use crate::config::{Otlp, SpanKind};
use crate::metric::{Family, HistogramValue, Kind, Series, SeriesValue};
use crate::span::{Attribute, Span};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use usdt_attach::error::{Error, Result};

/// The name of the instrumentation scope.
const SCOPE_NAME: &str = "usdt-attach";
/// The maximum number of spans in a request.
pub(crate) const MAX_BATCH: usize = 512;
/// How long the collector may take to answer a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a failed request is retried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// The time before the first retry. It doubles with each retry, up to the maximum.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// The maximum number of requests that wait to be sent.
const MAX_WAITING_REQUESTS: usize = 64;

/// Encodes metrics as the body of a request. Times are in nanoseconds since 1970; `since` is when
/// the counters were 0.
pub(crate) fn metrics(
    families: &[Family],
    resource: &BTreeMap<String, String>,
    since: u64,
    now: u64,
) -> Vec<u8> {
    let metrics: Vec<Value> = families.iter().map(|family| metric(family, since, now)).collect();
    encode(&json!({"resourceMetrics": [{
        "resource": {"attributes": resource_attributes(resource, &[("service.name", SCOPE_NAME.to_owned())])},
        "scopeMetrics": [{"scope": scope(), "metrics": metrics}],
    }]}))
}

fn metric(family: &Family, since: u64, now: u64) -> Value {
    let points: Vec<Value> = family.series.iter().map(|series| point(series, since, now)).collect();
    // AGGREGATION_TEMPORALITY_CUMULATIVE
    const CUMULATIVE: u8 = 2;
    let data = match family.kind {
        Kind::Counter => (
            "sum",
            json!({"aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": points}),
        ),
        Kind::Gauge => ("gauge", json!({"dataPoints": points})),
        Kind::Histogram => {
            ("histogram", json!({"aggregationTemporality": CUMULATIVE, "dataPoints": points}))
        }
    };
    json!({"name": family.name, "description": family.help, "unit": family.unit.ucum_code(), data.0: data.1})
}

fn point(series: &Series, since: u64, now: u64) -> Value {
    let attributes: Vec<Value> =
        series.labels.iter().map(|(name, value)| string_attribute(name, value)).collect();
    let mut point = json!({
        "attributes": attributes,
        "startTimeUnixNano": since.to_string(),
        "timeUnixNano": now.to_string(),
    });
    let fields = match &series.value {
        SeriesValue::Number(n) => json!({"asInt": n.to_string()}),
        SeriesValue::Histogram(HistogramValue { buckets, count, sum, .. }) => {
            let in_buckets: u64 = buckets.iter().map(|bucket| bucket.count).sum();
            // The last count is that of the values above the last bound.
            let counts =
                buckets.iter().map(|bucket| bucket.count).chain([count.saturating_sub(in_buckets)]);
            json!({
                "count": count.to_string(),
                "sum": sum,
                "bucketCounts": counts.map(|n| n.to_string()).collect::<Vec<_>>(),
                "explicitBounds":
                    buckets.iter().map(|bucket| bucket.upper_bound).collect::<Vec<_>>(),
            })
        }
    };
    if let (Some(point), Value::Object(fields)) = (point.as_object_mut(), fields) {
        point.extend(fields);
    }
    point
}

/// Encodes spans as the body of a request, with a resource for each process. `service_name` returns
/// the name of a process's program.
pub(crate) fn spans(
    spans: &[Span],
    resource: &BTreeMap<String, String>,
    service_name: impl Fn(u32) -> String,
) -> Vec<u8> {
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
    let mut processes: BTreeMap<u32, Vec<SpanObject<'_>>> = BTreeMap::new();
    for span in spans {
        processes.entry(span.pid).or_default().push(SpanObject(span));
    }
    let resource_spans = |(pid, spans): (u32, _)| {
        let mut attributes = resource_attributes(resource, &[("service.name", service_name(pid))]);
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

/// Counts of requests since the sender started.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    /// Requests that the collector accepted.
    pub(crate) sent: AtomicU64,
    /// Requests that the collector did not accept, or for which the queue was full.
    pub(crate) lost: AtomicU64,
    /// The spans of the lost requests.
    pub(crate) lost_spans: AtomicU64,
}

impl RequestCounts {
    fn add_lost(&self, request: &Request) {
        self.lost.fetch_add(1, Relaxed);
        self.lost_spans.fetch_add(request.spans as u64, Relaxed);
    }
}

/// A request to the collector.
struct Request {
    path: &'static str,
    body: Vec<u8>,
    /// The number of spans in the body.
    spans: usize,
}

/// Sends requests to a collector, from a thread of its own.
pub(crate) struct Sender {
    queue: Option<SyncSender<Request>>,
    thread: Option<JoinHandle<()>>,
    pub(crate) counts: Arc<RequestCounts>,
    is_stopping: Arc<AtomicBool>,
}

impl Sender {
    /// Starts the thread. `report` receives messages for the user.
    pub(crate) fn start(config: &Otlp, report: impl Fn(String) + Send + 'static) -> Result<Sender> {
        let (queue, requests) = sync_channel(MAX_WAITING_REQUESTS);
        let counts = Arc::new(RequestCounts::default());
        let is_stopping = Arc::new(AtomicBool::new(false));
        let mut worker = Worker {
            agent: ureq::Agent::config_builder()
                .timeout_global(Some(REQUEST_TIMEOUT))
                .build()
                .into(),
            endpoint: config.endpoint.trim_end_matches('/').to_owned(),
            headers: config.headers.clone(),
            counts: Arc::clone(&counts),
            is_stopping: Arc::clone(&is_stopping),
            reported_problem: None,
            report: Box::new(report),
        };
        let thread = std::thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || worker.run(&requests));
        let thread = thread.map_err(|source| Error::io("cannot start a thread", source))?;
        Ok(Sender { queue: Some(queue), thread: Some(thread), counts, is_stopping })
    }

    /// Queues a request with metrics.
    pub(crate) fn send_metrics(&self, body: Vec<u8>) {
        self.send(Request { path: "/v1/metrics", body, spans: 0 });
    }

    /// Queues a request with `count` spans.
    pub(crate) fn send_spans(&self, body: Vec<u8>, count: usize) {
        self.send(Request { path: "/v1/traces", body, spans: count });
    }

    fn send(&self, request: Request) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) =
            queue.try_send(request)
        {
            self.counts.add_lost(&request);
        }
    }
}

impl Drop for Sender {
    /// Sends the requests that wait, each once: a request that fails now is lost.
    fn drop(&mut self) {
        self.is_stopping.store(true, Relaxed);
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The sending thread.
struct Worker {
    agent: ureq::Agent,
    endpoint: String,
    headers: BTreeMap<String, String>,
    counts: Arc<RequestCounts>,
    is_stopping: Arc<AtomicBool>,
    /// The problem of the last request, which is not reported again; `None` after a success.
    reported_problem: Option<String>,
    report: Box<dyn Fn(String) + Send>,
}

/// Why a request failed.
enum SendError {
    /// The collector may accept it later.
    Retryable(String),
    /// The collector has rejected it.
    Permanent(String),
}

impl Worker {
    fn run(&mut self, requests: &Receiver<Request>) {
        while let Ok(request) = requests.recv() {
            self.deliver(&request);
        }
    }

    /// Sends a request. Retries it until the collector accepts or rejects it, or for as long as
    /// [`RETRY_TIMEOUT`].
    fn deliver(&mut self, request: &Request) {
        let begin = Instant::now();
        let mut backoff = MIN_BACKOFF;
        loop {
            let (problem, retry) = match self.try_send(request) {
                Ok(()) => {
                    self.counts.sent.fetch_add(1, Relaxed);
                    if self.reported_problem.take().is_some() {
                        (self.report)(format!("{}: accepts requests again", self.endpoint));
                    }
                    return;
                }
                Err(SendError::Retryable(problem)) => {
                    (problem, begin.elapsed() + backoff < RETRY_TIMEOUT)
                }
                Err(SendError::Permanent(problem)) => (problem, false),
            };
            if self.reported_problem.as_ref() != Some(&problem) {
                (self.report)(format!("{}{}: {problem}", self.endpoint, request.path));
                self.reported_problem = Some(problem);
            }
            // Sleeps in steps, to notice when the exporter stops.
            let next_try = Instant::now() + backoff;
            while retry && !self.is_stopping.load(Relaxed) && Instant::now() < next_try {
                std::thread::sleep(MIN_BACKOFF);
            }
            if !retry || self.is_stopping.load(Relaxed) {
                return self.counts.add_lost(request);
            }
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    fn try_send(&self, request: &Request) -> std::result::Result<(), SendError> {
        let url = format!("{}{}", self.endpoint, request.path);
        let mut post = self.agent.post(&url).header("Content-Type", "application/json");
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        match post.send(request.body.as_slice()) {
            Ok(_) => Ok(()),
            // The status codes that the specification declares retryable.
            Err(ureq::Error::StatusCode(code @ (429 | 502 | 503 | 504))) => {
                Err(SendError::Retryable(format!("the collector answered with status {code}")))
            }
            Err(ureq::Error::StatusCode(code)) => Err(SendError::Permanent(format!(
                "the collector rejected the data (status {code})"
            ))),
            Err(error) => {
                Err(SendError::Retryable(format!("cannot send to the collector: {error}")))
            }
        }
    }
}
