//! Sealing: the probe blobs of a linked binary become the sections every tracer looks for.
//!
//! `.probes` is carved out of the data section that holds the blobs, `.stapsdt.base` is a byte of a segment that
//! text's address-offset delta holds for, `.note.stapsdt` and the schema notes are appended. Nothing that is
//! loaded moves. The result depends on the input bytes and the options alone, and sealing it again changes
//! nothing.
//!
//! Consumers differ in what they need; the rules are in `docs/formats.md` and each has a test.

mod elf_header;
mod error;
mod function_entries;
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
pub use seal_bytes::{Sealed, check, seal};
pub use seal_file::{FileError, Report, is_elf, seal_file};

#[cfg(test)]
mod tests;
