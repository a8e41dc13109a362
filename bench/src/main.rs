//! Benchmarks: the overhead of probes off and on, attaching, generating, sealing, services under load.
//! Results are kept in `docs/benchmarks.json`; tables and plots of `docs/benchmarks.md` are drawn from them.
//!
//! `usdt-bench [PART...]` measures the named parts, all of them without any.

mod format;
mod harness;
mod machine;
mod median;
mod parts;
mod plot;
mod report;
mod results;
mod rounds;

use parts::PARTS;
use results::Section;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Err(problem) = run(&wanted) {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}

/// Each part is kept as soon as it is measured, so that a later failure loses nothing.
fn run(wanted: &[String]) -> Result<(), String> {
    if let Some(unknown) = wanted.iter().find(|part| PARTS.iter().all(|(name, _)| name != part)) {
        let known = PARTS.map(|(name, _)| name).join(", ");
        return Err(format!("there is no part {unknown:?}, but {known}"));
    }
    std::fs::create_dir_all(harness::folder()).map_err(|e| e.to_string())?;
    let machine = machine::traits();
    for (name, part) in PARTS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("{name}");
        machine::must_be_quiet()?;
        let tables = part()?;
        report::keep(Section { name: name.to_owned(), machine: machine.clone(), tables })?;
    }
    Ok(())
}
