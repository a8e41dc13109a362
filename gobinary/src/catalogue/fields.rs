//! Offsets of fields in structs of the runtime and the standard library.
//!
//! The source is `fields.toml`: for each field the first minor release and the offset from there on, on 64-bit ports.

use super::{ArgLocation, Field, providers, tables};
use std::collections::BTreeSet;

/// Offsets of a field by release.
#[derive(Debug)]
pub(super) struct FieldOffsets {
    pub(super) field: Field,
    /// The first minor release, and the offset from there on; `None` if the field is gone.
    pub(super) since: &'static [(u32, Option<u32>)],
}

/// The offset in a minor release that was measured; `None` if that release has no such field.
pub(crate) fn offset(field: &Field, minor: u32) -> Option<u32> {
    let offsets = tables::FIELD_OFFSETS.iter().find(|offsets| offsets.field == *field)?;
    offsets.since.iter().rev().find(|(from, _)| *from <= minor).and_then(|(_, offset)| *offset)
}

/// Every field that the catalogue names, and those that [`crate::state`] reads.
pub fn all() -> BTreeSet<&'static Field> {
    let entries = providers().iter().flat_map(|p| p.probes).flat_map(|p| p.entries);
    let paths = entries.flat_map(|e| e.args).filter_map(|(_, location)| match location {
        ArgLocation::FieldPath { path, .. } => Some(*path),
        _ => None,
    });
    paths.flatten().copied().flatten().chain(crate::state::fields()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_offsets_of_exactly_the_fields_in_use() {
        let known: BTreeSet<&Field> = tables::FIELD_OFFSETS.iter().map(|offsets| &offsets.field).collect();
        assert_eq!(known, all());
    }

    #[test]
    fn offset_follows_the_release() {
        let path = Field { structure: "net/url.URL", name: "Path" };
        assert_eq!((offset(&path, 20), offset(&path, 21), offset(&path, 27)), (None, Some(56), Some(56)));
        let moved = Field { structure: "net/http.http2responseWriter", name: "rws" };
        assert_eq!((offset(&moved, 26), offset(&moved, 27)), (Some(0), None));
    }
}
