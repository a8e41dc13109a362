//! Sealing: turns the probe blobs of a linked binary into the sections that tracers read.
//!
//! * `.probes` is carved out of the data section that holds the blobs.
//! * `.stapsdt.base` is a spare byte in a segment with the address-offset delta of `.text`.
//! * `.note.stapsdt` and the schema notes are appended to the file.
//!
//! Sealing moves nothing that is loaded. Its result depends only on the input bytes and the
//! options, and sealing the result again changes nothing.
//!
//! Tracers differ in what they require. `docs/formats.md` has the rules, and each rule has a test.

mod elf_header;
mod error;
mod function_entries;
mod function_notes;
mod inputs;
mod note_sections;
mod patch_set;
mod placement;
mod probe;
#[cfg(any(test, fuzzing))]
pub mod sample_elf;
mod seal_bytes;
mod seal_file;
mod section_table;

pub use error::SealError;
pub use inputs::Options;
pub use patch_set::PatchSet;
pub use seal_bytes::{Sealed, seal};
pub use seal_file::{FileError, SealReport, is_elf, seal_file};

#[cfg(test)]
mod tests;
