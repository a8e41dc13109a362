//! What the ready-made packages cost while nobody traces: their own benchmarks, wrapped and direct by turns.

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
    /// Of what is wrapped, in an iteration.
    calls: f64,
    /// What the wrapped one is compared with, and what that tells.
    rows: &'static [(&'static str, &'static str)],
}

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
            ("direct", "`usdthttp.Handler`, a request"),
            ("between", "`usdthttp.Handler`, instead of a handler that only passes on"),
        ],
    ),
    core(
        "usdthttp",
        "Transport",
        1.0,
        &[
            ("direct", "`usdthttp.Transport`, a request"),
            ("between", "`usdthttp.Transport`, instead of a transport that only passes on"),
        ],
    ),
    core(
        "usdtsql",
        "Exec",
        1.0,
        &[
            ("direct", "`usdtsql`, a statement"),
            ("between", "`usdtsql`, instead of a connection that only passes on"),
        ],
    ),
    core(
        "usdtslog",
        "Enabled",
        1.0,
        &[
            ("direct", "`usdtslog`, a record below the level"),
            (
                "between",
                "`usdtslog`, a record below the level, instead of a handler that only passes it on",
            ),
        ],
    ),
    core(
        "usdtslog",
        "Handle",
        1.0,
        &[
            ("direct", "`usdtslog`, a record: `Enabled` and `Handle`"),
            ("between", "`usdtslog`, a record, instead of a handler that only passes it on"),
        ],
    ),
    core("usdttrace", "Region", 2.0, &[("direct", "`usdttrace`, a beginning or end of a region")]),
    GoBenchmark {
        module: "go-stubs/usdtotel",
        package: ".",
        name: "OnStartAndEnd",
        calls: 2.0,
        rows: &[("direct", "`usdtotel`, a start or end of a span")],
    },
    GoBenchmark {
        module: "go-stubs/usdtgrpc",
        package: ".",
        name: "UnaryServer",
        calls: 1.0,
        rows: &[("direct", "`usdtgrpc`, a call")],
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
        .map(|(_, what)| Row {
            name: (*what).to_owned(),
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
            let said = output(&mut command)?;
            let wrapped = took(&said, "wrapped")? / benchmark.calls;
            for ((base, _), row) in benchmark.rows.iter().zip(&mut next) {
                let without = took(&said, base)? / benchmark.calls;
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
        title: "Ready-made packages, nobody traces".to_owned(),
        how: "The packages' own benchmarks, 40 ms each: what is wrapped does next to nothing, so that a call is all there is. No \
              allocations are added, which their tests hold."
            .to_owned(),
        columns: vec![Column::new("without", "ns"), Column::new("with", "ns"), Column::new("added", "ns")],
        rows,
        base: None,
        plot: Plot::None,
    }])
}

/// Nanoseconds of a benchmark, by the last part of its name.
fn took(said: &str, name: &str) -> Result<f64, String> {
    let line = said.lines().find(|line| {
        line.split(['/', ' ', '\t'])
            .any(|part| part == name || part.strip_suffix("-1") == Some(name))
    });
    let ns = line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
    ns.ok_or_else(|| format!("no `{name}` in {said}"))
}
