//! Measurements: what probes cost off and on, what attaching, generating and sealing take, what a service pays. Results
//! are kept in `docs/benchmarks.json`; tables and drawings are made from them.

mod agent;
mod attacher;
mod generator;
mod machine;
mod off;
mod on;
mod overlay;
mod packages;
mod plot;
mod report;
mod results;
mod sample;
mod service;
mod tool;
mod turns;

use results::{Section, Table};

type Part = fn() -> Result<Vec<Table>, String>;

/// By the names that the command knows.
const PARTS: [(&str, Part); 9] = [
    ("off", off::run),
    ("on", on::run),
    ("attacher", attacher::run),
    ("generator", generator::run),
    ("overlay", overlay::run),
    ("service", service::run),
    ("caddy", service::caddy),
    ("packages", packages::run),
    ("agent", agent::run),
];

/// All of it, or the parts that are named. What was measured in front of a failure is kept.
pub fn run(wanted: &[String]) -> Result<(), String> {
    if let Some(unknown) = wanted.iter().find(|part| PARTS.iter().all(|(name, _)| name != part)) {
        return Err(format!("there is no part {unknown:?}, but {}", PARTS.map(|(name, _)| name).join(", ")));
    }
    std::fs::create_dir_all(tool::folder()).map_err(|e| e.to_string())?;
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
