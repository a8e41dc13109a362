//! What happens each second.

use super::program::Program;
use super::tally::Tally;
use super::tracer::{INT, PATIENCE, Summary, TERM, Tracer, account};
use crate::{command, text};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

/// One after the other.
pub(super) fn play(
    round: u64,
    steady: &Program,
    renewed: &Program,
    tally: &mut Tally,
) -> Result<(), String> {
    let (pid, other) = (steady.pid().to_string(), renewed.pid().to_string());
    let trace = |backend: &str, pid: &str| {
        Tracer::start(&["trace", "--json", "--backend", backend, "-p", pid, "e2e:hit"])
    };
    let what: (&str, Result<(), String>) = match round % 10 {
        0 => ("embedded, interrupted", trace("embedded", &pid).and_then(|t| ended(t, INT, tally))),
        1 => ("bcc, terminated", trace("bcc", &pid).and_then(|t| ended(t, TERM, tally))),
        2 => {
            tally.killed += 1;
            ("killed", trace("embedded", &other).and_then(Tracer::kill))
        }
        3 => ("for a while", for_a_while(&other, tally)),
        4 => {
            let both = trace("embedded", &pid)
                .and_then(|one| trace("embedded", &pid).map(|two| (one, two)));
            let both = both.and_then(|(one, two)| {
                ended(one, INT, tally).and_then(|()| ended(two, INT, tally))
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
    what.1.map_err(|problem| format!("round {round}, {}: {problem}", what.0))
}

fn ended(tracer: Tracer, signal: i32, tally: &mut Tally) -> Result<(), String> {
    std::thread::sleep(Duration::from_millis(300));
    tracer.end(signal).and_then(|read| whole(&read, tally))
}

/// Every event is there: of each goroutine one number follows the other, unless some were dropped.
fn whole((events, summary): &(Vec<Value>, Summary), tally: &mut Tally) -> Result<(), String> {
    if events.len() as u64 + summary.dropped != summary.hits {
        return Err(format!("{} events of {summary:?}", events.len()));
    }
    tally.events += events.len() as u64;
    tally.dropped += summary.dropped;
    let mut last: HashMap<(u64, u64), u64> = HashMap::new();
    for event in events {
        let number = |value: &Value| value.as_u64().ok_or_else(|| format!("not whole: {event}"));
        let (args, n) = (&event["args"], number(&event["args"]["n"])?);
        if args["text"] != format!("soak {n}") {
            return Err(format!("mixed up: {event}"));
        }
        let before = last.insert((number(&event["pid"])?, number(&args["self"])?), n);
        if before.is_some_and(|before| n <= before || summary.dropped == 0 && n != before + 1) {
            return Err(format!("behind number {before:?}: {event}"));
        }
    }
    Ok(())
}

fn for_a_while(pid: &str, tally: &mut Tally) -> Result<(), String> {
    let mut tracer =
        Tracer::start(&["trace", "--json", "--duration", "300ms", "-p", pid, "e2e:hit"])?;
    tracer.finish().and_then(|read| whole(&read, tally))
}

/// It says so and ends.
fn full_disk(pid: &str) -> Result<(), String> {
    let full =
        std::fs::OpenOptions::new().write(true).open("/dev/full").map_err(|e| e.to_string())?;
    let mut new = command("usdt-attach");
    new.args(["trace", "--json", "-p", pid, "e2e:hit"]);
    let out = new.stdout(full).stderr(Stdio::piped()).output().map_err(|e| e.to_string())?;
    let said = text(&out.stderr);
    if out.status.code() == Some(3) && said.contains("No space left on device") {
        return Ok(());
    }
    Err(format!("{}: {said}", out.status))
}

/// It ends, and nothing is wrong with that.
fn closed_pipe(pid: &str) -> Result<(), String> {
    let mut new = command("timeout");
    new.arg(PATIENCE.as_secs().to_string()).args(["usdt-attach", "trace", "-p", pid, "e2e:hit"]);
    let mut child =
        new.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let mut line = String::new();
    let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    let status = child.wait().map_err(|e| e.to_string())?;
    match read {
        Some(Ok(_)) if status.success() && line.contains("e2e:hit") => Ok(()),
        _ => Err(format!("{status} behind {line:?}")),
    }
}

/// Who reads late loses events, but not the count of them.
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
    whole(&account(&written)?, tally)
}

/// 64 MiB of its own.
fn little_memory(pid: &str, tally: &mut Tally) -> Result<(), String> {
    let mut shell: Command = command("sh");
    shell.args(["-c", "ulimit -d 65536; exec \"$@\"", "sh", "usdt-attach", "trace", "--json"]);
    let mut tracer = Tracer::spawn(shell.args(["--duration", "300ms", "-p", pid, "e2e:hit"]))?;
    tracer.finish().and_then(|read| whole(&read, tally))
}
