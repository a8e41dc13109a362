//! Offsets of fields in structs of the runtime and the standard library.
//!
//! The source is `fields.toml`: for each field the first minor release and the offset from there on, on 64-bit ports.

use super::tables;
use super::types::{ArgLocation, Field};
use std::collections::BTreeSet;

const fn goroutine_field(name: &'static str) -> Field {
    Field { structure: "runtime.g", name }
}

/// What a goroutine does: a state of the scheduler, with flags.
pub(crate) const GOROUTINE_STATUS: Field = goroutine_field("atomicstatus");
/// The code of what a goroutine waits for.
pub(crate) const GOROUTINE_WAIT_REASON: Field = goroutine_field("waitreason");
/// The return address of the go statement.
pub(crate) const GOROUTINE_CALLER: Field = goroutine_field("gopc");
/// The entry of the function that a goroutine runs.
pub(crate) const GOROUTINE_FUNCTION: Field = goroutine_field("startpc");
/// Bytes allocated since the program began.
pub(crate) const ALLOCATED_BYTES: Field =
    Field { structure: "runtime.gcControllerState", name: "totalAlloc" };

static RUNTIME_STATE: [Field; 5] = [
    GOROUTINE_STATUS,
    GOROUTINE_WAIT_REASON,
    GOROUTINE_CALLER,
    GOROUTINE_FUNCTION,
    ALLOCATED_BYTES,
];

/// The offset in a minor release that was measured; `None` if that release has no such field.
pub(crate) fn field_offset(field: &Field, minor: u32) -> Option<u32> {
    let offsets = tables::FIELD_OFFSETS.iter().find(|offsets| offsets.field == *field)?;
    offsets.since.iter().rev().find(|(from, _)| *from <= minor).and_then(|(_, offset)| *offset)
}

/// Every field that the catalogue names, and those that [`GoBinary::state`](crate::GoBinary::state) reads.
pub fn all_fields() -> BTreeSet<&'static Field> {
    let entries = tables::PROVIDERS.iter().flat_map(|p| p.probes).flat_map(|p| p.entries);
    let paths = entries.flat_map(|e| e.args).filter_map(|(_, location)| match location {
        ArgLocation::FieldPath { path, .. } => Some(*path),
        _ => None,
    });
    paths.flatten().copied().flatten().chain(&RUNTIME_STATE).collect()
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
            (field_offset(&path, 20), field_offset(&path, 21), field_offset(&path, 27)),
            (None, Some(56), Some(56))
        );
        let moved = Field { structure: "net/http.http2responseWriter", name: "rws" };
        assert_eq!((field_offset(&moved, 26), field_offset(&moved, 27)), (Some(0), None));
    }
}
