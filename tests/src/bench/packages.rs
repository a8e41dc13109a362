//! What the ready-made packages cost while nobody traces: their own benchmarks, wrapped and direct by turns.

use super::results::{Column, Plot, Row, Table};
use super::tool::{self, TARGET, pinned, with_path};
use crate::{output, root};
use std::collections::BTreeMap;
use std::process::Command;

const ROUNDS: usize = 25;

/// Module, package, benchmark, what it is, how many calls an iteration makes, and what it is compared with.
const ROWS: [(&str, &str, &str, &str, f64, &str); 11] = [
    ("go-stubs", "usdthttp", "Handler", "`usdthttp.Handler`, a request", 1.0, "direct"),
    (
        "go-stubs",
        "usdthttp",
        "Handler",
        "`usdthttp.Handler`, instead of a handler that only passes on",
        1.0,
        "between",
    ),
    ("go-stubs", "usdthttp", "Transport", "`usdthttp.Transport`, a request", 1.0, "direct"),
    (
        "go-stubs",
        "usdthttp",
        "Transport",
        "`usdthttp.Transport`, instead of a transport that only passes on",
        1.0,
        "between",
    ),
    ("go-stubs", "usdtsql", "Exec", "`usdtsql`, a statement", 1.0, "direct"),
    ("go-stubs", "usdtslog", "Enabled", "`usdtslog`, a record below the level", 1.0, "direct"),
    ("go-stubs", "usdtslog", "Handle", "`usdtslog`, a record (of 288 bytes, copied)", 1.0, "direct"),
    (
        "go-stubs",
        "usdtslog",
        "Handle",
        "`usdtslog`, a record, instead of a handler that only passes it on",
        1.0,
        "between",
    ),
    ("go-stubs", "usdttrace", "Region", "`usdttrace`, a beginning or end of a region", 2.0, "direct"),
    ("go-stubs/usdtotel", ".", "OnStartAndEnd", "`usdtotel`, a start or end of a span", 2.0, "direct"),
    ("go-stubs/usdtgrpc", ".", "UnaryServer", "`usdtgrpc`, a call", 1.0, "direct"),
];

pub(super) fn run() -> Result<Vec<Table>, String> {
    let mut programs = BTreeMap::new();
    for (module, package, ..) in ROWS {
        let name = format!("packages-{}.test", format!("{module}{package}").replace(['/', '.'], "-"));
        let program = tool::folder().join(name);
        let mut build = Command::new("go");
        let package_path = if package == "." { ".".to_owned() } else { format!("./{package}") };
        build.args(["test", "-c", "-o"]).arg(&program).arg(package_path).current_dir(root().join(module));
        output(with_path(&mut build))?;
        programs.insert((module, package), program);
    }
    let mut rows: Vec<Row> = ROWS
        .iter()
        .map(|row| Row {
            name: row.3.to_owned(),
            size: None,
            samples: vec![Vec::new(), Vec::new(), Vec::new()],
        })
        .collect();
    for round in 0..=ROUNDS {
        for ((module, package, benchmark, _, calls, base), row) in ROWS.iter().zip(&mut rows) {
            let program = programs.get(&(*module, *package)).ok_or("a program is missing")?;
            let mut command = pinned(TARGET, program);
            command.arg("-test.run=^$").arg(format!("-test.bench=^Benchmark{benchmark}$"));
            command.args(["-test.benchtime=40ms", "-test.cpu=1"]);
            let said = output(&mut command)?;
            let (direct, wrapped) = (took(&said, base)? / calls, took(&said, "wrapped")? / calls);
            if round > 0 {
                let values = [direct, wrapped, wrapped - direct];
                row.samples.iter_mut().zip(values).for_each(|(samples, value)| samples.push(value));
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
        line.split(['/', ' ', '\t']).any(|part| part == name || part.strip_suffix("-1") == Some(name))
    });
    let ns = line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok());
    ns.ok_or_else(|| format!("no `{name}` in {said}"))
}
