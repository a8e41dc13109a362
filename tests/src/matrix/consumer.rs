//! The tracers: each reads the arguments of hits that follow each other, at a program that never stops.

use super::build::Built;
use crate::output;
use crate::{command, root};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Hits that each tracer reads.
const HITS: usize = 10;

/// Who traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consumer {
    /// `usdt-attach` with its own programs.
    Embedded,
    /// `usdt-attach` with bcc's.
    Bcc,
    Bpftrace,
    /// bcc's Python module.
    BccPython,
    Libbpf,
    Perf,
    Gdb,
    /// SystemTap lists only: it would want a kernel module built.
    Systemtap,
}

/// What is made once for all cells.
pub(super) struct Tools {
    _folder: tempfile::TempDir,
    /// libbpf's program and what loads it.
    object: PathBuf,
    loader: PathBuf,
    /// perf's events are the kernel's: one at a time.
    perf: Mutex<()>,
}

impl Tools {
    pub(super) fn build() -> Result<Tools, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (object, loader) = crate::libbpf(folder.path());
        Ok(Tools { _folder: folder, object, loader, perf: Mutex::new(()) })
    }
}

/// A hit as it was read: its number, and its text or the length of that.
type Hit = (u64, Result<String, u64>);

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

    /// Traces the program and compares.
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
            Consumer::Systemtap => return listed_by_systemtap(&built.file),
        }?;
        compare(&hits)
    }
}

/// None is missing, and each says what it was fired with.
fn compare(hits: &[Hit]) -> Result<(), String> {
    let Some(((first, _), hits)) = hits.get(..HITS).and_then(<[Hit]>::split_first) else {
        return Err(format!("{} hits instead of {HITS}", hits.len()));
    };
    for (expected, (number, text)) in (first + 1..).zip(hits) {
        let fired = format!("tick {expected}");
        let is_right = match text {
            Ok(text) => *text == fired,
            Err(length) => *length == fired.len() as u64,
        };
        if *number != expected || !is_right {
            return Err(format!("hit {number} with {text:?} instead of {expected}"));
        }
    }
    Ok(())
}

/// A tracer that does not end by itself is ended.
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
    let events = crate::lines(&output(&mut tracer)?);
    let hit = |event: &serde_json::Value| {
        let args = event.get("args")?;
        Some((args.get("n")?.as_u64()?, Ok(args.get("text")?.as_str()?.to_owned())))
    };
    Ok(events.iter().filter_map(hit).collect())
}

fn bpftrace(file: &str) -> Result<Vec<Hit>, String> {
    let script = format!(
        "usdt:{file}:e2e:hit {{ printf(\"HIT %d %s\\n\", arg1, str(arg2, arg3)); @n = @n + 1; if (@n == {HITS}) {{ exit(); }} }}"
    );
    Ok(numbers_and_texts(&output(limited("bpftrace").args(["-e", &script]))?, "HIT "))
}

fn bcc(pid: &str, file: &str) -> Result<Vec<Hit>, String> {
    let mut python = limited("/usr/bin/python3");
    python.arg(root().join("tests/python/bcc_hits.py")).args([pid, file, &HITS.to_string()]);
    Ok(numbers_and_texts(&output(&mut python)?, ""))
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
        Some((*words.get(1)?, Err(*words.get(3)?)))
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
    // It may never have been defined.
    let _ = perf(&["probe", "-q", "-d", "sdt_e2e:*"]);
    let hit = |line: &str| {
        let value =
            |name: &str| line.split_whitespace().find_map(|w| w.strip_prefix(name))?.parse().ok();
        Some((value("arg2=")?, Err(value("arg4=")?)))
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
        // The text's pointer and its length.
        gdb.args(["-ex", "continue"]);
        gdb.args(["-ex", "printf \"HIT %lu %lu\\n\", $_probe_arg1, $_probe_arg3"]);
    }
    let hit = |line: &str| {
        let (number, length) = line.strip_prefix("HIT ")?.split_once(' ')?;
        Some((number.parse().ok()?, Err(length.trim().parse().ok()?)))
    };
    Ok(output(&mut gdb)?.lines().filter_map(hit).collect())
}

fn listed_by_systemtap(file: &Path) -> Result<(), String> {
    let probe = format!("process(\"{}\").provider(\"e2e\").mark(\"hit\")", file.display());
    let out = output(limited("stap").args(["-L", &probe]))?;
    // The probe's own and the goroutine's id.
    match out
        .lines()
        .find(|line| line.contains(".mark(\"hit\")"))
        .map(|line| line.matches("$arg").count())
    {
        Some(5) => Ok(()),
        Some(count) => Err(format!("{count} arguments instead of 5")),
        None => Err("it is not listed".to_owned()),
    }
}

fn numbers_and_texts(out: &str, before: &str) -> Vec<Hit> {
    let hit = |line: &str| {
        let (number, text) = line.strip_prefix(before)?.split_once(' ')?;
        Some((number.parse().ok()?, Ok(text.to_owned())))
    };
    out.lines().filter_map(hit).collect()
}
