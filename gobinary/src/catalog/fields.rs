//! Field offsets in structs of the runtime and the standard library, on 64-bit ports.
//!
//! The source is `fields.toml`. For each field it has pairs of a minor release and the offset since
//! then.

use super::tables;
use super::types::{ArgLocation, Field};
use std::collections::BTreeSet;

const fn goroutine_field(name: &'static str) -> Field {
    Field { structure: "runtime.g", name }
}

/// The status of a goroutine, with flags.
pub(crate) const GOROUTINE_STATUS: Field = goroutine_field("atomicstatus");
/// The code of the reason why a goroutine waits.
pub(crate) const GOROUTINE_WAIT_REASON: Field = goroutine_field("waitreason");
/// The return address of the `go` statement that created a goroutine.
pub(crate) const GOROUTINE_CALLER: Field = goroutine_field("gopc");
/// The entry address of a goroutine's function.
pub(crate) const GOROUTINE_FUNCTION: Field = goroutine_field("startpc");
/// The number of bytes allocated since the program started.
pub(crate) const ALLOCATED_BYTES: Field =
    Field { structure: "runtime.gcControllerState", name: "totalAlloc" };

/// The fields that [`GoBinary::runtime_layout`](crate::GoBinary::runtime_layout) uses.
static RUNTIME_LAYOUT_FIELDS: [Field; 5] = [
    GOROUTINE_STATUS,
    GOROUTINE_WAIT_REASON,
    GOROUTINE_CALLER,
    GOROUTINE_FUNCTION,
    ALLOCATED_BYTES,
];

/// Returns the offset of a field in bytes in a supported minor release; `None` if that release does
/// not have the field.
pub(crate) fn field_offset(field: &Field, minor: u32) -> Option<u32> {
    let offsets = tables::FIELD_OFFSETS.iter().find(|offsets| offsets.field == *field)?;
    offsets.since.iter().rev().find(|(from, _)| *from <= minor).and_then(|(_, offset)| *offset)
}

/// Returns the fields whose offsets are used: by function entries of the catalog, and by
/// [`GoBinary::runtime_layout`](crate::GoBinary::runtime_layout).
pub fn all_fields() -> BTreeSet<&'static Field> {
    let entries = tables::PROVIDERS.iter().flat_map(|p| p.probes).flat_map(|p| p.entries);
    let paths = entries.flat_map(|e| e.args).filter_map(|(_, location)| match location {
        ArgLocation::FieldPath { path, .. } => Some(*path),
        _ => None,
    });
    paths.flatten().copied().flatten().chain(&RUNTIME_LAYOUT_FIELDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_offsets_of_exactly_the_fields_in_use() {
        let known: BTreeSet<&Field> =
            tables::FIELD_OFFSETS.iter().map(|offsets| &offsets.field).collect();
        assert_eq!(known, all_fields());
    }

    #[test]
    fn offset_follows_the_release() {
        let path = Field { structure: "net/url.URL", name: "Path" };
        assert_eq!(
            (field_offset(&path, 16), field_offset(&path, 17), field_offset(&path, 27)),
            (None, Some(56), Some(56))
        );
        let moved = Field { structure: "net/http.http2responseWriter", name: "rws" };
        assert_eq!((field_offset(&moved, 26), field_offset(&moved, 27)), (Some(0), None));
    }
}
