//! What a probe costs that nobody traces, beside what else there is to put into a program.

use crate::harness::{self, TARGET_CPU, done, pinned};
use crate::results::{Column, Plot, Row, Table};
use std::collections::BTreeMap;

const ROUNDS: usize = 25;

/// Benchmarks of `bench/go/off`, and what they are.
const ROWS: [(&str, &str); 13] = [
    ("EmptyLoop", "an empty loop"),
    ("Gate", "our probe, three arguments, one a string"),
    ("GateSixArguments", "our probe, six arguments"),
    ("GateClosure", "our probe, three arguments, fired by a closure"),
    ("AssemblyCall", "a call of an empty function in assembly: a probe without a gate"),
    ("TraceRegion", "`runtime/trace` region, not traced"),
    ("TraceLog", "`runtime/trace` log, not traced"),
    ("SlogDisabled", "`log/slog`, below the level"),
    ("CgoSdt", "cgo and `sdt.h`"),
    ("CgoSdtSemaphore", "cgo and `sdt.h`, its semaphore read in C"),
    ("CgoPeek", "a look at the site's first byte through cgo, as libstapsdt and salp do"),
    ("OtelNoop", "OpenTelemetry span, no-op provider"),
    ("OtelNoopAttributes", "OpenTelemetry span with two attributes, no-op provider"),
];

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let program = harness::go_test(&[], "./off", "off.test")?;
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 0..=ROUNDS {
        let mut command = pinned(TARGET_CPU, &program);
        command.args([
            "-test.run=^$",
            "-test.bench=.",
            "-test.benchtime=60ms",
            "-test.cpu=1",
            "-test.benchmem",
        ]);
        let out = done(&mut command)?;
        for (name, ns) in parse(&out).filter(|_| round > 0) {
            samples.entry(name).or_default().push(ns);
        }
        eprint!("\r{round}/{ROUNDS} rounds");
    }
    eprintln!();
    let rows = ROWS.iter().map(|(name, what)| {
        let samples = samples.remove(*name).unwrap_or_default();
        Row { name: (*what).to_owned(), size: None, samples: vec![samples] }
    });
    Ok(vec![Table {
        title: "A probe that nobody traces".to_owned(),
        how: "`bench/go/off`: the same loop with one of these in it, 60 ms each. No allocations in any of ours."
            .to_owned(),
        columns: vec![Column::new("an iteration", "ns")],
        rows: rows.collect(),
        base: Some(0),
        plot: Plot::Bars,
    }])
}

/// Names and nanoseconds of Go's benchmark format.
pub(crate) fn parse(out: &str) -> impl Iterator<Item = (String, f64)> {
    out.lines().filter_map(|line| {
        let mut words = line.strip_prefix("Benchmark")?.split_whitespace();
        let name = words.next()?.to_owned();
        let words: Vec<&str> = words.collect();
        let at = words.iter().position(|word| *word == "ns/op")?;
        Some((name, words.get(at.checked_sub(1)?)?.parse().ok()?))
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
