//! A probe on its way into the note sections.

use stapsdt::note::Note;

/// A probe that gets a note.
pub(super) struct Probe {
    /// Without `base`, with the goroutine id.
    pub(super) note: Note,
    /// JSON of its schema note; empty where it has none.
    pub(super) schema: String,
    /// Where the blob is, which function entries have none of.
    pub(super) blob: Option<std::ops::Range<u64>>,
    /// What its stub has to add to the goroutine's address, where it is not there yet.
    pub(super) goid_offset: Option<u32>,
}
