//! OTLP over HTTP in its JSON encoding (OpenTelemetry protocol specification 1.x, "OTLP/HTTP"): ids are hexadecimal,
//! 64-bit integers are strings.

use crate::config::{Otlp, SpanKind};
use crate::metric::{Family, Kind, Measured, Series};
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

/// Name of the instrumentation scope.
const SCOPE: &str = "usdt-attach";
/// Most spans of a request.
pub(super) const BATCH: usize = 512;
/// How long the collector may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to go on with a request that the collector does not take, and how long to wait in between at first.
const GIVE_UP: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(100);
/// Requests that wait.
const WAITING: usize = 64;

/// Metrics as a request's body. `since` is when counting began.
pub fn metrics(
    families: &[Family],
    resource: &BTreeMap<String, String>,
    since: u64,
    now: u64,
) -> Vec<u8> {
    let metrics: Vec<Value> = families.iter().map(|family| metric(family, since, now)).collect();
    body(&json!({"resourceMetrics": [{
        "resource": {"attributes": resource_attributes(resource, &[("service.name", SCOPE.to_owned())])},
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
    json!({"name": family.name, "description": family.help, "unit": family.unit.code(), data.0: data.1})
}

fn point(series: &Series, since: u64, now: u64) -> Value {
    let attributes: Vec<Value> =
        series.labels.iter().map(|(name, value)| text_attribute(name, value)).collect();
    let mut point = json!({
        "attributes": attributes,
        "startTimeUnixNano": since.to_string(),
        "timeUnixNano": now.to_string(),
    });
    let mut set = |name: &str, value: Value| {
        point.as_object_mut().and_then(|o| o.insert(name.to_owned(), value))
    };
    match &series.value {
        Measured::Number(n) => drop(set("asInt", json!(n.to_string()))),
        Measured::Sizes { buckets, count, sum, .. } => {
            let below: u64 = buckets.iter().map(|(_, n)| n).sum();
            let counts = buckets.iter().map(|(_, n)| *n).chain([count.saturating_sub(below)]);
            set("count", json!(count.to_string()));
            set("sum", json!(sum));
            set("bucketCounts", counts.map(|n| json!(n.to_string())).collect());
            set("explicitBounds", buckets.iter().map(|(bound, _)| json!(bound)).collect());
        }
    }
    point
}

/// Spans as a request's body. `service` names the program of a process.
pub fn spans(
    spans: &[Span],
    resource: &BTreeMap<String, String>,
    service: impl Fn(u32) -> String,
) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'a> {
        resource_spans: Vec<OfProcess<'a>>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OfProcess<'a> {
        resource: Value,
        scope_spans: [OfScope<'a>; 1],
    }
    #[derive(Serialize)]
    struct OfScope<'a> {
        scope: Value,
        spans: Vec<One<'a>>,
    }
    let mut processes: BTreeMap<u32, Vec<One<'_>>> = BTreeMap::new();
    for span in spans {
        processes.entry(span.pid).or_default().push(One(span));
    }
    let of_process = |(pid, spans): (u32, _)| {
        let mut attributes = resource_attributes(resource, &[("service.name", service(pid))]);
        attributes.push(json!({"key": "process.pid", "value": {"intValue": pid.to_string()}}));
        OfProcess {
            resource: json!({"attributes": attributes}),
            scope_spans: [OfScope { scope: scope(), spans }],
        }
    };
    body(&Request { resource_spans: processes.into_iter().map(of_process).collect() })
}

/// What is made here has no part that JSON could not say.
fn body(request: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(request).unwrap_or_default()
}

/// A span, written without a tree of values: there may be tens of thousands in a second.
struct One<'a>(&'a Span);

impl Serialize for One<'_> {
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
        map.serialize_entry("traceId", &Text(Hex(&span.trace)))?;
        map.serialize_entry("spanId", &Text(Hex(&span.id)))?;
        if let Some(parent) = &span.parent {
            map.serialize_entry("parentSpanId", &Text(Hex(parent)))?;
        }
        map.serialize_entry("name", &span.name)?;
        map.serialize_entry("kind", &kind)?;
        map.serialize_entry("startTimeUnixNano", &Text(span.start))?;
        map.serialize_entry("endTimeUnixNano", &Text(span.end))?;
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
            Attribute::Int(n) => map.serialize_entry("intValue", &Text(n))?,
            Attribute::Float(n) if n.is_finite() => map.serialize_entry("doubleValue", n)?,
            // JSON has no such numbers; proto3's JSON mapping has them as text.
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

/// What is displayed, as a string.
struct Text<T>(T);

impl<T: fmt::Display> Serialize for Text<T> {
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
    json!({"name": SCOPE, "version": env!("CARGO_PKG_VERSION")})
}

fn text_attribute(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}

/// What the user says, and what goes without saying where the user does not.
fn resource_attributes(said: &BTreeMap<String, String>, usual: &[(&str, String)]) -> Vec<Value> {
    let mut out: Vec<Value> =
        said.iter().map(|(name, value)| text_attribute(name, value)).collect();
    let unsaid = usual.iter().filter(|(name, _)| !said.contains_key(*name));
    out.extend(unsaid.map(|(name, value)| text_attribute(name, value)));
    out
}

/// What became of requests.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Requests that the collector took.
    pub(super) sent: AtomicU64,
    /// Those that it did not take, or that found too many waiting.
    pub(super) lost: AtomicU64,
    /// Spans in those.
    pub(super) lost_spans: AtomicU64,
    /// Nothing more comes: what the collector does not take at once is lost.
    ending: AtomicBool,
}

/// A request's body.
struct Post {
    path: &'static str,
    body: Vec<u8>,
    spans: usize,
}

/// Sends from a thread of its own: whoever counts does not wait for a collector.
pub(super) struct Sender {
    queue: Option<SyncSender<Post>>,
    thread: Option<JoinHandle<()>>,
    pub(super) fate: Arc<Fate>,
}

impl Sender {
    pub(super) fn start(config: &Otlp, say: impl Fn(String) + Send + 'static) -> Result<Sender> {
        let (queue, posts) = sync_channel(WAITING);
        let fate = Arc::new(Fate::default());
        let mut out = Courier {
            agent: ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).build().into(),
            endpoint: config.endpoint.trim_end_matches('/').to_owned(),
            headers: config.headers.clone(),
            fate: Arc::clone(&fate),
            trouble: None,
            say: Box::new(say),
        };
        let thread =
            std::thread::Builder::new().name("otlp".to_owned()).spawn(move || out.run(&posts));
        let thread = thread.map_err(|source| Error::io("cannot start a thread", source))?;
        Ok(Sender { queue: Some(queue), thread: Some(thread), fate })
    }

    pub(super) fn metrics(&self, body: Vec<u8>) {
        self.post("/v1/metrics", body, 0);
    }

    pub(super) fn spans(&self, body: Vec<u8>, count: usize) {
        self.post("/v1/traces", body, count);
    }

    fn post(&self, path: &'static str, body: Vec<u8>, spans: usize) {
        let post = Post { path, body, spans };
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(post) | TrySendError::Disconnected(post)) =
            queue.try_send(post)
        {
            self.fate.lose(&post);
        }
    }
}

impl Fate {
    fn lose(&self, post: &Post) {
        self.lost.fetch_add(1, Relaxed);
        self.lost_spans.fetch_add(post.spans as u64, Relaxed);
    }
}

impl Drop for Sender {
    /// What waits is still sent, if the collector takes it at once.
    fn drop(&mut self) {
        self.fate.ending.store(true, Relaxed);
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Courier {
    agent: ureq::Agent,
    endpoint: String,
    headers: BTreeMap<String, String>,
    fate: Arc<Fate>,
    /// What the last request failed for: said once.
    trouble: Option<String>,
    say: Box<dyn Fn(String) + Send>,
}

/// Why a request did not arrive.
enum Refusal {
    /// It may later.
    Later(String),
    /// It never will.
    Never(String),
}

impl Courier {
    fn run(&mut self, posts: &Receiver<Post>) {
        while let Ok(post) = posts.recv() {
            self.deliver(&post);
        }
    }

    /// Tries until it is taken, is refused for good, or has waited long enough.
    fn deliver(&mut self, post: &Post) {
        let begin = Instant::now();
        let mut pause = RETRY;
        loop {
            let (problem, again) = match self.try_once(post) {
                Ok(()) => {
                    self.fate.sent.fetch_add(1, Relaxed);
                    if self.trouble.take().is_some() {
                        (self.say)(format!("{}: takes requests again", self.endpoint));
                    }
                    return;
                }
                Err(Refusal::Later(problem)) => (problem, begin.elapsed() + pause < GIVE_UP),
                Err(Refusal::Never(problem)) => (problem, false),
            };
            if self.trouble.as_ref() != Some(&problem) {
                (self.say)(format!("{}{}: {problem}", self.endpoint, post.path));
                self.trouble = Some(problem);
            }
            let until = Instant::now() + pause;
            while again && !self.fate.ending.load(Relaxed) && Instant::now() < until {
                std::thread::sleep(RETRY);
            }
            if !again || self.fate.ending.load(Relaxed) {
                return self.fate.lose(post);
            }
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    fn try_once(&self, post: &Post) -> std::result::Result<(), Refusal> {
        let url = format!("{}{}", self.endpoint, post.path);
        let mut request = self.agent.post(&url).header("Content-Type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        match request.send(post.body.as_slice()) {
            Ok(_) => Ok(()),
            // What the specification has clients repeat.
            Err(ureq::Error::StatusCode(code @ (429 | 502 | 503 | 504))) => {
                Err(Refusal::Later(format!("status {code}")))
            }
            Err(ureq::Error::StatusCode(code)) => Err(Refusal::Never(format!("status {code}"))),
            Err(error) => Err(Refusal::Later(error.to_string())),
        }
    }
}
