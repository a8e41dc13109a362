//! The tracers. Each reads the arguments of consecutive hits of a program that never stops.

use super::build::Built;
use crate::output;
use crate::{command, root};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Number of hits that each tracer reads.
const HITS: usize = 10;

/// A tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consumer {
    /// `usdt-attach` with the embedded backend.
    Embedded,
    /// `usdt-attach` with the bcc backend.
    Bcc,
    Bpftrace,
    /// The Python module of bcc.
    BccPython,
    Libbpf,
    Perf,
    Gdb,
    /// SystemTap, which only lists probes here: tracing would require building a kernel module.
    Systemtap,
}

/// State shared by all cells.
pub(super) struct Tools {
    _folder: tempfile::TempDir,
    /// BPF object of the libbpf fixture, and its loader.
    object: PathBuf,
    loader: PathBuf,
    /// perf defines its events in the kernel by name, so only one cell may use it at a time.
    perf: Mutex<()>,
}

impl Tools {
    pub(super) fn build() -> Result<Tools, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (object, loader) = crate::libbpf(folder.path());
        Ok(Tools { _folder: folder, object, loader, perf: Mutex::new(()) })
    }
}

/// A hit as a tracer read it.
#[derive(Debug)]
struct Hit {
    number: u64,
    string: ReadString,
}

/// The string argument of a hit, as far as the tracer can read it.
#[derive(Debug)]
enum ReadString {
    Content(String),
    /// The tracer reads only the pointer and the length.
    Length(u64),
}

impl Consumer {
    pub(super) const ALL: [Consumer; 8] = [
        Consumer::Embedded,
        Consumer::Bcc,
        Consumer::Bpftrace,
        Consumer::BccPython,
        Consumer::Libbpf,
        Consumer::Perf,
        Consumer::Gdb,
        Consumer::Systemtap,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Consumer::Embedded => "usdt-attach",
            Consumer::Bcc => "usdt-attach-bcc",
            Consumer::Bpftrace => "bpftrace",
            Consumer::BccPython => "bcc",
            Consumer::Libbpf => "libbpf",
            Consumer::Perf => "perf",
            Consumer::Gdb => "gdb",
            Consumer::Systemtap => "systemtap",
        }
    }

    /// Traces a program and compares the hits with what it fired.
    pub(super) fn trace(self, built: &Built, tools: &Tools, folder: &Path) -> Result<(), String> {
        let running = built.start()?;
        let (pid, file) = (running.pid().to_string(), built.file.display().to_string());
        let hits = match self {
            Consumer::Embedded => usdt_attach(&pid, "embedded"),
            Consumer::Bcc => usdt_attach(&pid, "bcc"),
            Consumer::Bpftrace => bpftrace(&file),
            Consumer::BccPython => bcc(&pid, &file),
            Consumer::Libbpf => libbpf(tools, &file),
            Consumer::Perf => perf(tools, folder, &pid, &file),
            Consumer::Gdb => gdb(&pid),
            Consumer::Systemtap => return systemtap(&built.file),
        }?;
        compare(&hits)
    }
}

/// Fails if a hit is missing or carries other arguments than the program fired.
fn compare(hits: &[Hit]) -> Result<(), String> {
    let Some((first, hits)) = hits.get(..HITS).and_then(<[Hit]>::split_first) else {
        return Err(format!("read {} hits instead of {HITS}", hits.len()));
    };
    for (expected, hit) in (first.number + 1..).zip(hits) {
        let fired = format!("tick {expected}");
        let is_same_string = match &hit.string {
            ReadString::Content(content) => *content == fired,
            ReadString::Length(length) => *length == fired.len() as u64,
        };
        if hit.number != expected || !is_same_string {
            return Err(format!("read {hit:?} instead of hit {expected} with {fired:?}"));
        }
    }
    Ok(())
}

/// Returns a command that is terminated after 60 seconds.
fn limited(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut limited = command("timeout");
    limited.args(["-k", "1", "60"]).arg(program);
    limited
}

fn usdt_attach(pid: &str, backend: &str) -> Result<Vec<Hit>, String> {
    let mut tracer = limited("usdt-attach");
    tracer.args([
        "trace",
        "--json",
        "--backend",
        backend,
        "--events",
        &HITS.to_string(),
        "-p",
        pid,
        "e2e:hit",
    ]);
    let events = crate::json_lines(&output(&mut tracer)?);
    let hit = |event: &serde_json::Value| {
        let args = event.get("args")?;
        let string = ReadString::Content(args.get("text")?.as_str()?.to_owned());
        Some(Hit { number: args.get("n")?.as_u64()?, string })
    };
    Ok(events.iter().filter_map(hit).collect())
}

fn bpftrace(file: &str) -> Result<Vec<Hit>, String> {
    let script = format!(
        "usdt:{file}:e2e:hit {{ printf(\"HIT %d %s\\n\", arg1, str(arg2, arg3)); @n = @n + 1; if (@n == {HITS}) {{ exit(); }} }}"
    );
    Ok(numbers_and_strings(&output(limited("bpftrace").args(["-e", &script]))?, "HIT "))
}

fn bcc(pid: &str, file: &str) -> Result<Vec<Hit>, String> {
    let mut python = limited("/usr/bin/python3");
    python.arg(root().join("tests/python/bcc_hits.py")).args([pid, file, &HITS.to_string()]);
    Ok(numbers_and_strings(&output(&mut python)?, ""))
}

fn libbpf(tools: &Tools, file: &str) -> Result<Vec<Hit>, String> {
    let mut loader = limited(&tools.loader);
    loader.arg(&tools.object).args([file, "e2e", "hit", &HITS.to_string()]);
    let hit = |line: &str| {
        let words: Vec<u64> = line
            .split(' ')
            .map(|word| u64::from_str_radix(word, 16))
            .collect::<Result<_, _>>()
            .ok()?;
        Some(Hit { number: *words.get(1)?, string: ReadString::Length(*words.get(3)?) })
    };
    Ok(output(&mut loader)?.lines().filter_map(hit).collect())
}

fn perf(tools: &Tools, folder: &Path, pid: &str, file: &str) -> Result<Vec<Hit>, String> {
    let _one = tools.perf.lock().unwrap_or_else(PoisonError::into_inner);
    let (cache, data) = (folder.join("cache"), folder.join("data"));
    std::fs::create_dir_all(&cache).map_err(|e| e.to_string())?;
    let perf = |args: &[&str]| output(limited("perf").arg("--buildid-dir").arg(&cache).args(args));
    perf(&["buildid-cache", "--add", file])?;
    let recorded = perf(&["probe", "-q", "sdt_e2e:hit"]).and_then(|_| {
        let data = data.to_string_lossy();
        perf(&["record", "-q", "-e", "sdt_e2e:hit", "-o", &data, "-p", pid, "--", "sleep", "0.2"])?;
        perf(&["script", "-i", &data])
    });
    // The event may not exist if defining it failed.
    let _ = perf(&["probe", "-q", "-d", "sdt_e2e:*"]);
    let hit = |line: &str| {
        let value =
            |name: &str| line.split_whitespace().find_map(|w| w.strip_prefix(name))?.parse().ok();
        Some(Hit { number: value("arg2=")?, string: ReadString::Length(value("arg4=")?) })
    };
    Ok(recorded?.lines().filter_map(hit).collect())
}

fn gdb(pid: &str) -> Result<Vec<Hit>, String> {
    let mut gdb = limited("gdb");
    gdb.args([
        "-nx",
        "-batch",
        "-iex",
        "set auto-load no",
        "-p",
        pid,
        "-ex",
        "break -probe-stap e2e:hit",
    ]);
    for _ in 0..HITS {
        // Print the hit's number and the length of its string.
        gdb.args(["-ex", "continue"]);
        gdb.args(["-ex", "printf \"HIT %lu %lu\\n\", $_probe_arg1, $_probe_arg3"]);
    }
    let hit = |line: &str| {
        let (number, length) = line.strip_prefix("HIT ")?.split_once(' ')?;
        let string = ReadString::Length(length.trim().parse().ok()?);
        Some(Hit { number: number.parse().ok()?, string })
    };
    Ok(output(&mut gdb)?.lines().filter_map(hit).collect())
}

fn systemtap(file: &Path) -> Result<(), String> {
    let probe = format!("process(\"{}\").provider(\"e2e\").mark(\"hit\")", file.display());
    let out = output(limited("stap").args(["-L", &probe]))?;
    // Four words of the probe's own arguments, and the goroutine id.
    match out
        .lines()
        .find(|line| line.contains(".mark(\"hit\")"))
        .map(|line| line.matches("$arg").count())
    {
        Some(5) => Ok(()),
        Some(count) => Err(format!("lists {count} arguments instead of 5")),
        None => Err("does not list the probe".to_owned()),
    }
}

/// Parses lines of the form `PREFIX NUMBER STRING`.
fn numbers_and_strings(out: &str, prefix: &str) -> Vec<Hit> {
    let hit = |line: &str| {
        let (number, content) = line.strip_prefix(prefix)?.split_once(' ')?;
        let string = ReadString::Content(content.to_owned());
        Some(Hit { number: number.parse().ok()?, string })
    };
    out.lines().filter_map(hit).collect()
}
