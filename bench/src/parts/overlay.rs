//! What the probes of the runtime and the standard library cost a program when nobody traces, and when somebody does.

use crate::harness::{
    self, OTHER_CPU, SEAL, TARGET_CPU, done, ours, pinned, start_quietly, with_path,
};
use crate::parts::off::parse;
use crate::results::{Column, Plot, Table};
use crate::rounds::{Benchmark, rounds};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use usdt_e2e::root;

/// Benchmarks of `tests/go/overhead`.
const BENCHMARKS: [(&str, &str); 5] = [
    ("Goroutine", "goroutine made, run, ended"),
    ("PingPong", "ping-pong over two channels"),
    ("SmallAllocation", "allocation of 48 bytes"),
    ("HTTP", "`net/http` round trip"),
    ("Garbage", "a tree of 8,191 nodes made beside one of 131,071, collected"),
];

/// Benchmarks and what they fire, so many times an operation.
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
    let overlay = crate::parts::service::overlay()?;
    let probed = build(&[&overlay, SEAL], "overhead-overlay")?;
    Ok(vec![off(&stock, &probed)?, counted(&probed)?])
}

fn build(flags: &[&str], name: &str) -> Result<PathBuf, String> {
    let out = harness::folder().join(name);
    let mut go = Command::new("go");
    go.args(["test", "-c", "-o"])
        .arg(&out)
        .args(flags)
        .arg("./overhead")
        .current_dir(root().join("tests/go"));
    done(with_path(&mut go))?;
    Ok(out)
}

fn off(stock: &Path, probed: &Path) -> Result<Table, String> {
    // A file of its own: that the same program differs from itself is what the machine does.
    let again = stock.with_file_name("overhead-again");
    std::fs::copy(stock, &again).map_err(|e| e.to_string())?;
    let one = |name: &str, program: &Path| {
        let program = program.to_owned();
        Benchmark::new(name, move || measure(&program, "."))
    };
    let benchmarks = vec![
        one("stock Go", stock),
        one("with the overlay", probed),
        one("stock Go once more", &again),
    ];
    let column = |(_, what): &(&str, &str)| Column::new(what, "ns");
    Ok(Table {
        title: "Probes of the runtime, nobody traces".to_owned(),
        how: "`tests/go/overhead`, 100 ms a benchmark, one processor.".to_owned(),
        columns: BENCHMARKS.iter().map(column).collect(),
        rows: rounds(25, benchmarks)?,
        base: Some(0),
        plot: Plot::None,
    })
}

fn counted(probed: &Path) -> Result<Table, String> {
    let benchmarks = TRACED.iter().map(|(name, probe, hits)| {
        Benchmark::new(format!("`{probe}`"), move || {
            let only =
                |values: Vec<f64>| values.first().copied().ok_or("no such benchmark".to_owned());
            let off = only(measure(probed, name)?)?;
            let tracer = start_quietly(
                pinned(OTHER_CPU, ours("usdt-attach")).args(["count", probe, "--exe"]).arg(probed),
            )?;
            std::thread::sleep(Duration::from_millis(200));
            let on = measure(probed, name);
            tracer.interrupt();
            Ok(vec![(only(on?)? - off) / hits])
        })
    });
    Ok(Table {
        title: "Probes of the runtime, counted".to_owned(),
        how: "Those benchmarks under `usdt-attach count`, one probe at a time, less what they take without."
            .to_owned(),
        columns: vec![Column::new("a hit", "ns")],
        rows: rounds(5, benchmarks.collect())?,
        base: None,
        plot: Plot::None,
    })
}

/// Nanoseconds an operation, in the order of the benchmarks.
fn measure(program: &Path, pattern: &str) -> Result<Vec<f64>, String> {
    let mut command = pinned(TARGET_CPU, program);
    command.args([
        "-test.run=^$",
        &format!("-test.bench={pattern}"),
        "-test.benchtime=100ms",
        "-test.cpu=1",
    ]);
    let out = done(&mut command)?;
    let values: Vec<(String, f64)> = parse(&out).collect();
    let wanted = BENCHMARKS.iter().filter(|(name, _)| pattern == "." || *name == pattern);
    wanted
        .map(|(name, _)| {
            let found = values.iter().find(|(found, _)| found == name);
            found.map(|(_, ns)| *ns).ok_or_else(|| format!("no benchmark {name} in {out}"))
        })
        .collect()
}
