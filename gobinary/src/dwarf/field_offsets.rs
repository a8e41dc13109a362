//! Field offsets from DWARF.
//!
//! DWARF of hostile files can be small and take forever: thousands of units can share one table of
//! abbreviations, and one byte can stand for an entry with thousands of attributes. Therefore work
//! is counted, and reading ends at a limit.

use crate::catalog::Field;
use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugInfo, DebugStr, EndianSlice, LittleEndian,
    Reader as _, UnitHeader,
};
use object::read::{CompressedData, CompressionFormat};
use stapsdt::elf::{Section, View};
use stapsdt::source::Source;
use std::borrow::Cow;
use std::collections::HashMap;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// The size limit in bytes of a table of abbreviations. The Go linker's table has some kilobytes.
const MAX_ABBREVIATIONS: usize = 1 << 16;
/// The number of bytes of abbreviations that are read from a file. A table that other units used
/// before counts again.
const MAX_ABBREVIATIONS_READ: usize = 16 << 20;
/// The number of attributes that are read from a file. The unit with the types of a large program
/// has a million.
const MAX_ATTRIBUTES: usize = 1 << 25;

/// Returns the offsets in bytes of fields, all in one pass, because a pass over large DWARF takes
/// long. The structs' names include their package path.
pub(crate) fn field_offsets<'a, S: Source<'a>>(
    view: &View<'a, S>,
    fields: impl IntoIterator<Item = Field>,
) -> HashMap<Field, u32> {
    let mut wanted: HashMap<&[u8], Vec<Field>> = HashMap::new();
    for field in fields {
        wanted.entry(field.structure.as_bytes()).or_default().push(field);
    }
    let mut found = HashMap::new();
    // What was found before damage or the limit of work counts.
    let _ = read_type_units(view, &wanted, &mut found);
    found
}

/// Returns `None` at the limit of work, or if the file has no DWARF.
fn read_type_units<'a, S: Source<'a>>(
    view: &View<'a, S>,
    wanted: &HashMap<&[u8], Vec<Field>>,
    found: &mut HashMap<Field, u32>,
) -> Option<()> {
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
        let known = match known {
            Some(known) => known,
            None => match dwarf.read_abbreviations(offset)? {
                Some(read) => read,
                None => continue,
            },
        };
        if dwarf.unit_name(&header, &known)? == Some(TYPE_UNIT.as_bytes()) {
            dwarf.read_structs(&header, &known, wanted, found)?;
        }
        table = Some((offset, known));
    }
    Some(())
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

/// Returns the size in bytes of the table of abbreviations at the start of `data`, which may end
/// before it.
fn table_len(data: &[u8]) -> usize {
    /// `DW_FORM_implicit_const`, whose value is in the table.
    const IMPLICIT_CONST: u64 = 0x21;
    let mut rest = EndianSlice::new(data, LittleEndian);
    let mut skip_abbreviation = || -> gimli::Result<bool> {
        if rest.read_uleb128()? == 0 {
            return Ok(false);
        }
        rest.read_uleb128()?;
        rest.read_u8()?;
        loop {
            let (name, form) = (rest.read_uleb128()?, rest.read_uleb128()?);
            if form == IMPLICIT_CONST {
                rest.read_sleb128()?;
            }
            if (name, form) == (0, 0) {
                return Ok(true);
            }
        }
    };
    while skip_abbreviation() == Ok(true) {}
    data.len() - rest.len()
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
    /// Reads a table of abbreviations; an outer `None` at the limit of work, an inner one if it is
    /// damaged.
    fn read_abbreviations(&mut self, offset: usize) -> Option<Option<Abbreviations>> {
        let table = self.abbreviations.get(offset..).unwrap_or_default();
        let table = table.get(..MAX_ABBREVIATIONS.min(table.len()))?;
        let table = table.get(..table_len(table))?;
        self.abbreviations_left = self.abbreviations_left.checked_sub(table.len().max(1))?;
        let table = DebugAbbrev::new(table, LittleEndian);
        Some(table.abbreviations(gimli::DebugAbbrevOffset(0)).ok())
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

    /// Reads the offsets of fields in the structs of a unit; `None` at the limit of work.
    fn read_structs(
        &mut self,
        header: &UnitHeader<Reader<'a>>,
        abbreviations: &Abbreviations,
        wanted: &HashMap<&[u8], Vec<Field>>,
        found: &mut HashMap<Field, u32>,
    ) -> Option<()> {
        let mut entries = header.entries(abbreviations);
        // The depth and the fields of the struct that the entries belong to.
        let mut inside: Option<(isize, &Vec<Field>)> = None;
        while let Ok(Some(entry)) = entries.next_dfs() {
            self.count(entry.attrs().len())?;
            let depth = entry.depth();
            inside = inside.filter(|(outer, _)| depth > *outer);
            let name = || self.string(entry.attr_value(gimli::DW_AT_name));
            match inside {
                None if entry.tag() == gimli::DW_TAG_structure_type => {
                    inside = name().and_then(|n| wanted.get(n)).map(|fields| (depth, fields));
                }
                Some((_, fields)) if entry.tag() == gimli::DW_TAG_member => {
                    let name = name();
                    let field = fields.iter().find(|f| name == Some(f.name.as_bytes()));
                    let offset = entry.attr_value(gimli::DW_AT_data_member_location);
                    let offset = offset.and_then(|value| value.udata_value());
                    let offset = offset.and_then(|offset| u32::try_from(offset).ok());
                    if let (Some(field), Some(offset)) = (field, offset) {
                        found.entry(*field).or_insert(offset);
                    }
                }
                _ => {}
            }
        }
        Some(())
    }
}
