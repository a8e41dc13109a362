//! The overhead of the ready-made packages while they are disabled: their own benchmarks, wrapped
//! and direct in turn.

use crate::harness::{self, TARGET_CPU, pinned, with_path};
use crate::results::{Column, Plot, Row, Table};
use std::collections::BTreeMap;
use std::process::Command;
use usdt_e2e::{output, root};

const ROUNDS: usize = 25;

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

const BENCHMARKS: [GoBenchmark; 8] = [
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
];

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let mut programs = BTreeMap::new();
    for GoBenchmark { module, package, .. } in BENCHMARKS {
        let name =
            format!("packages-{}.test", format!("{module}{package}").replace(['/', '.'], "-"));
        let program = harness::folder().join(name);
        let mut build = Command::new("go");
        let package_path = if package == "." { ".".to_owned() } else { format!("./{package}") };
        build
            .args(["test", "-c", "-o"])
            .arg(&program)
            .arg(package_path)
            .current_dir(root().join(module));
        output(with_path(&mut build))?;
        programs.insert((module, package), program);
    }
    let mut rows: Vec<Row> = BENCHMARKS
        .iter()
        .flat_map(|benchmark| benchmark.rows)
        .map(|(_, label)| Row {
            name: (*label).to_owned(),
            size: None,
            samples: vec![Vec::new(), Vec::new(), Vec::new()],
        })
        .collect();
    for round in 0..=ROUNDS {
        let mut next = rows.iter_mut();
        for benchmark in &BENCHMARKS {
            let program = programs
                .get(&(benchmark.module, benchmark.package))
                .ok_or("a program is missing")?;
            let mut command = pinned(TARGET_CPU, program);
            command.arg("-test.run=^$").arg(format!("-test.bench=^Benchmark{}$", benchmark.name));
            command.args(["-test.benchtime=40ms", "-test.cpu=1"]);
            let results = output(&mut command)?;
            let wrapped = ns_per_op(&results, "wrapped")? / benchmark.calls;
            for ((base, _), row) in benchmark.rows.iter().zip(&mut next) {
                let without = ns_per_op(&results, base)? / benchmark.calls;
                if round > 0 {
                    let values = [without, wrapped, wrapped - without];
                    row.samples
                        .iter_mut()
                        .zip(values)
                        .for_each(|(samples, value)| samples.push(value));
                }
            }
        }
        eprint!("\r{round}/{ROUNDS} rounds");
    }
    eprintln!();
    Ok(vec![Table {
        title: "Ready-made packages, disabled".to_owned(),
        how: "The packages' own benchmarks, 40 ms each. The wrapped code does next to nothing, so the \
              figures are those of the bare call. The packages add no allocations, which their tests \
              check."
            .to_owned(),
        columns: vec![Column::new("without", "ns"), Column::new("with", "ns"), Column::new("added", "ns")],
        rows,
        base: None,
        plot: Plot::None,
    }])
}

/// Returns the nanoseconds of a benchmark, given the last part of its name.
fn ns_per_op(results: &str, name: &str) -> Result<f64, String> {
    let line = results.lines().find(|line| {
        line.split(['/', ' ', '\t'])
            .any(|part| part == name || part.strip_suffix("-1") == Some(name))
    });
    let ns = line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
    ns.ok_or_else(|| format!("no benchmark `{name}` in {results}"))
}
