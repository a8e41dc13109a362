//! The parts of the benchmarks: each has a name on the command line and measures one or more
//! tables.

mod agent;
pub(crate) mod attacher;
mod functions;
pub(crate) mod generator;
pub(crate) mod off;
pub(crate) mod on;
mod overlay;
mod packages;
mod rings;
mod service;

use crate::results::Table;

/// A part of the benchmarks.
pub(crate) struct Part {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Measures its tables.
    pub(crate) run: fn() -> Result<Vec<Table>, String>,
    /// False if its figures are the shortest of many short runs, which noise does not change.
    pub(crate) needs_quiet: bool,
}

const fn part(name: &'static str, run: fn() -> Result<Vec<Table>, String>) -> Part {
    Part { name, run, needs_quiet: true }
}

/// All parts.
pub(crate) const PARTS: [Part; 12] = [
    part("off", off::run),
    part("on", on::run),
    part("attacher", attacher::run),
    part("generator", generator::run),
    part("overlay", overlay::run),
    part("service", service::run),
    part("caddy", service::caddy),
    part("inject", service::injected::run),
    Part { needs_quiet: false, ..part("packages", packages::run) },
    part("functions", functions::run),
    part("agent", agent::run),
    Part { needs_quiet: false, ..part("rings", rings::run) },
];
