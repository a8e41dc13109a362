//! The parts of the benchmarks: each has a name on the command line and measures one or more
//! tables.

mod agent;
mod attacher;
mod generator;
mod off;
mod on;
mod overlay;
mod packages;
mod service;

use crate::results::Table;

/// Measures the tables of a part.
pub(crate) type Part = fn() -> Result<Vec<Table>, String>;

/// All parts, by the names on the command line.
pub(crate) const PARTS: [(&str, Part); 9] = [
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
