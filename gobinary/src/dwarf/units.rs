//! Units of `.debug_info`, and their entries.
//!
//! Hostile debug information can be small and take forever: thousands of units can share one table
//! of abbreviations, and one byte can stand for an entry with thousands of attributes. Therefore
//! attributes are counted, and reading ends at a limit.

use super::DebugInfoError;
use super::abbreviations::AbbreviationReader;
use super::entry::{Address, Entry, Name, Reader, read_attributes};
use super::functions::unescaped;
use super::section::DebugSection;
use gimli::{
    Abbreviations, DwTag, Encoding, EndianSlice, EntriesRaw, Format, LittleEndian, Reader as _,
    UnitOffset,
};
use stapsdt::elf::View;
use stapsdt::source::Source;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// The number of attributes that are read from a file. A large program has some millions.
const MAX_ATTRIBUTES: usize = 1 << 26;
/// The number of bytes that take as much work as an attribute.
const BYTES_PER_ATTRIBUTE: usize = 16;
/// The limits on units, and on the entries directly below one that are kept at once. Large programs
/// have some thousand units.
const MAX_UNITS: usize = 1 << 16;
const MAX_CHILDREN: usize = 1 << 14;
/// The number of tables of abbreviations that are kept. Go's linker writes one.
const MAX_TABLES: usize = 16;
/// The size in bytes of the pieces in which entries are read: of single entries, and of units.
const ENTRY_PIECE: u64 = 2 << 10;
const UNIT_PIECE: u64 = 64 << 10;
/// The size in bytes of the longest unit header.
const UNIT_HEADER: u64 = 24;

/// A unit of `.debug_info`.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// The offsets of its header, of its first entry and of its end.
    pub(super) start: u64,
    pub(super) entries: u64,
    pub(super) end: u64,
    pub(super) encoding: Encoding,
    abbreviations: u64,
    /// The path of the package; empty for units of C.
    pub(super) package: String,
    /// False for units of C.
    pub(super) is_go: bool,
    /// The address that ranges and location lists are relative to; `None` for units without code.
    pub(super) low_pc: Option<u64>,
    /// The offset of its list of ranges.
    pub(super) ranges: Option<u64>,
    /// The offset of its addresses in `.debug_addr`.
    pub(super) addr_base: u64,
}

/// The sections with units and entries, and the work that may still be done on them.
#[derive(Debug)]
pub(super) struct Entries<'a, S: Source<'a>> {
    info: DebugSection<'a, S>,
    abbreviations: DebugSection<'a, S>,
    strings: Option<DebugSection<'a, S>>,
    addresses: Option<DebugSection<'a, S>>,
    /// The units that were read, in the order of the file.
    units: Vec<Arc<Unit>>,
    tables: HashMap<u64, Arc<Abbreviations>>,
    abbreviation_reader: AbbreviationReader,
    attributes_left: usize,
}

fn damaged(what: &'static str) -> impl Fn(gimli::Error) -> DebugInfoError {
    move |_| DebugInfoError::Damaged(what)
}

impl<'a, S: Source<'a>> Entries<'a, S> {
    pub(super) fn read(view: &View<'a, S>) -> Result<Entries<'a, S>, DebugInfoError> {
        let find = |name: &str| DebugSection::find(view, name);
        let info = find("debug_info")?.filter(|info| info.size() > 0);
        Ok(Entries {
            info: info.ok_or(DebugInfoError::Missing)?,
            abbreviations: find("debug_abbrev")?.ok_or(DebugInfoError::Missing)?,
            strings: find("debug_str")?,
            addresses: find("debug_addr")?,
            units: Vec::new(),
            tables: HashMap::new(),
            abbreviation_reader: AbbreviationReader::new(),
            attributes_left: MAX_ATTRIBUTES,
        })
    }

    /// Returns the unit at an index; `None` after the last one.
    pub(super) fn unit(&mut self, index: usize) -> Result<Option<Arc<Unit>>, DebugInfoError> {
        while self.units.len() <= index {
            let start = self.units.last().map_or(0, |unit| unit.end);
            if start >= self.info.size() {
                return Ok(None);
            }
            if self.units.len() == MAX_UNITS {
                return Err(DebugInfoError::Limit("the number of units"));
            }
            let unit = self.read_unit(start)?;
            self.units.push(Arc::new(unit));
        }
        Ok(self.units.get(index).cloned())
    }

    /// Returns the unit that contains an entry.
    pub(super) fn unit_of(&mut self, entry: u64) -> Result<Arc<Unit>, DebugInfoError> {
        while self.units.last().is_none_or(|unit| unit.end <= entry)
            && self.unit(self.units.len())?.is_some()
        {}
        let after = self.units.partition_point(|unit| unit.start <= entry);
        let unit = after.checked_sub(1).and_then(|index| self.units.get(index));
        let unit = unit.filter(|unit| (unit.entries..unit.end).contains(&entry));
        unit.cloned().ok_or(DebugInfoError::Damaged("a reference to no entry"))
    }

    /// Reads the header and the first entry of the unit at an offset.
    fn read_unit(&mut self, start: u64) -> Result<Unit, DebugInfoError> {
        const WHAT: &str = "the header of a unit";
        let header = self.info.read_up_to(start, UNIT_HEADER)?;
        let header_len = header.len();
        let mut rest = EndianSlice::new(header, LittleEndian);
        let mut parse = || -> gimli::Result<_> {
            let (length, format) = rest.read_initial_length()?;
            let after_length = header_len - rest.len();
            let version = rest.read_u16()?;
            let mut address_size = 0;
            if version >= 5 {
                let kind = rest.read_u8()?;
                address_size = rest.read_u8()?;
                if kind != gimli::DW_UT_compile.0 {
                    return Ok(None);
                }
            }
            let abbreviations = rest.read_offset(format)?;
            if version < 5 {
                address_size = rest.read_u8()?;
            }
            let encoding = Encoding { address_size, format, version };
            let header = (header_len - rest.len()) as u64;
            Ok(Some((length, after_length, encoding, abbreviations, header)))
        };
        let parsed = parse().map_err(damaged(WHAT))?;
        let Some((length, after_length, encoding, abbreviations, header)) = parsed else {
            return Err(DebugInfoError::Damaged("a unit of an unknown kind"));
        };
        let end = start.checked_add(after_length as u64 + length as u64);
        let end = end.filter(|end| *end <= self.info.size() && *end >= start + header);
        let unit = Unit {
            start,
            entries: start + header,
            end: end.ok_or(DebugInfoError::Damaged(WHAT))?,
            encoding,
            abbreviations: abbreviations as u64,
            package: String::new(),
            is_go: false,
            low_pc: None,
            ranges: None,
            addr_base: 0,
        };
        let supported = (2..=5).contains(&encoding.version)
            && encoding.address_size == 8
            && encoding.format == Format::Dwarf32;
        if !supported || unit.entries == unit.end {
            return Ok(unit);
        }
        let root = self.entry_in(&unit, unit.entries)?;
        let low_pc = match root.low_pc {
            Some(address) => self.address(address, root.addr_base)?,
            None => None,
        };
        let is_go = root.language == u64::from(gimli::DW_LANG_Go.0);
        let package = if is_go { unescaped(&self.name(&root)?) } else { String::new() };
        let (ranges, addr_base) = (root.ranges, root.addr_base);
        Ok(Unit { package, is_go, low_pc, ranges, addr_base, ..unit })
    }

    /// Returns an address. `None` for an index that `.debug_addr` does not have.
    pub(super) fn address(
        &mut self,
        address: Address,
        addr_base: u64,
    ) -> Result<Option<u64>, DebugInfoError> {
        let index = match address {
            Address::Direct(address) => return Ok(Some(address)),
            Address::Index(index) => index,
        };
        let at = index.checked_mul(8).and_then(|distance| addr_base.checked_add(distance));
        let range = at.and_then(|at| Some(at..at.checked_add(8)?));
        let Some((addresses, range)) = self.addresses.as_mut().zip(range) else { return Ok(None) };
        let bytes = addresses.read(range)?;
        Ok(bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)))
    }

    /// Returns `.debug_addr`; empty if the file has none.
    pub(super) fn addresses(&mut self) -> Result<&[u8], DebugInfoError> {
        self.addresses.as_mut().map_or(Ok(&[]), DebugSection::read_all)
    }

    /// Returns a name; empty if the entry has none.
    pub(super) fn name(&mut self, entry: &Entry) -> Result<String, DebugInfoError> {
        entry.name.as_ref().map_or(Ok(String::new()), |name| self.read_name(name))
    }

    /// Returns a name, which may be in `.debug_str`.
    pub(super) fn read_name(&mut self, name: &Name) -> Result<String, DebugInfoError> {
        /// The limit in bytes of a name in `.debug_str`.
        const MAX_NAME: u64 = 4096;
        match (name, &mut self.strings) {
            (Name::Inline(name), _) => Ok(name.clone()),
            (Name::Offset(offset), Some(strings)) => {
                let bytes = strings.read_up_to(*offset, MAX_NAME)?;
                let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
                Ok(String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned())
            }
            (Name::Offset(_), None) => Ok(String::new()),
        }
    }

    /// Returns the entry at an offset.
    pub(super) fn entry(&mut self, offset: u64) -> Result<Entry, DebugInfoError> {
        let unit = self.unit_of(offset)?;
        self.entry_in(&unit, offset)
    }

    fn entry_in(&mut self, unit: &Unit, offset: u64) -> Result<Entry, DebugInfoError> {
        let mut found = None;
        self.scan(
            unit,
            offset,
            ENTRY_PIECE,
            |_, _| true,
            |_, entry| {
                found = Some(entry);
                ControlFlow::Break(())
            },
        )?;
        found.ok_or(DebugInfoError::Damaged("a reference to no entry"))
    }

    /// Returns the children of an entry whose tags `wanted` selects.
    pub(super) fn children(
        &mut self,
        parent: &Entry,
        wanted: impl Fn(DwTag) -> bool,
    ) -> Result<Vec<Entry>, DebugInfoError> {
        let mut children = Vec::new();
        if !parent.has_children {
            return Ok(children);
        }
        let unit = self.unit_of(parent.offset)?;
        let is_wanted = |depth: isize, tag: DwTag| depth == 1 && wanted(tag);
        self.scan(&unit, parent.offset, ENTRY_PIECE, is_wanted, |_, entry| {
            children.push(entry);
            if children.len() > MAX_CHILDREN {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if children.len() > MAX_CHILDREN {
            return Err(DebugInfoError::Limit("the number of fields or parameters"));
        }
        Ok(children)
    }

    /// Returns the entries directly below the root of a unit that have a tag.
    pub(super) fn top_level(
        &mut self,
        unit: &Unit,
        tag: DwTag,
        mut visit: impl FnMut(Entry),
    ) -> Result<(), DebugInfoError> {
        let is_wanted = |depth: isize, found: DwTag| depth == 1 && found == tag;
        self.scan(unit, unit.entries, UNIT_PIECE, is_wanted, |_, entry| {
            visit(entry);
            ControlFlow::Continue(())
        })
    }

    /// Returns the types directly below the root of a unit.
    pub(super) fn top_level_types(
        &mut self,
        unit: &Unit,
        mut visit: impl FnMut(Entry),
    ) -> Result<(), DebugInfoError> {
        const TYPES: [DwTag; 6] = [
            gimli::DW_TAG_base_type,
            gimli::DW_TAG_pointer_type,
            gimli::DW_TAG_structure_type,
            gimli::DW_TAG_array_type,
            gimli::DW_TAG_subroutine_type,
            gimli::DW_TAG_typedef,
        ];
        let is_wanted = |depth: isize, found: DwTag| depth == 1 && TYPES.contains(&found);
        self.scan(unit, unit.entries, UNIT_PIECE, is_wanted, |_, entry| {
            visit(entry);
            ControlFlow::Continue(())
        })
    }

    /// Reads the entry at an offset and those below it, and calls `visit` with those that `wanted`
    /// selects by depth (0 is the first entry) and tag, until it breaks.
    fn scan(
        &mut self,
        unit: &Unit,
        start: u64,
        piece: u64,
        wanted: impl Fn(isize, DwTag) -> bool,
        mut visit: impl FnMut(isize, Entry) -> ControlFlow<()>,
    ) -> Result<(), DebugInfoError> {
        const WHAT: &str = "an entry";
        let table = self.table(unit.abbreviations)?;
        let (mut buffer, mut len) = (Vec::new(), piece);
        let (mut at, mut depth) = (start, 0);
        loop {
            let piece_len = len.min(unit.end.saturating_sub(at));
            self.spend(piece_len as usize / BYTES_PER_ATTRIBUTE)?;
            self.info.copy_up_to(at, piece_len, &mut buffer)?;
            let is_last = at + piece_len >= unit.end;
            let input: Reader<'_> = EndianSlice::new(&buffer, LittleEndian);
            let mut entries = EntriesRaw::new(input, unit.encoding, &table, UnitOffset(0));
            // The end of the last entry that the piece has completely.
            let mut complete = 0;
            while !entries.is_empty() {
                let read = entries.read_abbreviation();
                let entry = match read {
                    Ok(Some(abbreviation)) => {
                        let specifications = abbreviation.attributes();
                        self.spend(specifications.len() + 1)?;
                        if wanted(depth, abbreviation.tag()) {
                            let offset = at + complete as u64;
                            read_attributes(&mut entries, abbreviation, offset, unit.start)
                                .map(|entry| (abbreviation.has_children(), Some(entry)))
                        } else {
                            entries
                                .skip_attributes(specifications)
                                .map(|()| (abbreviation.has_children(), None))
                        }
                        .map(Some)
                    }
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                };
                match entry {
                    Ok(entry) => {
                        complete = entries.next_offset().0;
                        let own_depth = depth;
                        match entry {
                            Some((has_children, entry)) => {
                                depth += isize::from(has_children);
                                if let Some(entry) = entry
                                    && visit(own_depth, entry).is_break()
                                {
                                    return Ok(());
                                }
                            }
                            None => depth -= 1,
                        }
                        if depth <= 0 {
                            return Ok(());
                        }
                    }
                    Err(gimli::Error::UnexpectedEof(_)) if !is_last => break,
                    Err(error) => return Err(damaged(WHAT)(error)),
                }
            }
            if is_last {
                return Ok(());
            }
            at += complete as u64;
            // An entry that is longer than the piece needs a longer one.
            len = if complete == 0 { len.saturating_mul(8) } else { piece.max(UNIT_PIECE) };
        }
    }

    /// Accounts for work: a number of attributes.
    fn spend(&mut self, attributes: usize) -> Result<(), DebugInfoError> {
        let left = self.attributes_left.checked_sub(attributes);
        self.attributes_left = left.ok_or(DebugInfoError::Limit("the number of attributes"))?;
        Ok(())
    }

    fn table(&mut self, offset: u64) -> Result<Arc<Abbreviations>, DebugInfoError> {
        if let Some(table) = self.tables.get(&offset) {
            return Ok(Arc::clone(table));
        }
        let section = self.abbreviations.read_all()?;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let table = self.abbreviation_reader.read(section, at);
        let table = table.map_err(|_| DebugInfoError::Limit("the tables of abbreviations"))?;
        let table = Arc::new(table.ok_or(DebugInfoError::Damaged("a table of abbreviations"))?);
        if self.tables.len() >= MAX_TABLES {
            self.tables.clear();
        }
        self.tables.insert(offset, Arc::clone(&table));
        Ok(table)
    }
}
