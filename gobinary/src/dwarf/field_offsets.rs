//! Field offsets from DWARF.
//!
//! DWARF of hostile files can be small and take forever: thousands of units can share one table of
//! abbreviations, and one byte can stand for an entry with thousands of attributes. Therefore work
//! is counted, and reading ends at a limit.

use super::abbreviations::AbbreviationReader;
use super::section::DebugSection;
use crate::catalog::Field;
use gimli::{
    Abbreviations, AttributeValue, DebugInfo, DebugStr, EndianSlice, LittleEndian, UnitHeader,
};
use stapsdt::elf::View;
use stapsdt::source::Source;
use std::collections::HashMap;

type Reader<'a> = EndianSlice<'a, LittleEndian>;

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
    let find = |name: &str| DebugSection::find(view, name).ok().flatten();
    let (mut info, mut abbreviations) = (find("debug_info")?, find("debug_abbrev")?);
    let (info, abbreviations) = (info.read_all().ok()?, abbreviations.read_all().ok()?);
    let mut strings = find("debug_str");
    let strings = strings.as_mut().and_then(|strings| strings.read_all().ok()).unwrap_or_default();
    let mut dwarf = Dwarf {
        abbreviations,
        abbreviation_reader: AbbreviationReader::new(),
        strings: DebugStr::new(strings, LittleEndian),
        attributes_left: MAX_ATTRIBUTES,
    };
    let mut headers = DebugInfo::new(info, LittleEndian).units();
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

/// Debug sections, and the work that may still be done on them.
struct Dwarf<'a> {
    abbreviations: &'a [u8],
    abbreviation_reader: AbbreviationReader,
    strings: DebugStr<Reader<'a>>,
    attributes_left: usize,
}

impl<'a> Dwarf<'a> {
    /// Reads a table of abbreviations; an outer `None` at the limit of work, an inner one if it is
    /// damaged.
    fn read_abbreviations(&mut self, offset: usize) -> Option<Option<Abbreviations>> {
        self.abbreviation_reader.read(self.abbreviations, offset).ok()
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
