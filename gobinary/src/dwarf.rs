//! Field offsets from DWARF.
//!
//! DWARF of hostile files can be small and take forever: thousands of units can share one table of
//! abbreviations, and one byte can stand for an entry with thousands of attributes. Therefore work
//! is counted, and reading ends at a limit.

use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugInfo, DebugStr, EndianSlice, LittleEndian,
    UnitHeader,
};
use object::read::{CompressedData, CompressionFormat};
use stapsdt::elf::{Section, View};
use stapsdt::source::Source;
use std::borrow::Cow;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// The size limit in bytes of a table of abbreviations. The Go linker's table has some kilobytes.
const MAX_ABBREVIATIONS: usize = 1 << 16;
/// The number of bytes of abbreviations that are read from a file.
const MAX_ABBREVIATIONS_READ: usize = 256 << 20;
/// The number of attributes that are read from a file. The unit with the types of a large program
/// has a million.
const MAX_ATTRIBUTES: usize = 1 << 25;

/// Returns the offset in bytes of `goid` in `runtime.g`.
pub(crate) fn goid_offset<'a, S: Source<'a>>(view: &View<'a, S>) -> Option<u32> {
    member_offset(view, "runtime.g", "goid")
}

/// Returns the offset in bytes of a struct member. The struct's name includes its package path.
pub(crate) fn member_offset<'a, S: Source<'a>>(
    view: &View<'a, S>,
    structure: &str,
    member: &str,
) -> Option<u32> {
    /// The unit in which the linker describes the types of all packages
    /// (`cmd/link/internal/ld/dwarf.go`).
    const TYPE_UNIT: &str = "runtime";
    let info = section_bytes(view, "debug_info")?;
    let abbreviations = section_bytes(view, "debug_abbrev")?;
    let strings = section_bytes(view, "debug_str").unwrap_or_default();
    let mut dwarf = Dwarf {
        abbreviations: &abbreviations,
        strings: DebugStr::new(&strings, LittleEndian),
        abbreviations_left: MAX_ABBREVIATIONS_READ,
        attributes_left: MAX_ATTRIBUTES,
    };
    let mut headers = DebugInfo::new(&info, LittleEndian).units();
    // A package has one unit for its Go files and one for each assembly file, all with one name.
    // All units of the Go linker share one table of abbreviations.
    let mut table: Option<(usize, Abbreviations)> = None;
    while let Ok(Some(header)) = headers.next() {
        let offset = header.debug_abbrev_offset().0;
        let known = table.take().filter(|(known, _)| *known == offset).map(|(_, table)| table);
        let Some(known) = known.or_else(|| dwarf.read_abbreviations(offset)) else { continue };
        if dwarf.unit_name(&header, &known)? == Some(TYPE_UNIT.as_bytes())
            && let Some(offset) = dwarf.member_offset(&header, &known, structure, member)
        {
            return Some(offset);
        }
        table = Some((offset, known));
    }
    None
}

/// Returns the content of a debug section; `None` if the file does not have it, or if it is damaged
/// or exceeds the memory limit of the source.
fn section_bytes<'a, S: Source<'a>>(view: &View<'a, S>, name: &str) -> Option<Cow<'a, [u8]>> {
    /// `SHF_COMPRESSED`, whose sections start with a header of 24 bytes, and its type zlib.
    const COMPRESSED: u64 = 1 << 11;
    const HEADER: usize = 24;
    const ZLIB: [u8; 4] = 1u32.to_le_bytes();
    let named = |prefix: &str| view.section(&format!("{prefix}{name}"));
    let zlib = |section: &Section, header: usize, size: u64| {
        let data = view.section_data(section)?.get(header..)?;
        let format = CompressionFormat::Zlib;
        let compressed = CompressedData { format, data, uncompressed_size: size };
        view.source().reserve(size).then(|| compressed.decompress().ok()).flatten()
    };
    if let Some(section) = named(".") {
        if section.flags & COMPRESSED == 0 {
            return view.section_data(section).map(Cow::Borrowed);
        }
        let header = view.bytes_at_offset(section.offset, section.size.min(HEADER as u64))?;
        let size = u64::from_le_bytes(*header.get(8..)?.first_chunk()?);
        return header.starts_with(&ZLIB).then(|| zlib(section, HEADER, size)).flatten();
    }
    // The form of Go before 1.19: `ZLIB` and the size, big-endian.
    let section = named(".z")?;
    let header = view.bytes_at_offset(section.offset, section.size.min(12))?;
    let size = u64::from_be_bytes(*header.strip_prefix(b"ZLIB")?.first_chunk()?);
    zlib(section, 12, size)
}

/// Debug sections, and the work that may still be done on them.
struct Dwarf<'a> {
    abbreviations: &'a [u8],
    strings: DebugStr<Reader<'a>>,
    /// In bytes.
    abbreviations_left: usize,
    attributes_left: usize,
}

impl<'a> Dwarf<'a> {
    fn read_abbreviations(&mut self, offset: usize) -> Option<Abbreviations> {
        let table = self.abbreviations.get(offset..)?;
        let table = table.get(..MAX_ABBREVIATIONS.min(table.len()))?;
        self.abbreviations_left = self.abbreviations_left.checked_sub(table.len())?;
        let table = DebugAbbrev::new(table, LittleEndian);
        table.abbreviations(gimli::DebugAbbrevOffset(0)).ok()
    }

    /// Returns the name of a unit; an outer `None` at the limit of work.
    fn unit_name(
        &mut self,
        header: &UnitHeader<Reader<'a>>,
        abbreviations: &Abbreviations,
    ) -> Option<Option<&'a [u8]>> {
        let mut entries = header.entries(abbreviations);
        let Ok(Some(root)) = entries.next_dfs() else { return Some(None) };
        self.count(root.attrs().len())?;
        Some(self.string(root.attr_value(gimli::DW_AT_name)))
    }

    /// Returns a string that is in the entry itself or in `.debug_str`, as Go writes them.
    fn string(&self, value: Option<AttributeValue<Reader<'a>>>) -> Option<&'a [u8]> {
        match value? {
            AttributeValue::String(string) => Some(string.slice()),
            AttributeValue::DebugStrRef(offset) => {
                self.strings.get_str(offset).ok().map(|string| string.slice())
            }
            _ => None,
        }
    }

    fn count(&mut self, attributes: usize) -> Option<()> {
        self.attributes_left = self.attributes_left.checked_sub(attributes + 1)?;
        Some(())
    }

    fn member_offset(
        &mut self,
        header: &UnitHeader<Reader<'a>>,
        abbreviations: &Abbreviations,
        structure: &str,
        member: &str,
    ) -> Option<u32> {
        let mut entries = header.entries(abbreviations);
        let mut inside = None;
        while let Ok(Some(entry)) = entries.next_dfs() {
            self.count(entry.attrs().len())?;
            let depth = entry.depth();
            let has_name = |wanted: &str| {
                self.string(entry.attr_value(gimli::DW_AT_name)) == Some(wanted.as_bytes())
            };
            match inside {
                None if entry.tag() == gimli::DW_TAG_structure_type && has_name(structure) => {
                    inside = Some(depth);
                }
                Some(outer) if depth <= outer => return None,
                Some(_) if entry.tag() == gimli::DW_TAG_member && has_name(member) => {
                    let offset = entry.attr_value(gimli::DW_AT_data_member_location)?;
                    return u32::try_from(offset.udata_value()?).ok();
                }
                _ => {}
            }
        }
        None
    }
}
