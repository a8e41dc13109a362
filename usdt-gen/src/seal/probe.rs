//! A probe of the file, with everything that sealing writes for it.

use stapsdt::note::Note;

/// A probe that gets a note.
pub(super) struct Probe {
    /// The note. It includes the goroutine id; `base` is set when the note is written.
    pub(super) note: Note,
    /// The JSON of its schema note; empty if it gets none.
    pub(super) schema: String,
    /// The address range of the blob; `None` for a function entry, which has no blob.
    pub(super) blob: Option<std::ops::Range<u64>>,
    /// The goroutine id's offset to write into the blob; `None` if the blob is already right.
    pub(super) goid_offset: Option<u32>,
}
