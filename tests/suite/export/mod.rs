//! Exports, taken by the programs that they are for: Prometheus, an OpenTelemetry collector; files by their formats.

mod agent;
mod collector;
mod config;
mod files;
mod prometheus;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use usdt_e2e::{
    Copy, Fixture, Mode, Process, command, copy, free_port, stdout, tools, wait_for, write,
};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
/// The operations of `pairs`: 4 goroutines, 100 each; of ten, one has no end and one no beginning.
const BEGUN: u64 = 360;
const COMPLETE: u64 = 320;

/// The body of a page; empty where nobody answers.
fn get(port: u16, path: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
}

/// The values of a metric by its labels, as the endpoint writes them.
fn metric(page: &str, name: &str) -> BTreeMap<String, f64> {
    let own = page.lines().filter_map(|line| line.strip_prefix(name));
    let own = own.filter(|rest| rest.starts_with([' ', '{']));
    own.filter_map(|rest| {
        let (labels, value) = rest.rsplit_once(' ')?;
        Some((labels.to_owned(), value.parse().ok()?))
    })
    .collect()
}

/// A program that operates when it is interrupted.
fn operating() -> (Copy, Process) {
    let app = copy(&Fixture::get("pairs", Mode::Sealed));
    let target = ready(Process::start(command(&app.path).args(["-linger", "60s"])));
    (app, target)
}

/// When it says so: a signal that comes earlier ends it.
fn ready(mut target: Process) -> Process {
    let mut out = BufReader::new(target.0.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    target.0.stdout = Some(out.into_inner());
    target
}

fn exporter(args: &[&str]) -> Process {
    Process::start(command(tools().join("usdt-attach")).arg("export").args(args))
}

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

/// Validates a document by a JSON schema, with a program that others validate with.
fn validate(schema: &str, document: &str) {
    let script = "import json, sys, jsonschema; jsonschema.validate(json.load(open(sys.argv[2])), json.load(open(sys.argv[1])))";
    stdout(Command::new("/usr/bin/python3").args(["-c", script, schema, document]));
}
