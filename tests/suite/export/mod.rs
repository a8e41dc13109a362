//! Exports, checked by the programs that consume them: Prometheus, an OpenTelemetry collector, and
//! readers of file formats.

mod agent;
mod collector;
mod config;
mod functions;
mod hostile_network;
mod nested_spans;
mod prometheus;
mod recordings;
mod services;
mod shared_buffer;
mod web_config;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use usdt_e2e::{
    Copy, Fixture, Mode, Process, command, copy, free_port, stdout, tools, wait_for, write,
};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
/// Number of operations that `pairs` starts: 4 goroutines fire 100 each, of which one in ten has no
/// end and one in ten no start.
const STARTED: u64 = 360;
/// Number of operations of `pairs` with a start and an end.
const COMPLETE: u64 = 320;

/// Fetches a page and returns its body, or an empty string if nothing answers.
pub(crate) fn get(port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// Returns the values of a metric by label set, in the notation of the text format.
pub(crate) fn metric(page: &str, name: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter_map(|line| line.strip_prefix(name));
    let samples = lines.filter(|rest| rest.starts_with([' ', '{']));
    samples
        .filter_map(|rest| {
            let (labels, value) = rest.rsplit_once(' ')?;
            Some((labels.to_owned(), value.parse().ok()?))
        })
        .collect()
}

/// Waits until this number of spans have ended.
fn wait_for_spans(port: u16, spans: usize) {
    wait_for("the spans", || {
        let outcomes = metric(&get(port, "/metrics"), "usdt_attach_spans_total");
        outcomes.get("{outcome=\"complete\"}") == Some(&(spans as f64))
    });
}

/// Starts a program that waits for a line before and after its work.
fn start_worker(program: &Path) -> Process {
    let mut program = command(program);
    Process(program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
}

/// Has a program do its work.
fn work(program: &mut Process) {
    program.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let mut done = String::new();
    BufReader::new(program.0.stdout.as_mut().unwrap()).read_line(&mut done).unwrap();
    assert_eq!(done, "done\n");
}

/// Returns the sum of a metric over all label sets; `None` if the page does not have it.
fn total(page: &str, name: &str) -> Option<f64> {
    let series = metric(page, name);
    (!series.is_empty()).then(|| series.values().sum())
}

/// Waits until an exporter is attached to this number of sites: its endpoint answers before that.
pub(crate) fn wait_until_attached(port: u16, sites: usize) {
    wait_for("the probes", || {
        get(port, "/healthz") == "ok\n"
            && total(&get(port, "/metrics"), "usdt_attach_sites") >= Some(sites as f64)
    });
}

/// Starts the fixture `pairs`, which fires when it receives SIGINT.
fn start_pairs() -> (Copy, Process) {
    let app = copy(&Fixture::get("pairs", Mode::Sealed));
    let target = wait_until_ready(Process::start(command(&app.path).args(["-linger", "60s"])));
    (app, target)
}

/// Waits until the fixture reports that it is ready: an earlier signal would end it.
fn wait_until_ready(mut target: Process) -> Process {
    let mut out = BufReader::new(target.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    target.0.stdout = Some(out.into_inner());
    target
}

/// Starts `usdt-attach export`.
fn start_exporter(args: &[&str]) -> Process {
    Process::start(command(tools().join("usdt-attach")).arg("export").args(args))
}

/// Returns configuration entries for the probes of `pairs`.
fn entries() -> &'static str {
    r#"
[[count]]
probes = ["ops:begin"]
name = "operations"
help = "Operations \\ by kind."
labels = ["kind"]

[[count]]
probes = ["ops:*"]
filter = "id < 100"

[[hist]]
probes = "ops:end"
value = "status"
buckets = { start = 200, end = 202, width = 1 }

[[latency]]
start = "ops:begin"
end = "ops:end"
key = "id"
labels = ["kind"]
name = "operation_seconds"
"#
}

/// Validates a document against a JSON schema with the Python package `jsonschema`.
fn validate(schema: &str, document: &str) {
    let script = "import json, sys, jsonschema; jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    stdout(Command::new("/usr/bin/python3").args(["-c", script, schema, document]));
}
