//! The overhead of the ready-made packages while they are disabled: their own benchmarks, wrapped
//! and direct in turn.

use crate::harness::{self, TARGET_CPU, pinned, with_path};
use crate::results::{Column, Plot, Row, Table};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use usdt_e2e::{output, root};

/// Builds of each package.
const LAYOUTS: usize = 9;
/// Runs of each build.
const RUNS: usize = 25;
/// The last part of the name of a benchmark with the package.
const WRAPPED: &str = "wrapped";

/// A benchmark of a package.
struct GoBenchmark {
    module: &'static str,
    package: &'static str,
    name: &'static str,
    /// Wrapped calls per iteration.
    calls: f64,
    /// Names of the benchmarks that the wrapped one is compared with, and their labels.
    rows: &'static [(&'static str, &'static str)],
}

/// Returns a benchmark of a package in the module `go-stubs`.
const fn core(
    package: &'static str,
    name: &'static str,
    calls: f64,
    rows: &'static [(&'static str, &'static str)],
) -> GoBenchmark {
    GoBenchmark { module: "go-stubs", package, name, calls, rows }
}

/// Returns a benchmark of a package for a library, compared with a wrapper of the same kind that does
/// nothing.
const fn library(
    package: &'static str,
    name: &'static str,
    calls: f64,
    row: &'static [(&'static str, &'static str); 1],
) -> GoBenchmark {
    GoBenchmark { module: "go-stubs/libraries", package, name, calls, rows: row }
}

const BENCHMARKS: [GoBenchmark; 28] = [
    core(
        "usdthttp",
        "Handler",
        1.0,
        &[
            ("direct", "`usdthttp.Handler`, per request"),
            ("between", "`usdthttp.Handler`, compared with a pass-through handler"),
        ],
    ),
    core(
        "usdthttp",
        "Transport",
        1.0,
        &[
            ("direct", "`usdthttp.Transport`, per request"),
            ("between", "`usdthttp.Transport`, compared with a pass-through transport"),
        ],
    ),
    core(
        "usdtsql",
        "Exec",
        1.0,
        &[
            ("direct", "`usdtsql`, per statement"),
            ("between", "`usdtsql`, compared with a pass-through connection"),
        ],
    ),
    core(
        "usdtslog",
        "Enabled",
        1.0,
        &[
            ("direct", "`usdtslog`, per record below the level"),
            (
                "between",
                "`usdtslog`, per record below the level, compared with a pass-through handler",
            ),
        ],
    ),
    core(
        "usdtslog",
        "Handle",
        1.0,
        &[
            ("direct", "`usdtslog`, per record: `Enabled` and `Handle`"),
            ("between", "`usdtslog`, per record, compared with a pass-through handler"),
        ],
    ),
    core("usdttrace", "Region", 2.0, &[("direct", "`usdttrace`, per start or end of a region")]),
    GoBenchmark {
        module: "go-stubs/usdtotel",
        package: ".",
        name: "OnStartAndEnd",
        calls: 2.0,
        rows: &[("direct", "`usdtotel`, per start or end of a span")],
    },
    GoBenchmark {
        module: "go-stubs/usdtgrpc",
        package: ".",
        name: "UnaryServer",
        calls: 1.0,
        rows: &[("direct", "`usdtgrpc`, per call")],
    },
    library(
        "usdtredis",
        "Command",
        1.0,
        &[("between", "`usdtredis`, per command, compared with a pass-through")],
    ),
    library(
        "usdtredis",
        "Pipeline",
        1.0,
        &[("between", "`usdtredis`, per pipeline, compared with a pass-through")],
    ),
    library(
        "usdtpgx",
        "Query",
        2.0,
        &[("between", "`usdtpgx`, per start or end of a statement, compared with a pass-through")],
    ),
    library(
        "usdtpgx",
        "Prepare",
        2.0,
        &[(
            "between",
            "`usdtpgx`, per start or end of preparing a statement, compared with a pass-through",
        )],
    ),
    library(
        "usdtpgx",
        "Batch",
        3.0,
        &[("between", "`usdtpgx`, per call for a batch, compared with a pass-through")],
    ),
    library(
        "usdtmongo",
        "Command",
        2.0,
        &[("between", "`usdtmongo`, per start or end of a command, compared with a pass-through")],
    ),
    library(
        "usdtmongov1",
        "Command",
        2.0,
        &[(
            "between",
            "`usdtmongov1`, per start or end of a command, compared with a pass-through",
        )],
    ),
    library(
        "usdtkafka",
        "Produce",
        2.0,
        &[(
            "between",
            "`usdtkafka`, per start or end of producing a record, compared with a pass-through",
        )],
    ),
    library(
        "usdtkafka",
        "Fetch",
        1.0,
        &[("between", "`usdtkafka`, per fetched record, compared with a pass-through")],
    ),
    library(
        "usdtkafka",
        "Request",
        1.0,
        &[("between", "`usdtkafka`, per request, compared with a pass-through")],
    ),
    library(
        "usdtnats",
        "Handler",
        1.0,
        &[("between", "`usdtnats`, per handled message, compared with a pass-through")],
    ),
    library(
        "usdtnats",
        "Publish",
        1.0,
        &[("between", "`usdtnats`, per published message, compared with a pass-through")],
    ),
    library(
        "usdtnats",
        "Request",
        1.0,
        &[("between", "`usdtnats`, per request, compared with a pass-through")],
    ),
    library(
        "usdtaws",
        "Call",
        1.0,
        &[("between", "`usdtaws`, per call, compared with a pass-through")],
    ),
    library(
        "usdtrpc",
        "Server",
        2.0,
        &[(
            "between",
            "`usdtrpc`, per start or end of a call, server, compared with a pass-through",
        )],
    ),
    library(
        "usdtrpc",
        "Client",
        2.0,
        &[(
            "between",
            "`usdtrpc`, per start or end of a call, client, compared with a pass-through",
        )],
    ),
    library(
        "usdtgin",
        "Request",
        1.0,
        &[("between", "`usdtgin`, per request, compared with a pass-through")],
    ),
    library(
        "usdtecho",
        "Request",
        1.0,
        &[("between", "`usdtecho`, per request, compared with a pass-through")],
    ),
    library(
        "usdtchi",
        "Request",
        1.0,
        &[("between", "`usdtchi`, per request, compared with a pass-through")],
    ),
    library(
        "usdtfiber",
        "Request",
        1.0,
        &[("between", "`usdtfiber`, per request, compared with a pass-through")],
    ),
];

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let mut packages: Vec<(&str, &str)> =
        BENCHMARKS.iter().map(|benchmark| (benchmark.module, benchmark.package)).collect();
    packages.dedup();
    let mut times: BTreeMap<(usize, &str), Vec<Measured>> = BTreeMap::new();
    for layout in 1..=LAYOUTS {
        let programs: Vec<PathBuf> = packages
            .iter()
            .map(|(module, package)| build(module, package, layout))
            .collect::<Result<_, _>>()?;
        let mut results = vec![String::new(); packages.len()];
        for _ in 0..RUNS {
            for (program, results) in programs.iter().zip(&mut results) {
                let mut command = pinned(TARGET_CPU, program);
                command.args(["-test.run=^$", "-test.bench=.", "-test.benchtime=1ms"]);
                results.push_str(&output(command.args(["-test.cpu=1", "-test.benchmem"]))?);
            }
        }
        for (index, benchmark) in BENCHMARKS.iter().enumerate() {
            let package = packages.iter().position(|p| *p == (benchmark.module, benchmark.package));
            let results = package.and_then(|package| results.get(package)).ok_or("no results")?;
            let names = benchmark.rows.iter().map(|(base, _)| *base).chain([WRAPPED]);
            for name in names {
                let measured = shortest(results, benchmark.name, name)?;
                times.entry((index, name)).or_default().push(measured);
            }
        }
        eprint!("\r{layout}/{LAYOUTS} layouts");
    }
    eprintln!();
    let rows = BENCHMARKS.iter().enumerate().flat_map(|(index, benchmark)| {
        let times = &times;
        benchmark.rows.iter().map(move |(base, label)| {
            let of = |name| times.get(&(index, name)).map(Vec::as_slice).unwrap_or_default();
            row(label, of(base), of(WRAPPED), benchmark.calls)
        })
    });
    Ok(vec![Table {
        title: "Ready-made packages, disabled".to_owned(),
        how: format!(
            "The packages' own benchmarks. The wrapped code does next to nothing, so the figures are \
             those of the bare call. Where the linker places a function changes them by up to a \
             nanosecond, so {LAYOUTS} builds have their functions in different order \
             (`-ldflags=-randlayout`). Each counts with the shortest of {RUNS} runs of 1 ms, which \
             alternate."
        ),
        columns: vec![
            Column::new("without", "ns"),
            Column::new("with", "ns"),
            Column::new("added", "ns"),
            Column::new("added", "allocations"),
        ],
        rows: rows.collect(),
        base: None,
        plot: Plot::None,
    }])
}

/// The time and the allocations of an iteration.
#[derive(Clone, Copy)]
struct Measured {
    ns: f64,
    allocations: f64,
}

fn row(label: &str, without: &[Measured], with: &[Measured], calls: f64) -> Row {
    let ns = |measured: &[Measured]| measured.iter().map(|m| m.ns / calls).collect::<Vec<_>>();
    let added = |of: fn(&Measured) -> f64| {
        with.iter().zip(without).map(|(with, without)| (of(with) - of(without)) / calls).collect()
    };
    let samples = vec![ns(without), ns(with), added(|m| m.ns), added(|m| m.allocations)];
    Row { name: label.to_owned(), size: None, samples }
}

/// Builds the benchmarks of a package, with its functions in an order that follows from a number.
fn build(module: &str, package: &str, layout: usize) -> Result<PathBuf, String> {
    let name = format!("packages-{}.test", format!("{module}{package}").replace(['/', '.'], "-"));
    let program = harness::folder().join(name);
    let mut build = Command::new("go");
    build.args(["test", "-c", &format!("-ldflags=-randlayout={layout}"), "-o"]).arg(&program);
    let package = if package == "." { ".".to_owned() } else { format!("./{package}") };
    output(with_path(build.arg(package).current_dir(root().join(module))))?;
    Ok(program)
}

/// Returns the shortest run of a benchmark, given its name and the last part of it.
fn shortest(results: &str, benchmark: &str, name: &str) -> Result<Measured, String> {
    let full = format!("Benchmark{benchmark}/{name}");
    let runs = results.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let first = words.first()?;
        if *first != full && first.strip_suffix("-1") != Some(&full) {
            return None;
        }
        let before = |unit: &str| {
            let unit = words.iter().position(|word| *word == unit)?;
            words.get(unit.checked_sub(1)?)?.parse().ok()
        };
        Some(Measured { ns: before("ns/op")?, allocations: before("allocs/op")? })
    });
    runs.min_by(|a, b| a.ns.total_cmp(&b.ns)).ok_or_else(|| format!("no benchmark `{full}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_shortest_run_of_a_benchmark() {
        let results = "BenchmarkQuery/between \t 100 \t 3.5 ns/op\t 0 B/op\t 1 allocs/op\n\
                       BenchmarkQuery/between \t 100 \t 2.5 ns/op\t 0 B/op\t 0 allocs/op\n\
                       BenchmarkPrepare/between \t 100 \t 1.5 ns/op\t 0 B/op\t 0 allocs/op\n";
        let measured = shortest(results, "Query", "between").unwrap();
        assert_eq!((measured.ns, measured.allocations), (2.5, 0.0));
        assert_eq!(
            shortest(results, "Query", "wrapped").err().unwrap(),
            "no benchmark `BenchmarkQuery/wrapped`"
        );
    }

    #[test]
    fn differences_are_those_of_the_same_layout() {
        let measured = |ns| Measured { ns, allocations: 1.0 };
        let row = row("x", &[measured(2.0), measured(4.0)], &[measured(3.0), measured(8.0)], 2.0);
        assert_eq!(row.samples, [vec![1.0, 2.0], vec![1.5, 4.0], vec![0.5, 2.0], vec![0.0, 0.0]]);
    }
}
