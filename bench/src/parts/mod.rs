//! The parts of the benchmarks, each a command-line name and the tables that it measures.

mod agent;
mod attacher;
mod generator;
mod off;
mod on;
mod overlay;
mod packages;
mod service;

use crate::results::Table;

/// Measures a part's tables.
pub(crate) type Part = fn() -> Result<Vec<Table>, String>;

/// By the names that the command knows.
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
