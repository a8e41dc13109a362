//! Benchmarks: the overhead of disabled and enabled probes, attaching, generating, sealing, and
//! services under load. Results are kept in `docs/benchmarks.json`; the tables and plots of
//! `docs/benchmarks.md` are generated from them.
//!
//! `usdt-bench [PART...]` measures the named parts, or all of them. `usdt-bench --quick [PART...]` runs
//! each benchmark once, on a machine that may be busy, and prints the figures without recording them:
//! it shows that all of them run. `usdt-bench --render`
//! regenerates the page and the plots from the recorded results without measuring.
//! `usdt-bench --against OLD NEW [PART...]` compares two builds and exits with status 1 if the new one
//! is slower.

mod against;
mod format;
mod harness;
mod machine;
mod median;
mod parts;
mod plot;
mod report;
mod results;
mod rounds;
mod summary;

use parts::PARTS;
use results::{Column, Section};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match &args[..] {
        [flag] if flag == "--render" => report::render_recorded().map(|()| true),
        [flag, builds @ ..] if flag == "--against" => against::run(builds),
        parts => {
            let (flags, parts): (Vec<&String>, Vec<&String>) =
                parts.iter().partition(|word| *word == "--quick");
            let is_quick = !flags.is_empty();
            if is_quick {
                rounds::be_quick();
            }
            run(&parts, is_quick).map(|()| true)
        }
    };
    match result {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(problem) => {
            eprintln!("{problem}");
            std::process::exit(2);
        }
    }
}

/// Measures parts. Each is recorded as soon as it is measured, so that a later failure loses
/// nothing. Figures of a quick run are printed only.
fn run(wanted: &[&String], is_quick: bool) -> Result<(), String> {
    if let Some(unknown) = wanted.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        let known = PARTS.map(|part| part.name).join(", ");
        return Err(format!("no part {unknown:?}; the parts are {known}"));
    }
    std::fs::create_dir_all(harness::folder()).map_err(|e| e.to_string())?;
    let machine = machine::description();
    for part in PARTS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| *wanted == part.name) {
            continue;
        }
        eprintln!("{}", part.name);
        if part.needs_quiet && !is_quick {
            machine::require_quiet()?;
        }
        let tables = (part.run)()?;
        if is_quick {
            tables.iter().for_each(print);
            continue;
        }
        report::record(Section { name: part.name.to_owned(), machine: machine.clone(), tables })?;
    }
    Ok(())
}

/// Prints the medians of a table.
fn print(table: &results::Table) {
    println!("{}", table.title);
    for (index, row) in table.rows.iter().enumerate() {
        let cells: Vec<String> = (table.columns.iter().enumerate())
            .map(|(column, Column { name, unit })| {
                let median = table.cell(index, column).map_or(f64::NAN, |cell| cell.median);
                format!("{name} {median:.3} {unit}")
            })
            .collect();
        println!("  {}: {}", row.name, cells.join(", "));
    }
}
