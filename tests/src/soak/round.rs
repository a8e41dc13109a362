//! The rounds of the soak test, one per second.

use super::program::Program;
use super::tally::Tally;
use super::tracer::{EXIT_TIMEOUT, INT, Summary, TERM, Tracer, split_output};
use crate::{command, limited, text};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

/// Plays one round; ten kinds of rounds take turns.
pub(super) fn play(
    round: u64,
    steady: &Program,
    restarted: &Program,
    tally: &mut Tally,
) -> Result<(), String> {
    let (pid, other) = (steady.pid().to_string(), restarted.pid().to_string());
    let trace = |backend: &str, pid: &str| {
        Tracer::start(&["trace", "--json", "--backend", backend, "-p", pid, "e2e:hit"])
    };
    let (name, result): (&str, Result<(), String>) = match round % 10 {
        0 => (
            "embedded, interrupted",
            trace("embedded", &pid).and_then(|t| stop_and_check(t, INT, tally)),
        ),
        1 => ("bcc, terminated", trace("bcc", &pid).and_then(|t| stop_and_check(t, TERM, tally))),
        2 => {
            tally.killed += 1;
            ("killed", trace("embedded", &other).and_then(Tracer::kill))
        }
        3 => ("for 300 ms", limited_duration(&other, tally)),
        4 => {
            let both = trace("embedded", &pid)
                .and_then(|first| trace("embedded", &pid).map(|second| (first, second)));
            let both = both.and_then(|(first, second)| {
                stop_and_check(first, INT, tally).and_then(|()| stop_and_check(second, INT, tally))
            });
            ("two at once", both)
        }
        5 => ("full disk", full_disk(&pid)),
        6 => ("closed pipe", closed_pipe(&pid)),
        7 => ("slow reader", slow_reader(&pid, tally)),
        8 => ("little memory", little_memory(&pid, tally)),
        _ => {
            tally.killed += 1;
            ("bcc, killed", trace("bcc", &pid).and_then(Tracer::kill))
        }
    };
    result.map_err(|problem| format!("round {round}, {name}: {problem}"))
}

/// Lets a tracer run for a moment, stops it, and checks its events.
fn stop_and_check(tracer: Tracer, signal: i32, tally: &mut Tally) -> Result<(), String> {
    std::thread::sleep(Duration::from_millis(300));
    tracer.stop(signal).and_then(|output| check_events(&output, tally))
}

/// Fails if an event is missing or garbled.
///
/// The numbers of each goroutine must be consecutive, unless events were dropped.
fn check_events(
    (events, summary): &(Vec<Value>, Summary),
    tally: &mut Tally,
) -> Result<(), String> {
    if events.len() as u64 + summary.dropped != summary.hits {
        return Err(format!("read {} events, but {summary:?}", events.len()));
    }
    tally.events += events.len() as u64;
    tally.dropped += summary.dropped;
    let mut last: HashMap<(u64, u64), u64> = HashMap::new();
    for event in events {
        let number =
            |value: &Value| value.as_u64().ok_or_else(|| format!("missing argument: {event}"));
        let (args, n) = (&event["args"], number(&event["args"]["n"])?);
        if args["text"] != format!("soak {n}") {
            return Err(format!("wrong string: {event}"));
        }
        let before = last.insert((number(&event["pid"])?, number(&args["self"])?), n);
        if before.is_some_and(|before| n <= before || summary.dropped == 0 && n != before + 1) {
            return Err(format!("number does not follow {before:?}: {event}"));
        }
    }
    Ok(())
}

/// Runs a tracer with `--duration`.
fn limited_duration(pid: &str, tally: &mut Tally) -> Result<(), String> {
    let mut tracer =
        Tracer::start(&["trace", "--json", "--duration", "300ms", "-p", pid, "e2e:hit"])?;
    tracer.finish().and_then(|output| check_events(&output, tally))
}

/// Writes to a full disk: the tracer must report it and exit.
fn full_disk(pid: &str) -> Result<(), String> {
    let full =
        std::fs::OpenOptions::new().write(true).open("/dev/full").map_err(|e| e.to_string())?;
    let mut new = command("usdt-attach");
    new.args(["trace", "--json", "-p", pid, "e2e:hit"]);
    let out = new.stdout(full).stderr(Stdio::piped()).output().map_err(|e| e.to_string())?;
    let errors = text(&out.stderr);
    if out.status.code() == Some(3) && errors.contains("No space left on device") {
        return Ok(());
    }
    Err(format!("{}: {errors}", out.status))
}

/// Closes the output after one line: the tracer must exit successfully.
fn closed_pipe(pid: &str) -> Result<(), String> {
    let mut new = command("timeout");
    new.arg(EXIT_TIMEOUT.as_secs().to_string()).args([
        "usdt-attach",
        "trace",
        "-p",
        pid,
        "e2e:hit",
    ]);
    let mut child =
        new.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let mut line = String::new();
    let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    let status = child.wait().map_err(|e| e.to_string())?;
    match read {
        Some(Ok(_)) if status.success() && line.contains("e2e:hit") => Ok(()),
        _ => Err(format!("{status} after the line {line:?}")),
    }
}

/// Reads late: events may be dropped, but they must be counted.
fn slow_reader(pid: &str, tally: &mut Tally) -> Result<(), String> {
    let mut new = command("usdt-attach");
    new.args(["trace", "--json", "--duration", "600ms", "-p", pid, "e2e:hit"]);
    let mut child = new.stdout(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
    std::thread::sleep(Duration::from_millis(1500));
    let mut written = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut written).map_err(|e| e.to_string())?;
    }
    child.wait().map_err(|e| e.to_string())?;
    check_events(&split_output(&written)?, tally)
}

/// Limits the tracer's data segment to 64 MiB.
fn little_memory(pid: &str, tally: &mut Tally) -> Result<(), String> {
    let mut new = limited("ulimit -d 65536", "usdt-attach");
    new.args(["trace", "--json", "--duration", "300ms", "-p", pid, "e2e:hit"]);
    let mut tracer = Tracer::spawn(&mut new)?;
    tracer.finish().and_then(|output| check_events(&output, tally))
}
