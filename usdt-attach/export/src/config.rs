//! What is exported, of whom and where to: one TOML file.

use crate::time;
use schemars::JsonSchema;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use usdt_attach::error;
use usdt_attach::filter::{Filter, Subject};

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// Who is traced, where the command line does not say.
    pub target: Option<TargetConfig>,
    /// An endpoint for Prometheus.
    pub prometheus: Option<Prometheus>,
    /// An OpenTelemetry collector.
    pub otlp: Option<Otlp>,
    /// What all of it may take.
    pub limits: Limits,
    /// Hits, counted.
    pub count: Vec<Count>,
    /// Values of arguments, counted by size.
    pub hist: Vec<Hist>,
    /// Times between two probes, counted by size.
    pub latency: Vec<Latency>,
    /// Pairs of probes, each pair of hits a span.
    pub span: Vec<Span>,
}

/// Who is traced: one of these.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TargetConfig {
    /// Processes.
    pub pids: Vec<u32>,
    /// Every process of this file, present and future.
    pub exe: Option<PathBuf>,
    /// Every process of this cgroup and those below, present and future.
    pub cgroup: Option<PathBuf>,
    /// Every process, present and future.
    pub all: bool,
}

/// An endpoint that Prometheus scrapes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prometheus {
    /// Address and port, such as `127.0.0.1:9464`.
    pub listen: String,
}

/// A collector that takes OTLP over HTTP, as JSON.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Otlp {
    /// Its address without a path, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// How often metrics are sent, such as `10s`. Spans go at least every second.
    #[serde(default = "ten_seconds")]
    pub interval: Time,
    /// Sent with each request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Attributes of the resource that metrics and spans belong to.
    #[serde(default)]
    pub resource: BTreeMap<String, String>,
}

/// A duration, such as `500ms`, `10s`, `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Time(pub Duration);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Time, String> {
        match time::parse_duration(&text) {
            Ok(time) if time >= Duration::from_millis(10) => Ok(Time(time)),
            Ok(_) => Err("at least 10ms".to_owned()),
            Err(problem) => Err(problem),
        }
    }
}

impl Otlp {
    /// A collector, and what is usual.
    pub fn to(endpoint: &str) -> Otlp {
        let (headers, resource) = (BTreeMap::new(), BTreeMap::new());
        Otlp { endpoint: endpoint.to_owned(), interval: ten_seconds(), headers, resource }
    }
}

fn ten_seconds() -> Time {
    Time(Duration::from_secs(10))
}

/// What memory may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// Most combinations of labels of each entry and file. Further ones are counted as dropped.
    pub series: u32,
    /// Most spans that have begun and not ended. The oldest give way.
    pub open_spans: usize,
    /// Most spans that wait to be sent.
    pub queue: usize,
    /// Bytes of the buffer between the kernel and this program, for the spans of each file; a power of two.
    pub buffer: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { series: 1000, open_spans: 10_000, queue: 10_000, buffer: 1 << 20 }
    }
}

/// Hits, counted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Count {
    /// Probes: a glob such as `app:request-*`, or a list of globs.
    pub probes: Globs,
    /// Name of the metric; by default one a probe, `usdt_PROVIDER_PROBE_total`.
    pub name: Option<String>,
    /// What it means.
    pub help: Option<String>,
    /// Labels: arguments, `pid`, `tid`, `goid`, `comm`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Which hits count.
    pub filter: Option<String>,
}

/// Values of an argument, counted by size.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hist {
    /// Probes: a glob such as `app:request-end`, or a list of globs.
    pub probes: Globs,
    /// The argument.
    pub value: String,
    /// Linear buckets; by default buckets grow by powers of two.
    pub buckets: Option<LinearBuckets>,
    /// What the argument is measured in: times are exported in seconds. By default `ns` for arguments whose
    /// names end in `ns`.
    pub unit: Option<Unit>,
    /// Name of the metric, by default `usdt_PROVIDER_PROBE_VALUE`.
    pub name: Option<String>,
    /// What it means.
    pub help: Option<String>,
    /// Labels: arguments, `pid`, `tid`, `goid`, `comm`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Which hits count.
    pub filter: Option<String>,
}

/// Which probes an entry is about: one glob or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "GlobOrList")]
pub struct Globs(pub Vec<String>);

/// The JSON schema of [`Globs`].
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // Only its schema is used.
enum GlobOrList {
    Glob(String),
    List(Vec<String>),
}

impl fmt::Display for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl<'de> Deserialize<'de> for Globs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Globs, D::Error> {
        // Not an untagged enum: its errors do not say what was expected.
        deserializer.deserialize_any(GlobsVisitor)
    }
}

struct GlobsVisitor;

impl<'de> Visitor<'de> for GlobsVisitor {
    type Value = Globs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a glob such as \"app:request-*\", or a list of globs")
    }

    fn visit_str<E: de::Error>(self, glob: &str) -> Result<Globs, E> {
        Ok(Globs(vec![glob.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut globs: A) -> Result<Globs, A::Error> {
        let mut list = Vec::new();
        while let Some(glob) = globs.next_element()? {
            list.push(glob);
        }
        Ok(Globs(list))
    }
}

/// Histogram buckets of one width. Values below `start` and from `end` on have a bucket each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearBuckets {
    /// Lower bound of the first bucket.
    pub start: i64,
    /// Upper bound of the last bucket, which does not include it.
    pub end: i64,
    /// Width of each bucket, at least 1.
    pub width: u32,
}

/// What values are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
    /// Bytes.
    Bytes,
    /// Nothing in particular.
    None,
}

/// Times between two probes, counted by size.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Latency {
    /// Where they begin.
    pub start: String,
    /// Where they end.
    pub end: String,
    /// What a start and its end have in common: an argument, `goid` or `tid`; by default the goroutine, else the thread.
    pub key: Option<String>,
    /// Name of the metric, by default `usdt_PROVIDER_END_latency_seconds`.
    pub name: Option<String>,
    /// What it means.
    pub help: Option<String>,
    /// Labels: arguments, `pid`, `tid`, `goid`, `comm`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Which hits count.
    pub filter: Option<String>,
}

/// A pair of probes; each pair of their hits is a span.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Span {
    /// Where spans begin.
    pub start: String,
    /// Where they end.
    pub end: String,
    /// What a start and its end have in common: an argument, `goid` or `tid`; by default the goroutine, else the thread.
    pub key: Option<String>,
    /// Their name; `{ARGUMENT}` is replaced by that argument. By default the name of the probe.
    pub name: Option<String>,
    /// What they are.
    #[serde(default)]
    pub kind: SpanKind,
    /// Argument that holds a W3C `traceparent`, or a trace id of 32 hexadecimal digits.
    pub trace: Option<String>,
    /// Argument that holds a span id of 16 hexadecimal digits.
    pub span_id: Option<String>,
    /// Argument that holds the parent's id of 16 hexadecimal digits.
    pub parent_id: Option<String>,
    /// Argument that says that something failed: text that is not empty, a true boolean, a number that is not 0.
    pub error: Option<String>,
    /// For numbers: at least so much is a failure, such as 500 for a status of HTTP.
    pub error_at: Option<i64>,
    /// Arguments that become attributes; all of them by default.
    pub attributes: Option<Vec<String>>,
}

/// What a span is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// Mode inside the program.
    #[default]
    Internal,
    /// A request that is answered.
    Server,
    /// A request that is made.
    Client,
    /// A message that is sent.
    Producer,
    /// A message that is taken.
    Consumer,
}

impl Config {
    /// Reads a file. The error says where in it and what.
    pub fn read(path: &Path) -> error::Result<Config> {
        let text =
            std::fs::read_to_string(path).map_err(|source| error::Error::open(path, source))?;
        let problem = |problem: String| error::Error::object(path, problem);
        let config: Config =
            toml::from_str(&text).map_err(|e| problem(e.to_string().trim_end().to_owned()))?;
        config.check().map_err(problem)?;
        Ok(config)
    }

    /// Its JSON schema, for editors.
    pub fn schema() -> String {
        let mut text =
            serde_json::to_string_pretty(&schemars::schema_for!(Config)).unwrap_or_default();
        text.push('\n');
        text
    }

    /// What the types do not say.
    pub fn check(&self) -> Result<(), String> {
        let mut names = HashSet::new();
        let mut check = |entry: String,
                         name: &Option<String>,
                         filter: &Option<String>,
                         subjects: Vec<&String>| {
            if let Some(name) = name {
                let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
                if !name.chars().all(good)
                    || name.is_empty()
                    || name.starts_with(|c: char| c.is_ascii_digit())
                {
                    return Err(format!(
                        "{entry}: `{name}` is no name of a metric: letters, digits, `_` and `:`"
                    ));
                }
                if !names.insert(name.clone()) {
                    return Err(format!("{entry}: the name `{name}` is taken by another entry"));
                }
            }
            if let Some(Err(error)) = filter.as_ref().map(|f| Filter::parse(f)) {
                return Err(format!("{entry}: filter: {error}"));
            }
            for subject in subjects {
                Subject::parse(subject).map_err(|error| format!("{entry}: {error}"))?;
            }
            Ok(())
        };
        for count in &self.count {
            check_probes("count", &count.probes)?;
            let entry = format!("count of {}", count.probes);
            check(entry, &count.name, &count.filter, count.labels.iter().collect())?;
        }
        for hist in &self.hist {
            let subjects = hist.labels.iter().chain([&hist.value]).collect();
            check_probes("hist", &hist.probes)?;
            if let Some(LinearBuckets { start, end, width }) = hist.buckets
                && (start >= end || width == 0)
            {
                return Err(format!(
                    "hist of {}: buckets: `start` must be below `end`, and `width` at least 1",
                    hist.probes
                ));
            }
            check(format!("hist of {}", hist.probes), &hist.name, &hist.filter, subjects)?;
        }
        for latency in &self.latency {
            let subjects = latency.labels.iter().chain(&latency.key).collect();
            check(format!("latency of {}", latency.end), &latency.name, &latency.filter, subjects)?;
        }
        let limits = &self.limits;
        if limits.series == 0 || limits.open_spans == 0 || limits.queue == 0 {
            return Err("limits: at least 1 of each".to_owned());
        }
        if !limits.buffer.is_power_of_two() || !(1 << 16..=1 << 30).contains(&limits.buffer) {
            return Err(format!(
                "limits: buffer is a power of two from 65536 to 1073741824, not {}",
                limits.buffer
            ));
        }
        if let Some(target) = &self.target {
            let said = [
                !target.pids.is_empty(),
                target.exe.is_some(),
                target.cgroup.is_some(),
                target.all,
            ];
            if said.iter().filter(|said| **said).count() != 1 {
                return Err("target: one of pids, exe, cgroup, all".to_owned());
            }
        }
        match &self.otlp {
            Some(otlp) if !otlp.endpoint.starts_with("http://") => Err(format!(
                "otlp: endpoint is `http://HOST:PORT`, not `{}`; for TLS run a collector on this host",
                otlp.endpoint
            )),
            None if !self.span.is_empty() => {
                Err("span: spans go to a collector; add [otlp] with an endpoint".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Every probe that it names.
    pub fn globs(&self) -> Vec<String> {
        let mut globs: Vec<String> = self.count.iter().flat_map(|c| c.probes.0.clone()).collect();
        globs.extend(self.hist.iter().flat_map(|h| h.probes.0.clone()));
        globs.extend(self.latency.iter().flat_map(|l| [l.start.clone(), l.end.clone()]));
        globs.extend(self.span.iter().flat_map(|s| [s.start.clone(), s.end.clone()]));
        globs
    }

    /// Whether it asks for anything.
    pub fn is_empty(&self) -> bool {
        self.count.is_empty()
            && self.hist.is_empty()
            && self.latency.is_empty()
            && self.span.is_empty()
    }
}

fn check_probes(table: &str, probes: &Globs) -> Result<(), String> {
    if probes.0.is_empty() {
        return Err(format!("{table}: `probes` is empty; name at least one glob"));
    }
    Ok(())
}
