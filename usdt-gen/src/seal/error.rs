//! Why a file cannot be sealed.

use stapsdt::blob::BlobError;
use stapsdt::elf::ElfError;
use stapsdt::note::NoteError;

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

/// A header or table that contradicts the file it is in.
pub(super) const DAMAGED: SealError = SealError::Layout("the section header table is damaged");
