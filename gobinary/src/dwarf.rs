//! Field offsets from DWARF.

use gimli::{AttributeValue, EndianSlice, RunTimeEndian, Unit};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection};
use std::borrow::Cow;

type Reader<'a> = EndianSlice<'a, RunTimeEndian>;

/// The size limit in bytes of a debug section. No program of a Go release comes near it.
const MAX_SECTION_SIZE: u64 = 1 << 31;

/// Returns the offset in bytes of `goid` in `runtime.g`.
pub(crate) fn goid_offset(file: &ElfFile64<'_>) -> Option<u32> {
    member_offset(file, "runtime.g", "goid")
}

/// Returns the offset in bytes of a struct member. The struct's name includes its package path.
pub(crate) fn member_offset(file: &ElfFile64<'_>, structure: &str, member: &str) -> Option<u32> {
    /// The unit in which the linker describes the types of all packages
    /// (`cmd/link/internal/ld/dwarf.go`).
    const TYPE_UNIT: &str = "runtime";
    let load = |id: gimli::SectionId| -> Result<Cow<'_, [u8]>, gimli::Error> {
        let section = file.section_by_name(id.name()).filter(|s| s.size() <= MAX_SECTION_SIZE);
        Ok(section.and_then(|s| s.uncompressed_data().ok()).unwrap_or_default())
    };
    let sections = gimli::DwarfSections::load(load).ok()?;
    let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, RunTimeEndian::Little));
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        let Ok(unit) = dwarf.unit(header) else { continue };
        // A package has one unit for its Go files and one for each assembly file, all with one
        // name.
        if unit.name.is_some_and(|name| name.slice() == TYPE_UNIT.as_bytes())
            && let Some(offset) = member_offset_in_unit(&dwarf, &unit, structure, member)
        {
            return Some(offset);
        }
    }
    None
}

fn member_offset_in_unit<'a>(
    dwarf: &gimli::Dwarf<Reader<'a>>,
    unit: &Unit<Reader<'a>>,
    structure: &str,
    member: &str,
) -> Option<u32> {
    let has_name = |value: Option<AttributeValue<Reader<'a>>>, wanted: &str| {
        value
            .and_then(|v| dwarf.attr_string(unit, v).ok())
            .is_some_and(|name| name.slice() == wanted.as_bytes())
    };
    let mut entries = unit.entries();
    let mut inside = None;
    while let Ok(Some(entry)) = entries.next_dfs() {
        let depth = entry.depth();
        match inside {
            None if entry.tag() == gimli::DW_TAG_structure_type
                && has_name(entry.attr_value(gimli::DW_AT_name), structure) =>
            {
                inside = Some(depth);
            }
            Some(outer) if depth <= outer => return None,
            Some(_)
                if entry.tag() == gimli::DW_TAG_member
                    && has_name(entry.attr_value(gimli::DW_AT_name), member) =>
            {
                let offset = entry.attr_value(gimli::DW_AT_data_member_location)?.udata_value()?;
                return u32::try_from(offset).ok();
            }
            _ => {}
        }
    }
    None
}
