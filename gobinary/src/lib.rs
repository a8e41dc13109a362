//! Facts about Go executables, read from the file alone.
//!
//! * [`GoBinary`]: the Go release, struct offsets and enum labels, from tables or DWARF.
//! * [`pclntab`]: functions and lines, from the table that stripped files have, too.
//! * [`dwarf`]: signatures of functions, and types, from DWARF.
//! * [`signature`], [`go_type`]: what a signature is, and where parameters and results are.
//! * [`value_path`]: paths from a parameter to a value, such as `r.URL.Path`.
//! * [`dynamic_type`]: names of the types in interfaces.
//! * [`inlined_calls`]: calls that the compiler inlined.
//! * [`function_entry`]: function entries that can stand in for probes.
//! * [`function_search`]: functions by name, and the instructions at which a call begins and ends.
//! * [`symbol_pattern`]: patterns of function names.
//! * [`runtime_layout`]: where the runtime keeps its goroutines and its heap counters.
//! * [`catalog`]: the probes of Go's runtime and standard library.
//! * [`supported_releases`]: the Go releases that the tables cover.
//!
//! Binaries are hostile input: every read is checked, every scan has a limit, and a fact that cannot
//! be read is `None`.
//! This crate knows neither notes nor tracers.

mod binary;
mod buildinfo;
pub mod catalog;
mod code;
mod code_exits;
pub mod dwarf;
pub mod dynamic_type;
pub mod function_entry;
pub mod function_search;
pub mod go_time;
pub mod go_type;
mod goid;
pub mod inlined_calls;
mod name_scan;
pub mod pclntab;
pub mod refused;
mod register_abi;
pub mod runtime_layout;
#[cfg(test)]
mod sample;
pub mod signature;
pub mod supported_releases;
pub mod symbol_pattern;
mod table_layout;
pub mod value_path;

pub use binary::GoBinary;
pub use goid::{G_REGISTER_AMD64, G_REGISTER_ARM64};
pub use register_abi::integer_registers;
