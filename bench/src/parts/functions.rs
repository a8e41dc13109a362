//! The cost of function probes: of a call, and of attaching to functions of large programs.

use super::on::{HIT, Load, fire};
use crate::harness::{
    self, OTHER_CPU, SEAL, memory, our_tool, output, pinned, start_quietly, with_path, write,
};
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, run_rounds};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Functions of the generated program.
const FUNCTIONS: usize = 1_000;

pub(crate) fn run() -> Result<Vec<Table>, String> {
    Ok(vec![calls()?, attaching()?])
}

fn calls() -> Result<Table, String> {
    /// For tracers that take microseconds or more for each call.
    const SLOW: Load = Load { hits: 20_000, ..HIT };
    /// Functions have no semaphore: the program sees the first breakpoint, and others may follow.
    const LOOKUP: Load = Load { probe: "lookup", settle: 100, ..SLOW };
    let program = harness::go_build(&[SEAL], "./fire", "fire")?;
    let file = program.display().to_string();
    let (program, file) = (&program, &file);
    let attach = |name: &str, load: Load, args: &'static [&'static str]| {
        Benchmark::new(name, move || {
            let start = |pid: &str| {
                let mut tracer = pinned(OTHER_CPU, our_tool("usdt-attach"));
                tracer.args(args).args(["-p", pid]);
                tracer
            };
            fire(program, load, &start).map(|ns| vec![ns])
        })
    };
    let benchmarks = vec![
        attach("`usdt-attach count`, entry", LOOKUP, &["count", "func:main.lookup"]),
        attach(
            "`usdt-attach count`, entry, single-stepped",
            Load { probe: "sum", ..LOOKUP },
            &["count", "func:main.sum"],
        ),
        attach("`usdt-attach count`, return", LOOKUP, &["count", "func:main.lookup%return"]),
        attach("`usdt-attach latency`, entry and return", LOOKUP, &["latency", "func:main.lookup"]),
        attach(
            "`usdt-attach trace`, entry with two arguments",
            LOOKUP,
            &["trace", "func:main.lookup"],
        ),
        attach(
            "`usdt-attach trace`, return with two results",
            LOOKUP,
            &["trace", "func:main.lookup%return"],
        ),
        Benchmark::new("bpftrace, count of a `uprobe`", move || {
            let script = format!("uprobe:{file}:\"main.lookup\" {{ @ = count(); }}");
            let start = |_: &str| {
                let mut bpftrace = pinned(OTHER_CPU, "bpftrace");
                bpftrace.args(["-q", "-e", &script]);
                bpftrace
            };
            fire(program, LOOKUP, &start).map(|ns| vec![ns])
        }),
        Benchmark::new("Delve, `dlv trace`", move || {
            let start = |pid: &str| {
                let mut delve = pinned(OTHER_CPU, "dlv");
                delve.args(["trace", "--check-go-version=false", "-p", pid, "^main.lookup$"]);
                delve
            };
            fire(program, Load { hits: 100, ..LOOKUP }, &start).map(|ns| vec![ns])
        }),
    ];
    Ok(Table {
        title: "Cost per call of a function".to_owned(),
        how: "One thread calls a function with an integer and a string of 41 bytes without a pause; it \
              returns an integer and an error. Times are wall time in the traced program, which has one \
              CPU; the tracer has the other."
            .to_owned(),
        columns: vec![Column::new("per call", "ns")],
        rows: run_rounds(11, benchmarks)?,
        base: Some(0),
        plot: Plot::None,
    })
}

/// Builds a program of many functions with a stack check.
fn program_of_functions() -> Result<PathBuf, String> {
    let folder = harness::folder().join("functions");
    write(&folder.join("go.mod"), "module example.com/functions\n\ngo 1.21\n")?;
    let mut source = String::from("package main\n\nimport \"os\"\n");
    source.push_str("\n//go:noinline\nfunc step(n int, s string) int { return n + len(s) }\n");
    let mut all = String::new();
    for number in 0..FUNCTIONS {
        let _ = write!(
            source,
            "\n//go:noinline\nfunc f{number}(n int, s string) (int, error) {{ return step(n, s), nil }}\n"
        );
        let _ = write!(all, "f{number}, ");
    }
    let _ = write!(
        source,
        "\nfunc main() {{\n\tfor _, f := range []func(int, string) (int, error){{{all}}} {{\n\t\tf(1, os.Args[0])\n\t}}\n}}\n"
    );
    write(&folder.join("main.go"), source)?;
    let out = folder.join("functions");
    output(Command::new("go").args(["build", "-o"]).arg(&out).arg(".").current_dir(&folder))?;
    Ok(out)
}

/// A pinned version, so that figures of different days are of the same program.
const PROMETHEUS: &str = "github.com/prometheus/prometheus@v0.55.1";

/// Builds Prometheus with flags.
fn prometheus(name: &str, flags: &[&str]) -> Result<PathBuf, String> {
    const PROGRAM: &str = "github.com/prometheus/prometheus/cmd/prometheus";
    let folder = harness::folder().join("prometheus-module");
    let go = |args: &[&str]| {
        output(with_path(Command::new("go").args(args).current_dir(&folder))).map(drop)
    };
    if !folder.join("go.sum").exists() {
        // Its own go.mod replaces these modules, too.
        let module = "module example.com/prometheus\n\ngo 1.25\n\n\
                      replace k8s.io/klog => github.com/simonpasquier/klog-gokit v0.3.0\n\n\
                      replace k8s.io/klog/v2 => github.com/simonpasquier/klog-gokit/v3 v3.5.0\n";
        write(&folder.join("go.mod"), module)?;
        let tools = format!("//go:build tools\n\npackage tools\n\nimport _ \"{PROGRAM}\"\n");
        write(&folder.join("tools.go"), tools)?;
        go(&["get", PROMETHEUS])?;
        go(&["mod", "tidy"])?;
    }
    let out = harness::folder().join(name);
    let path = out.display().to_string();
    go(&[&["build", "-o", &path], flags, &[PROGRAM]].concat())?;
    Ok(out)
}

/// Attaches to an executable and returns the milliseconds from the start of the tracer until its
/// probes are attached, and its peak resident memory in MiB.
fn attach(file: &Path, globs: &[&str]) -> Result<Vec<f64>, String> {
    const TIMEOUT: Duration = Duration::from_secs(30);
    const POLL_INTERVAL: Duration = Duration::from_micros(200);
    let mut tracer = pinned(OTHER_CPU, our_tool("usdt-attach"));
    tracer.arg("count").args(globs).arg("--exe").arg(file);
    let begin = Instant::now();
    let tracer = start_quietly(&mut tracer)?;
    while !has_link(tracer.pid(), file) {
        if begin.elapsed() > TIMEOUT {
            return Err(format!("usdt-attach did not attach to {}", file.display()));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    let elapsed = begin.elapsed().as_secs_f64() * 1e3;
    let peak = memory(tracer.pid(), "VmHWM");
    tracer.interrupt();
    Ok(vec![elapsed, peak])
}

/// Returns true if a process holds a link to probes of a file.
fn has_link(pid: u32, file: &Path) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let path = format!("path:\t{}\n", file.display());
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .any(|info| info.contains("uprobe_multi") && info.contains(&path))
}

fn attaching() -> Result<Table, String> {
    let many = program_of_functions()?;
    let large = prometheus("prometheus", &[])?;
    let stripped = prometheus("prometheus-stripped", &["-ldflags=-s -w"])?;
    let size = |file: &Path| {
        let length = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        format!("{} MiB", length >> 20)
    };
    const EXEC: &str = "func:github.com/prometheus/prometheus/promql.(*Engine).exec";
    let (many, large, stripped) = (&many, &large, &stripped);
    let benchmarks = vec![
        Benchmark::new(
            format!("one function of Prometheus, {}, without debug information", size(stripped)),
            move || attach(stripped, &[EXEC]),
        ),
        Benchmark::new(
            format!("the same by an argument, {} with compressed debug information", size(large)),
            move || attach(large, &[EXEC, "--by", "q.q"]),
        ),
        Benchmark::new(format!("{FUNCTIONS} entries"), move || attach(many, &["func:main.f*"])),
        Benchmark::new(format!("{FUNCTIONS} entries and their returns"), move || {
            attach(many, &["func:main.f*", "func:main.f*%return"])
        }),
    ];
    Ok(Table {
        title: "Attaching to functions".to_owned(),
        how: "`usdt-attach count` of an executable, from the start of the tracer until the probes are \
              attached. That includes finding the functions and measuring the cost of a hit, which the \
              command prints. Memory is `VmHWM` at that time."
            .to_owned(),
        columns: vec![Column::new("attached", "ms"), Column::new("resident memory", "MiB")],
        rows: run_rounds(15, benchmarks)?,
        base: None,
        plot: Plot::None,
    })
}
