//! The overhead of a disabled probe, compared with alternatives.

use super::service::injected::flags;
use crate::harness::{self, TARGET_CPU, output, pinned};
use crate::results::{Column, Plot, Row, Table};
use crate::rounds::rounds;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::root;

const ROUNDS: usize = 25;

/// Benchmarks of `bench/go/off`, and their labels.
const ROWS: [(&str, &str); 13] = [
    ("EmptyLoop", "empty loop"),
    ("Gate", "disabled probe, three arguments, one a string"),
    ("GateSixArguments", "disabled probe, six arguments"),
    ("GateClosure", "disabled probe, three arguments, closure form"),
    ("AssemblyCall", "call of an empty assembly function: a probe without a gate"),
    ("TraceRegion", "`runtime/trace` region, tracing off"),
    ("TraceLog", "`runtime/trace` log, tracing off"),
    ("SlogDisabled", "`log/slog` record below the level"),
    ("CgoSdt", "`sdt.h` probe through cgo"),
    ("CgoSdtSemaphore", "`sdt.h` probe through cgo, semaphore read in C"),
    ("CgoPeek", "check of the site's first byte through cgo, as in libstapsdt and salp"),
    ("OtelNoop", "OpenTelemetry span, no-op provider"),
    ("OtelNoopAttributes", "OpenTelemetry span with two attributes, no-op provider"),
];

/// Benchmarks of `bench/go/off/injected`, and their labels.
const INJECTED_ROWS: [(&str, &str); 6] = [
    ("Plain", "no probes"),
    ("Default", "default form, disabled"),
    ("Copy", "copy, disabled"),
    ("PlainLeaf", "no probes, a leaf function"),
    ("DefaultLeaf", "default form, a leaf function, disabled"),
    ("CopyLeaf", "copy, a leaf function, disabled"),
];
/// Rules for two thirds of its functions.
const RULES: &str = "[[probe]]\nfunc = \"usdt.local/bench/off/injected:Default*\"\nform = \"defer\"\n\
     [[probe]]\nfunc = \"usdt.local/bench/off/injected:Copy*\"\nform = \"copy\"\n";

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let program = harness::go_test(&[], "./off", "off.test")?;
    let disabled = Table {
        title: "Disabled probe".to_owned(),
        how: "`bench/go/off`: one loop per row, 60 ms each. Our probes allocate nothing."
            .to_owned(),
        columns: vec![Column::new("per iteration", "ns")],
        rows: measure(&program, &ROWS)?,
        base: Some(0),
        plot: Plot::Bars,
    };
    let injected = Table {
        title: "Function with disabled injected probes".to_owned(),
        how: "`bench/go/off/injected`: calls of functions that are not inlined and have two \
              parameters and two results, with an injected entry and return probe or without. The first \
              three call another function, the leaf functions do not: their frame is that of the probes. \
              One loop per row, 60 ms each."
            .to_owned(),
        columns: vec![Column::new("per call", "ns")],
        rows: measure(&injected()?, &INJECTED_ROWS)?,
        base: Some(0),
        plot: Plot::None,
    };
    Ok(vec![disabled, injected])
}

/// Builds the functions with their probes.
fn injected() -> Result<PathBuf, String> {
    let folder = root().join("bench/go");
    let flags = flags("off-injected", RULES, &folder, "./off/injected")?;
    let out = harness::folder().join("off-injected.test");
    let mut go = Command::new("go");
    go.args(["test", "-c", "-o"]).arg(&out).arg("./off/injected").current_dir(folder);
    output(go.env("GOFLAGS", flags))?;
    Ok(out)
}

/// Runs the benchmarks of a program in turn, in rounds.
fn measure(program: &Path, rows: &[(&str, &str)]) -> Result<Vec<Row>, String> {
    let rounds = rounds(ROUNDS);
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 0..=rounds {
        let mut command = pinned(TARGET_CPU, program);
        command.args([
            "-test.run=^$",
            "-test.bench=.",
            "-test.benchtime=60ms",
            "-test.cpu=1",
            "-test.benchmem",
        ]);
        let out = output(&mut command)?;
        for (name, ns) in parse(&out).filter(|_| round > 0) {
            samples.entry(name).or_default().push(ns);
        }
        eprint!("\r{round}/{rounds} rounds");
    }
    eprintln!();
    let rows = rows.iter().map(|(name, label)| {
        let samples = samples.remove(*name).unwrap_or_default();
        Row { name: (*label).to_owned(), size: None, samples: vec![samples] }
    });
    Ok(rows.collect())
}

/// Parses names and nanoseconds from the output of Go benchmarks.
pub(crate) fn parse(out: &str) -> impl Iterator<Item = (String, f64)> {
    out.lines().filter_map(|line| {
        let mut words = line.strip_prefix("Benchmark")?.split_whitespace();
        let name = words.next()?.to_owned();
        let words: Vec<&str> = words.collect();
        let unit = words.iter().position(|word| *word == "ns/op")?;
        Some((name, words.get(unit.checked_sub(1)?)?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn parses_lines_of_go_benchmarks() {
        let out =
            "goos: linux\nBenchmarkGate \t100 \t 0.55 ns/op\t 0 B/op\nBenchmarkBroken\nPASS\n";
        assert_eq!(super::parse(out).collect::<Vec<_>>(), [("Gate".to_owned(), 0.55)]);
    }
}
