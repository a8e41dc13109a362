//! Benchmarks: the overhead of disabled and enabled probes, attaching, generating, sealing, and
//! services under load. Results are kept in `docs/benchmarks.json`; the tables and plots of
//! `docs/benchmarks.md` are generated from them.
//!
//! `usdt-bench [PART...]` measures the named parts, or all of them. `usdt-bench --render`
//! regenerates the page and the plots from the recorded results without measuring.

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
use results::Section;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match &args[..] {
        [flag] if flag == "--render" => report::render_recorded(),
        parts => run(parts),
    };
    if let Err(problem) = result {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}

/// Measures parts. Each is recorded as soon as it is measured, so that a later failure loses
/// nothing.
fn run(wanted: &[String]) -> Result<(), String> {
    if let Some(unknown) = wanted.iter().find(|part| PARTS.iter().all(|(name, _)| name != part)) {
        let known = PARTS.map(|(name, _)| name).join(", ");
        return Err(format!("no part {unknown:?}; the parts are {known}"));
    }
    std::fs::create_dir_all(harness::folder()).map_err(|e| e.to_string())?;
    let machine = machine::description();
    for (name, part) in PARTS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("{name}");
        machine::require_quiet()?;
        let tables = part()?;
        report::record(Section { name: name.to_owned(), machine: machine.clone(), tables })?;
    }
    Ok(())
}
