//! Errors of sealing.

use stapsdt::blob::BlobError;
use stapsdt::elf::ElfError;
use stapsdt::note::NoteError;

/// The reason why a file cannot be sealed. The file is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The file is not an ELF file, or it is damaged.
    #[error("{0}")]
    Elf(#[from] ElfError),
    /// The file's architecture or type is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// The file has a blob that cannot be read.
    #[error("{0}")]
    Blob(#[from] BlobError),
    /// A note in the file cannot be read, or a new note cannot be encoded.
    #[error("{0}")]
    Note(#[from] NoteError),
    /// The addresses in a blob contradict the file's segments.
    #[error("probe {probe}: {problem}; was the binary changed after linking?")]
    Inconsistent {
        /// `provider:name` of the probe.
        probe: String,
        /// The contradiction, as a clause.
        problem: &'static str,
    },
    /// The file has no room for the new sections, or its headers are damaged.
    #[error("cannot add sections: {0}")]
    Layout(&'static str),
    /// The functions that are asked for cannot be described.
    #[error("cannot describe functions: {0}")]
    Functions(String),
    /// A tracer would not find a probe in the sealed file.
    #[error("{consumer} would reject the sealed probe {probe}: {reason}")]
    Rejected {
        /// The tracer.
        consumer: &'static str,
        /// `provider:name` of the probe.
        probe: String,
        /// The tracer's reason.
        reason: String,
    },
}

/// The error for a header or a table that contradicts the file.
pub(super) const DAMAGED: SealError =
    SealError::Layout("the section header table is damaged; is the file complete?");
