//! OTLP over HTTP in its JSON encoding (OpenTelemetry protocol specification 1.x, "OTLP/HTTP"): ids are hexadecimal,
//! 64-bit integers are strings.

use super::config::{Otlp, SpanKind};
use super::metric::{Family, Kind, Measured, Series};
use super::span::{Attribute, Span};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
pub fn metrics(families: &[Family], resource: &BTreeMap<String, String>, since: u64, now: u64) -> Value {
    let metrics: Vec<Value> = families.iter().map(|family| metric(family, since, now)).collect();
    json!({"resourceMetrics": [{
        "resource": {"attributes": resource_attributes(resource, &[("service.name", SCOPE.to_owned())])},
        "scopeMetrics": [{"scope": scope(), "metrics": metrics}],
    }]})
}

fn metric(family: &Family, since: u64, now: u64) -> Value {
    let points: Vec<Value> = family.series.iter().map(|series| point(series, since, now)).collect();
    // AGGREGATION_TEMPORALITY_CUMULATIVE
    const CUMULATIVE: u8 = 2;
    let data = match family.kind {
        Kind::Counter => {
            ("sum", json!({"aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": points}))
        }
        Kind::Gauge => ("gauge", json!({"dataPoints": points})),
        Kind::Histogram => ("histogram", json!({"aggregationTemporality": CUMULATIVE, "dataPoints": points})),
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
    let mut set =
        |name: &str, value: Value| point.as_object_mut().and_then(|o| o.insert(name.to_owned(), value));
    match &series.value {
        Measured::Number(n) => drop(set("asInt", json!(n.to_string()))),
        Measured::Sizes { buckets, count, sum } => {
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
pub fn spans(spans: &[Span], resource: &BTreeMap<String, String>, service: impl Fn(u32) -> String) -> Value {
    let mut processes: BTreeMap<u32, Vec<Value>> = BTreeMap::new();
    for span in spans {
        processes.entry(span.pid).or_default().push(self::span(span));
    }
    let resource_spans: Vec<Value> = processes
        .into_iter()
        .map(|(pid, spans)| {
            let mut attributes = resource_attributes(resource, &[("service.name", service(pid))]);
            attributes.push(json!({"key": "process.pid", "value": {"intValue": pid.to_string()}}));
            json!({
                "resource": {"attributes": attributes},
                "scopeSpans": [{"scope": scope(), "spans": spans}],
            })
        })
        .collect();
    json!({"resourceSpans": resource_spans})
}

fn span(span: &Span) -> Value {
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    };
    let attributes: Vec<Value> =
        span.attributes.iter().map(|(name, value)| json!({"key": name, "value": any_value(value)})).collect();
    // STATUS_CODE_ERROR
    let status = span.error.as_ref().map_or(json!({}), |message| json!({"code": 2, "message": message}));
    json!({
        "traceId": hex(&span.trace),
        "spanId": hex(&span.id),
        "parentSpanId": span.parent.map_or(String::new(), |id| hex(&id)),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": attributes,
        "status": status,
    })
}

fn any_value(value: &Attribute) -> Value {
    match value {
        Attribute::Int(n) => json!({"intValue": n.to_string()}),
        Attribute::Float(n) if n.is_finite() => json!({"doubleValue": n}),
        // JSON has no such numbers; proto3's JSON mapping has them as text.
        Attribute::Float(n) if n.is_nan() => json!({"doubleValue": "NaN"}),
        Attribute::Float(n) => json!({"doubleValue": if *n > 0.0 { "Infinity" } else { "-Infinity" }}),
        Attribute::Bool(b) => json!({"boolValue": b}),
        Attribute::Text(text) => json!({"stringValue": text}),
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
    let mut out: Vec<Value> = said.iter().map(|(name, value)| text_attribute(name, value)).collect();
    let unsaid = usual.iter().filter(|(name, _)| !said.contains_key(*name));
    out.extend(unsaid.map(|(name, value)| text_attribute(name, value)));
    out
}

fn hex(bytes: &[u8]) -> String {
    crate::report::text::hex(bytes)
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
        let thread = std::thread::Builder::new().name("otlp".to_owned()).spawn(move || out.run(&posts));
        let thread = thread.map_err(|source| Error::Io { what: "cannot start a thread", source })?;
        Ok(Sender { queue: Some(queue), thread: Some(thread), fate })
    }

    pub(super) fn metrics(&self, body: &Value) {
        self.post("/v1/metrics", body, 0);
    }

    pub(super) fn spans(&self, body: &Value, count: usize) {
        self.post("/v1/traces", body, count);
    }

    fn post(&self, path: &'static str, body: &Value, spans: usize) {
        let post = Post { path, body: body.to_string().into_bytes(), spans };
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(post) | TrySendError::Disconnected(post)) = queue.try_send(post) {
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
