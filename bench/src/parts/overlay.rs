//! The overhead of the runtime and standard library probes, disabled and enabled.

use crate::harness::{
    self, OTHER_CPU, SEAL, TARGET_CPU, our_tool, output, pinned, start_quietly, with_path,
};
use crate::parts::off::parse;
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, run_rounds};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use usdt_e2e::root;

/// Benchmarks of `tests/go/overhead`, and their labels.
const BENCHMARKS: [(&str, &str); 5] = [
    ("Goroutine", "create, run and end a goroutine"),
    ("PingPong", "ping-pong over two channels"),
    ("SmallAllocation", "allocate 48 bytes"),
    ("HTTP", "`net/http` round trip"),
    ("Garbage", "allocate and collect a tree of 8,191 nodes next to one of 131,071"),
];

/// Benchmarks, a probe that they fire, and how often they fire it per operation.
const TRACED: [(&str, &str, f64); 6] = [
    ("Goroutine", "go:goroutine__create", 1.0),
    ("Goroutine", "go:goroutine__exit", 1.0),
    ("Goroutine", "go:goroutine__start", 2.0),
    ("PingPong", "go:goroutine__block", 2.0),
    ("PingPong", "go:goroutine__unblock", 2.0),
    ("PingPong", "go:sched__latency", 2.0),
];

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let stock = build(&[], "overhead-stock")?;
    let overlay = crate::parts::service::overlay_flag()?;
    let probed = build(&[&overlay, SEAL], "overhead-overlay")?;
    Ok(vec![disabled(&stock, &probed)?, counted(&probed)?])
}

fn build(flags: &[&str], name: &str) -> Result<PathBuf, String> {
    let out = harness::folder().join(name);
    let mut go = Command::new("go");
    go.args(["test", "-c", "-o"])
        .arg(&out)
        .args(flags)
        .arg("./overhead")
        .current_dir(root().join("tests/go"));
    output(with_path(&mut go))?;
    Ok(out)
}

fn disabled(stock: &Path, probed: &Path) -> Result<Table, String> {
    // A copy of the same program shows how much a program differs from itself on this machine.
    let again = stock.with_file_name("overhead-again");
    std::fs::copy(stock, &again).map_err(|e| e.to_string())?;
    let benchmark = |name: &str, program: &Path| {
        let program = program.to_owned();
        Benchmark::new(name, move || measure(&program, "."))
    };
    let benchmarks = vec![
        benchmark("stock Go", stock),
        benchmark("with the overlay", probed),
        benchmark("stock Go, again", &again),
    ];
    let column = |(_, label): &(&str, &str)| Column::new(label, "ns");
    Ok(Table {
        title: "Runtime probes, disabled".to_owned(),
        how: "`tests/go/overhead`, 100 ms per benchmark, one CPU.".to_owned(),
        columns: BENCHMARKS.iter().map(column).collect(),
        rows: run_rounds(25, benchmarks)?,
        base: Some(0),
        plot: Plot::None,
    })
}

/// Measures the cost per hit under `usdt-attach count`.
fn counted(probed: &Path) -> Result<Table, String> {
    let benchmarks = TRACED.iter().map(|(name, probe, hits)| {
        Benchmark::new(format!("`{probe}`"), move || {
            let first =
                |values: Vec<f64>| values.first().copied().ok_or("no such benchmark".to_owned());
            let without_tracer = first(measure(probed, name)?)?;
            let tracer = start_quietly(
                pinned(OTHER_CPU, our_tool("usdt-attach"))
                    .args(["count", probe, "--exe"])
                    .arg(probed),
            )?;
            std::thread::sleep(Duration::from_millis(200));
            let with_tracer = measure(probed, name);
            tracer.interrupt();
            Ok(vec![(first(with_tracer?)? - without_tracer) / hits])
        })
    });
    Ok(Table {
        title: "Runtime probes, counted".to_owned(),
        how: "The same benchmarks under `usdt-attach count`, one probe at a time, minus the time \
              without a tracer."
            .to_owned(),
        columns: vec![Column::new("per hit", "ns")],
        rows: run_rounds(5, benchmarks.collect())?,
        base: None,
        plot: Plot::None,
    })
}

/// Returns nanoseconds per operation, in the order of the benchmarks.
fn measure(program: &Path, pattern: &str) -> Result<Vec<f64>, String> {
    let mut command = pinned(TARGET_CPU, program);
    command.args([
        "-test.run=^$",
        &format!("-test.bench={pattern}"),
        "-test.benchtime=100ms",
        "-test.cpu=1",
    ]);
    let out = output(&mut command)?;
    let values: Vec<(String, f64)> = parse(&out).collect();
    let wanted = BENCHMARKS.iter().filter(|(name, _)| pattern == "." || *name == pattern);
    wanted
        .map(|(name, _)| {
            let found = values.iter().find(|(found, _)| found == name);
            found.map(|(_, ns)| *ns).ok_or_else(|| format!("no benchmark {name} in {out}"))
        })
        .collect()
}
