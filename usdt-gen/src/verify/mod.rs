//! Checks which tracers accept the probes of a binary, and explains why the others do not.
//!
//! Each tracer reads the same notes in its own way. One module per tracer models how that tracer
//! finds a note, computes addresses and parses arguments, following its source code. The models
//! work for ELF files of any language.

mod bcc;
mod gdb;
mod inspected_file;
mod libbpf;
mod matrix;
mod perf;
mod systemtap;
#[cfg(test)]
mod tests;
mod verdict;

pub use matrix::verify;
pub use verdict::{ProbeVerdict, Problem, Verdict};
