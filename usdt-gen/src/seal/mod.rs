//! Sealing: the probe blobs of a linked binary become the sections every tracer looks for.
//!
//! `.probes` is carved out of the data section that holds the blobs, `.stapsdt.base` is a byte of a segment that
//! text's address-offset delta holds for, `.note.stapsdt` and the schema notes are appended. Nothing that is
//! loaded moves. The result depends on the input bytes and the options alone, and sealing it again changes
//! nothing.
//!
//! Consumers differ in what they need; the rules are in `docs/formats.md` and each has a test.

mod file;
mod function_entries;
mod inputs;
mod patch_set;
mod placement;
#[cfg(any(test, fuzzing))]
pub mod sample_elf;
mod section_table;

pub use file::{FileError, Report, is_elf, seal_file};
pub use patch_set::Edit;

use crate::verify::{self, Verdict};
use object::LittleEndian;
use object::elf::FileHeader64;
use stapsdt::blob::BlobError;
use stapsdt::elf::{ElfError, View};
use stapsdt::note::{Note, NoteError};
use std::collections::HashSet;

type Le = LittleEndian;
const LE: Le = LittleEndian;
type Header = FileHeader64<Le>;

/// What to add while sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Append the goroutine id as a trailing argument where its place is known.
    pub goid: bool,
    /// Repair the notes of other toolchains, too.
    pub fix: bool,
    /// Describe function entries of Go's runtime and standard library, where the binary has no probes of them.
    pub entries: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { goid: true, fix: false, entries: false }
    }
}

/// What sealing did.
#[derive(Debug)]
pub struct Sealed {
    /// What to change; `None` where the file is as it should be.
    pub edit: Option<Edit>,
    /// The probes of the file's blobs and, where they were asked for, of function entries, as their notes describe
    /// them.
    pub probes: Vec<Note>,
    /// Notes of others, kept or repaired.
    pub foreign: Vec<Note>,
    /// Offset of the goroutine id in `runtime.g`, where it was appended.
    pub goid_offset: Option<u32>,
}

/// Why a file cannot be sealed. The file is untouched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not an ELF file, or a damaged one.
    #[error("{0}")]
    Elf(#[from] ElfError),
    /// An ELF file of a kind that Go's stubs do not exist for.
    #[error("{0}")]
    Unsupported(String),
    /// A blob that is its own but unreadable.
    #[error("{0}")]
    Blob(#[from] BlobError),
    /// A note that cannot be written or, in the input, read.
    #[error("{0}")]
    Note(#[from] NoteError),
    /// A blob's addresses contradict the file's segments.
    #[error("probe {probe}: {problem}; was the binary changed after linking?")]
    Inconsistent {
        /// `provider:name`.
        probe: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The file's structure leaves no room or is damaged.
    #[error("cannot add sections: {0}")]
    Layout(&'static str),
    /// A consumer would not find a probe in the result.
    #[error("{consumer} would reject the sealed probe {probe}: {reason}")]
    Rejected {
        /// The consumer.
        consumer: &'static str,
        /// `provider:name`.
        probe: String,
        /// Why.
        reason: String,
    },
}

const DAMAGED: SealError = SealError::Layout("the section header table is damaged");

/// Plans the sealing of a linked binary.
pub fn seal(data: &[u8], options: Options) -> Result<Sealed, SealError> {
    let view = View::parse(data)?;
    let Some(found) = inputs::collect(&view, options)? else {
        return Ok(Sealed { edit: None, probes: Vec::new(), foreign: Vec::new(), goid_offset: None });
    };
    let plan = placement::plan(&view, &found)?;
    let edit = section_table::write(&view, &found, &plan)?;
    Ok(Sealed {
        edit,
        probes: found.probes.into_iter().map(|p| p.note).collect(),
        foreign: found.foreign,
        goid_offset: found.goid_offset,
    })
}

/// Whether every consumer finds the probes of `sealed` in the sealed bytes. What it cannot do with them for
/// reasons that are not the notes', as a missing build id, does not count.
pub fn check(sealed: &Sealed, bytes: &[u8]) -> Result<(), SealError> {
    let view = View::parse(bytes)?;
    // A search for each of many thousands would be what sealing spends its time on.
    let own: HashSet<(u64, &str)> = sealed.probes.iter().map(|n| (n.pc, n.name.as_str())).collect();
    for row in verify::verify(&view) {
        let own = own.contains(&(row.address, row.probe.as_str()));
        if let (true, Verdict::Rejected(trouble)) = (own, row.verdict) {
            let probe = format!("{}:{}", row.provider, row.probe);
            return Err(SealError::Rejected { consumer: row.consumer, probe, reason: trouble.reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
