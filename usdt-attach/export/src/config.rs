//! The configuration of the exporter: a TOML file that says what to export, of which processes, and
//! where to.
//!
//! The documentation of the fields is also that of the JSON schema, which editors show.

mod check;
mod functions;

use crate::endpoint::address::ListenAddress;
use crate::time;
use schemars::JsonSchema;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use usdt_attach::discover::Probe;
use usdt_attach::error;
use usdt_files::TEXT_LIMIT;

/// The configuration of the exporter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// The processes to trace, if the command line does not name them.
    pub target: Option<TargetConfig>,
    /// The endpoint that Prometheus scrapes.
    pub prometheus: Option<Prometheus>,
    /// The OpenTelemetry collector that metrics and spans are sent to.
    pub otlp: Option<Otlp>,
    /// Limits of memory.
    pub limits: Limits,
    /// Counters of hits.
    pub count: Vec<Count>,
    /// Histograms of integer arguments.
    pub hist: Vec<Hist>,
    /// Histograms of the time between two probes.
    pub latency: Vec<Latency>,
    /// Spans, which are sent to the collector.
    pub span: Vec<Span>,
}

/// The processes to trace: exactly one of `pids`, `exe`, `cgroup` and `all`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TargetConfig {
    /// Processes by PID. The exporter ends when all of them have ended.
    pub pids: Vec<u32>,
    /// All present and future processes of this executable.
    pub exe: Option<PathBuf>,
    /// All present and future processes of this cgroup (v2) and its descendants.
    pub cgroup: Option<PathBuf>,
    /// All present and future processes of this host.
    pub all: bool,
    /// Files with the debug information (DWARF) of stripped programs, for the arguments of function
    /// probes. Relative to the folder of the configuration.
    pub debug: Vec<PathBuf>,
}

/// The endpoint that Prometheus scrapes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prometheus {
    /// The address to listen at: `HOST:PORT`, such as `127.0.0.1:9464`. A `PORT` alone is that of
    /// the loopback interface, and `:PORT` that of all interfaces.
    pub listen: String,
    /// A YAML file with the TLS certificate and the users of the endpoint, in the format of the
    /// exporters of Prometheus. Relative to the folder of the configuration.
    #[serde(default, alias = "web_config_file")]
    pub web_config_file: Option<PathBuf>,
}

impl Prometheus {
    /// Parses the address of [`Prometheus::listen`], and returns it as it is.
    ///
    /// # Errors
    ///
    /// Fails with a message for the user if it is not an address.
    ///
    /// # Examples
    ///
    /// ```
    /// use usdt_export::config::Prometheus;
    ///
    /// for address in ["127.0.0.1:9464", "9464", ":9464"] {
    ///     assert_eq!(Prometheus::parse_address(address).as_deref(), Ok(address));
    /// }
    /// assert!(Prometheus::parse_address("127.0.0.1").is_err());
    /// ```
    pub fn parse_address(text: &str) -> Result<String, String> {
        ListenAddress::parse(text).map(|_| text.to_owned())
    }
}

/// A collector that accepts OTLP over HTTP in JSON.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Otlp {
    /// The URL without a path, such as `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// How often metrics are sent, such as `10s`. Spans are sent at least every second.
    #[serde(default = "ten_seconds")]
    pub interval: Interval,
    /// HTTP headers of each request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Attributes of the resources of metrics and spans, which take precedence over their own. Each
    /// traced service has a resource with `service.name` and, in a container, `container.id`.
    #[serde(default)]
    pub resource: BTreeMap<String, String>,
}

/// A duration of at least 10 ms, such as `500ms`, `10s` or `2m`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Interval(pub Duration);

impl TryFrom<String> for Interval {
    type Error = String;

    fn try_from(text: String) -> Result<Interval, String> {
        match time::parse_duration(&text) {
            Ok(time) if time >= Duration::from_millis(10) => Ok(Interval(time)),
            Ok(_) => Err(format!("`{text}` is too short: use at least 10ms")),
            Err(problem) => Err(problem),
        }
    }
}

impl Otlp {
    /// Returns the default settings for a collector at this URL, which has no path.
    pub fn new(endpoint: impl Into<String>) -> Otlp {
        Otlp {
            endpoint: endpoint.into(),
            interval: ten_seconds(),
            headers: BTreeMap::new(),
            resource: BTreeMap::new(),
        }
    }
}

fn ten_seconds() -> Interval {
    Interval(Duration::from_secs(10))
}

/// Limits of memory.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// The maximum number of label combinations per entry and file; four times as many if each
    /// counts for each process. Hits of further combinations are counted as dropped.
    pub series: u32,
    /// The maximum number of open spans. Beyond it, the oldest open span is given up. The
    /// same number of goroutines is known that a span encloses.
    pub open_spans: usize,
    /// The maximum number of spans that wait to be sent. Further ones are discarded.
    pub queue: usize,
    /// The size in bytes of the event buffer for spans: a power of two from 64 KiB to 1 GiB. By
    /// default it is 1 MiB, or 256 KiB for each CPU if that is more. All files share it if the kernel
    /// allows it (Linux 6.10) and the size is at least 256 KiB for each CPU. Otherwise each file has
    /// one, by default of 1 MiB; with many files, they become smaller.
    pub buffer: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { series: 1000, open_spans: 10_000, queue: 10_000, buffer: None }
    }
}

/// A counter of hits.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Count {
    /// Probes: a glob such as `app:request-*`, or a list of globs.
    pub probes: Globs,
    /// The name of the metric, without `_total`. By default each probe has a metric of its own,
    /// `usdt_PROVIDER_PROBE_total`.
    pub name: Option<String>,
    /// The help text of the metric.
    pub help: Option<String>,
    /// The labels by which hits are grouped: arguments, `pid`, `tid`, `goid` or `comm`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// A filter: only hits that match are counted.
    pub filter: Option<String>,
    /// Probes that another entry counts.
    #[serde(skip)]
    pub except: Vec<CountedElsewhere>,
}

/// A probe that an entry with labels counts in the files where it has them.
#[derive(Clone, Debug, PartialEq)]
pub struct CountedElsewhere {
    /// The name, as `PROVIDER:PROBE`.
    pub probe: String,
    /// The arguments that are labels.
    pub labels: Vec<String>,
}

impl CountedElsewhere {
    /// Whether the other entry counts this probe.
    pub(crate) fn counts(&self, probe: &Probe) -> bool {
        let has = |label: &String| {
            let schema = probe.schema.as_ref();
            schema.is_some_and(|schema| schema.args.iter().any(|arg| arg.name == *label))
        };
        self.probe == probe.full_name() && self.labels.iter().all(has)
    }
}

/// A histogram of an integer argument.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hist {
    /// Probes: a glob such as `app:request-end`, or a list of globs.
    pub probes: Globs,
    /// The name of the argument.
    pub value: String,
    /// Linear buckets; by default buckets grow by powers of two.
    pub buckets: Option<LinearBuckets>,
    /// The unit of the argument. Times are exported in seconds. By default the unit that the
    /// argument's name ends in: `ns`, `us`, `ms` or `bytes`.
    pub unit: Option<Unit>,
    /// The name of the metric. By default `usdt_PROVIDER_PROBE_ARGUMENT`, with the unit as a
    /// suffix.
    pub name: Option<String>,
    /// The help text of the metric.
    pub help: Option<String>,
    /// The labels by which hits are grouped: arguments, `pid`, `tid`, `goid` or `comm`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// A filter: only hits that match are counted.
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

/// The unit of an argument.
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
    /// A plain number.
    None,
}

/// A histogram of the time between two probes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Latency {
    /// The probe at which the time starts.
    pub start: String,
    /// The probe at which the time ends.
    pub end: String,
    /// What pairs a start with its end: an argument, `goid` or `tid`. By default `goid`, or `tid`
    /// outside of Go. The starts of a goroutine or thread are nested; a start with the same argument
    /// as an open one replaces it.
    pub key: Option<String>,
    /// The name of the metric, by default `usdt_PROVIDER_END_latency_seconds`.
    pub name: Option<String>,
    /// The help text of the metric.
    pub help: Option<String>,
    /// The labels by which hits are grouped: arguments, `pid`, `tid`, `goid` or `comm`.
    #[serde(default)]
    pub labels: Vec<String>,
    /// A filter: only hits that match are counted.
    pub filter: Option<String>,
}

/// A pair of probes. Each hit of the first with the matching hit of the second is a span.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Span {
    /// The probe at which spans start.
    pub start: String,
    /// The probe at which spans end.
    pub end: String,
    /// What pairs a start with its end: an argument, `goid` or `tid`. By default `goid`, or `tid`
    /// outside of Go. The starts of a goroutine or thread are nested; a start with the same argument
    /// as an open one replaces it.
    pub key: Option<String>,
    /// The name of the spans, in which `{ARGUMENT}` is replaced by the value of that argument of the
    /// start or else of the end. By default the name of the start, without `start` and the like.
    pub name: Option<String>,
    /// The kind of the spans.
    #[serde(default)]
    pub kind: SpanKind,
    /// The argument that holds a W3C `traceparent`, or a trace ID of 32 hexadecimal digits. Without
    /// it, a span has the trace of the enclosing span, or a new one.
    pub trace: Option<String>,
    /// The argument that holds the span ID, 16 hexadecimal digits. Without it, IDs are random.
    pub span_id: Option<String>,
    /// The argument that holds the parent's span ID, 16 hexadecimal digits.
    pub parent_id: Option<String>,
    /// The argument that reports a failure: a string that is not empty, a true boolean, or a number
    /// that is not 0.
    pub error: Option<String>,
    /// The lowest number that is a failure, such as 500 for HTTP status codes.
    pub error_at: Option<i64>,
    /// The arguments that become attributes. By default all, except those that hold IDs.
    pub attributes: Option<Vec<String>>,
}

/// The kind of a span, as OpenTelemetry defines it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpanKind {
    /// Work inside the program.
    #[default]
    Internal,
    /// A request that the program answers.
    Server,
    /// A request that the program makes.
    Client,
    /// A message that the program sends.
    Producer,
    /// A message that the program processes.
    Consumer,
}

impl Config {
    /// Reads and checks a TOML file of at most 16 MiB: a regular file, or a pipe that is an open
    /// descriptor of this process and named as `/dev/fd/N`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is not valid TOML, has an unknown key, or does not pass
    /// [`Config::check`]. The message names the file and the line or the entry, and the known keys
    /// if a key is unknown.
    pub fn read(path: &Path) -> error::Result<Config> {
        let text = usdt_files::read_text(path, TEXT_LIMIT)
            .map_err(|source| error::Error::open(path, source))?;
        let invalid = |problem: String| error::Error::object(path, problem);
        let mut config: Config = toml::from_str(&text).map_err(|error| {
            // The lines after the first show the place.
            let text = error.to_string();
            let (problem, place) = text.split_once('\n').unwrap_or((&text, ""));
            invalid(problem.to_owned()).with_details(place)
        })?;
        config.check().map_err(invalid)?;
        let web_config_file = config.prometheus.as_mut().and_then(|p| p.web_config_file.as_mut());
        let debug_files = config.target.as_mut().map(|target| &mut target.debug);
        let files = web_config_file.into_iter().chain(debug_files.into_iter().flatten());
        if let Some(folder) = path.parent() {
            files.for_each(|file| *file = folder.join(&file));
        }
        Ok(config)
    }

    /// Returns the JSON schema of the file, for editors.
    pub fn schema() -> String {
        let mut text =
            serde_json::to_string_pretty(&schemars::schema_for!(Config)).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Returns the globs of all entries.
    pub fn globs(&self) -> Vec<String> {
        let mut globs: Vec<String> = self.count.iter().flat_map(|c| c.probes.0.clone()).collect();
        globs.extend(self.hist.iter().flat_map(|h| h.probes.0.clone()));
        globs.extend(self.latency.iter().flat_map(|l| [l.start.clone(), l.end.clone()]));
        globs.extend(self.span.iter().flat_map(|s| [s.start.clone(), s.end.clone()]));
        globs
    }

    /// Whether the configuration has no entries.
    pub fn is_empty(&self) -> bool {
        self.count.is_empty()
            && self.hist.is_empty()
            && self.latency.is_empty()
            && self.span.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_probes_from_a_glob_or_a_list() {
        let one = parse("[[count]]\nprobes = \"a:b\"\n").unwrap();
        let list = parse("[[count]]\nprobes = [\"a:b\"]\n").unwrap();
        assert_eq!(one, list);
        assert_eq!(one.globs(), ["a:b"]);
        let error = parse("[[count]]\nprobes = 1\n").unwrap_err();
        assert!(error.contains("expected a glob such as"), "{error}");
    }

    #[test]
    fn names_the_known_keys_of_a_table_with_an_unknown_one() {
        for (text, expected) in [
            ("[otpl]\n", "expected one of `target`, `prometheus`, `otlp`"),
            ("[[hist]]\nby = []\n", "expected one of `probes`, `value`, `buckets`"),
            ("[[hist]]\nbuckets = { step = 1 }\n", "expected one of `start`, `end`, `width`"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn names_of_files_are_relative_to_the_folder_of_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.toml");
        std::fs::write(
            &path,
            "[target]\nexe = \"/app\"\ndebug = [\"app.debug\", \"/lib.debug\"]\n",
        )
        .unwrap();
        let target = Config::read(&path).unwrap().target.unwrap();
        assert_eq!(target.debug, [folder.path().join("app.debug"), PathBuf::from("/lib.debug")]);
        let target = TargetConfig { debug: target.debug, ..TargetConfig::default() };
        let error = Config { target: Some(target), ..Config::default() }.check().unwrap_err();
        assert!(error.starts_with("target: set exactly one of"), "{error}");
    }

    #[test]
    fn rejects_linear_buckets_without_values() {
        let text = "[[hist]]\nprobes = \"a:b\"\nvalue = \"n\"\nbuckets = ";
        let check = |buckets: &str| parse(&format!("{text}{buckets}\n")).unwrap().check();
        assert_eq!(check("{ start = 0, end = 10, width = 5 }"), Ok(()));
        for buckets in ["{ start = 10, end = 10, width = 5 }", "{ start = 0, end = 10, width = 0 }"]
        {
            let error = check(buckets).unwrap_err();
            assert!(error.starts_with("hist of a:b: buckets: "), "{error}");
        }
    }

    #[test]
    fn rejects_two_metrics_of_one_name() {
        let entry = "[[count]]\nprobes = \"a:b\"\nname = \"x\"\n";
        let error = parse(&format!("{entry}{entry}")).unwrap().check().unwrap_err();
        assert_eq!(error, "count of a:b: another entry has the name `x`; choose a different one");
    }
}
