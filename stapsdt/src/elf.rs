//! A read-only view of an ELF file: addresses, offsets, sections, relocations and symbols.
//!
//! [`View`] parses only the headers, with goblin, so that opening a file of 100 MiB reads a few
//! pages. It accepts files without sections and files whose contents are damaged. Only damaged
//! headers are an error.
//!
//! Many sections, segments and symbols of a hostile file can refer to the same bytes. Therefore
//! names have a maximum length, and no scan reads more bytes than the file has.

use crate::argspec::Arch;
pub use crate::machine::Machine;
use crate::note::Format;
use crate::source::{ScanBudget, Source, for_each_piece};
use byteorder::{ByteOrder, LittleEndian};
use goblin::container::{Container, Ctx};
use goblin::elf::{Elf, header, program_header as ph, reloc, section_header as sh};
use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};

/// The maximum length of a section name in bytes.
const MAX_SECTION_NAME: u64 = 256;
/// The maximum length of a symbol name in bytes.
const MAX_SYMBOL_NAME: usize = 4096;
/// The size of the largest ELF header in bytes.
const MAX_HEADER: u64 = 64;

/// The reason why a file cannot be parsed as ELF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ElfError {
    /// The file does not start with the ELF magic number.
    #[error("not an ELF file")]
    NotElf,
    /// The ELF header, or a header table that it refers to, is invalid or incomplete. The value
    /// names the part.
    #[error("truncated or damaged ELF file: {0}")]
    Damaged(String),
}

/// A segment, as described by its program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The segment type, `p_type`.
    pub kind: u32,
    /// The access flags, `p_flags`.
    pub flags: u32,
    /// The file offset in bytes.
    pub offset: u64,
    /// The link-time address.
    pub vaddr: u64,
    /// The size in bytes in the file.
    pub filesz: u64,
    /// The size in bytes in memory. It includes `.bss`, which the file does not have.
    pub memsz: u64,
}

impl Segment {
    /// Returns true if the segment is loaded into memory (`PT_LOAD`).
    pub fn is_load(&self) -> bool {
        self.kind == ph::PT_LOAD
    }

    /// Returns true if the segment is mapped executable.
    pub fn is_executable(&self) -> bool {
        self.flags & ph::PF_X != 0
    }

    /// Returns true if the segment is mapped writable.
    pub fn is_writable(&self) -> bool {
        self.flags & ph::PF_W != 0
    }

    /// Returns true if `len` bytes at link-time address `vaddr` are in the file, and so not in
    /// `.bss`.
    pub fn file_backs(&self, vaddr: u64, len: u64) -> bool {
        vaddr
            .checked_sub(self.vaddr)
            .and_then(|at| at.checked_add(len))
            .is_some_and(|end| end <= self.filesz)
    }
}

/// A section, as described by its section header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The name; empty if it is longer than 256 bytes or the string table is damaged.
    pub name: String,
    /// The section type, `sh_type`.
    pub kind: u32,
    /// The flags, `sh_flags`.
    pub flags: u64,
    /// The link-time address; 0 if the section is not loaded.
    pub addr: u64,
    /// The file offset in bytes.
    pub offset: u64,
    /// The size in bytes.
    pub size: u64,
    /// The alignment in bytes, `sh_addralign`.
    pub align: u64,
    /// `sh_link`: the index of the string table of a symbol table, or of the symbol table of
    /// relocations.
    pub link: u32,
}

impl Section {
    /// Returns true if the section is loaded into memory.
    pub fn is_alloc(&self) -> bool {
        self.flags & u64::from(sh::SHF_ALLOC) != 0
    }

    /// Returns true if the section contains instructions.
    pub fn is_executable(&self) -> bool {
        self.flags & u64::from(sh::SHF_EXECINSTR) != 0
    }

    /// Returns true if the section contains notes (`SHT_NOTE`).
    pub fn is_note(&self) -> bool {
        self.kind == sh::SHT_NOTE
    }
}

/// The structure of an ELF file.
///
/// ```no_run
/// let data = std::fs::read("/usr/bin/app")?;
/// let view = stapsdt::elf::View::parse(&data)?;
/// if let Some(text) = view.section(".text") {
///     assert_eq!(view.vaddr_to_offset(text.addr), Some(text.offset));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct View<'a, S: Source<'a> = &'a [u8]> {
    source: S,
    header: header::Header,
    ctx: Ctx,
    /// The segments in file order.
    pub segments: Vec<Segment>,
    /// The sections in file order, the null section included. Empty if the file has no section
    /// headers.
    pub sections: Vec<Section>,
    /// The indexes of the loaded segments with bytes in the file, by address.
    loaded: Vec<usize>,
    lifetime: PhantomData<&'a [u8]>,
}

impl<'a> View<'a> {
    /// Parses the headers of a file in memory.
    ///
    /// # Errors
    ///
    /// Returns [`ElfError::NotElf`] if the file does not start with the ELF magic number, and
    /// [`ElfError::Damaged`] if one of its header tables is invalid or incomplete.
    pub fn parse(data: &'a [u8]) -> Result<View<'a>, ElfError> {
        View::read(data)
    }

    /// Returns the bytes of the whole file.
    pub fn data(&self) -> &'a [u8] {
        self.source
    }
}

impl<'a, S: Source<'a>> View<'a, S> {
    /// Reads the headers of a file.
    ///
    /// # Errors
    ///
    /// As [`View::parse`]. A source that cannot read the headers makes the file damaged.
    pub fn read(source: S) -> Result<View<'a, S>, ElfError> {
        let start = source.read(0, source.size().min(MAX_HEADER)).unwrap_or_default();
        if !start.starts_with(header::ELFMAG) {
            return Err(ElfError::NotElf);
        }
        let damaged = |part: &str| {
            let part = part.to_owned();
            move |_| ElfError::Damaged(part)
        };
        let header = Elf::parse_header(start).map_err(damaged("header"))?;
        let container = header.container().map_err(damaged("class"))?;
        let ctx = Ctx::new(container, header.endianness().map_err(damaged("byte order"))?);
        let segments = read_segments(source, &header, ctx)
            .ok_or_else(|| ElfError::Damaged("program headers".into()))?;
        let mut loaded: Vec<usize> = (0..segments.len())
            .filter(|i| segments.get(*i).is_some_and(|s| s.is_load() && s.filesz > 0))
            .collect();
        loaded.sort_by_key(|i| segments.get(*i).map(|s| s.vaddr));
        let lifetime = PhantomData;
        let sections = Vec::new();
        let mut view = View { source, header, ctx, segments, sections, loaded, lifetime };
        view.sections = view.read_sections()?;
        Ok(view)
    }

    fn read_sections(&self) -> Result<Vec<Section>, ElfError> {
        let damaged = || ElfError::Damaged("section headers (is the file cut off?)".into());
        let (offset, count) = (self.header.e_shoff, usize::from(self.header.e_shnum));
        if offset == 0 || count == 0 {
            return Ok(Vec::new());
        }
        let len = count * sh::SectionHeader::size(self.ctx);
        let table = self.source.read(offset, len as u64).ok_or_else(damaged)?;
        let raw =
            sh::SectionHeader::parse_from(table, 0, count, self.ctx).map_err(|_| damaged())?;
        let names = raw.get(usize::from(self.header.e_shstrndx));
        let section_name = |at: usize| {
            let names = names?;
            let name = self.string(names.sh_offset, names.sh_size, at as u64, MAX_SECTION_NAME)?;
            Some(String::from_utf8_lossy(name).into_owned())
        };
        Ok(raw
            .iter()
            .map(|s| Section {
                name: section_name(s.sh_name).unwrap_or_default(),
                kind: s.sh_type,
                flags: s.sh_flags,
                addr: s.sh_addr,
                offset: s.sh_offset,
                size: s.sh_size,
                align: s.sh_addralign,
                link: s.sh_link,
            })
            .collect())
    }

    /// Returns the NUL-terminated string at `at` in the string table at `offset`; `None` if it has
    /// more than `max` bytes.
    fn string(&self, offset: u64, size: u64, at: u64, max: u64) -> Option<&'a [u8]> {
        /// The bytes to read first, enough for most names.
        const SHORT: u64 = 64;
        let left = size.checked_sub(at)?.min(max.checked_add(1)?);
        let start = offset.checked_add(at)?;
        [left.min(SHORT), left].into_iter().find_map(|len| {
            let bytes = self.source.read(start, len)?;
            bytes.get(..memchr::memchr(0, bytes)?)
        })
    }

    /// Returns the source of the file.
    pub fn source(&self) -> S {
        self.source
    }

    /// Returns the address size and byte order of the file.
    pub fn format(&self) -> Format {
        Format {
            is64: self.ctx.container == Container::Big,
            big_endian: matches!(self.ctx.le, goblin::container::Endian::Big),
        }
    }

    /// Returns the machine, `e_machine`.
    pub fn machine(&self) -> u16 {
        self.header.e_machine
    }

    /// Returns the file type, `e_type`, such as `ET_EXEC` or `ET_DYN`.
    pub fn file_type(&self) -> u16 {
        self.header.e_type
    }

    /// Returns the machine with its address size and byte order, for messages.
    pub fn machine_kind(&self) -> Machine {
        Machine { number: self.header.e_machine, format: self.format() }
    }

    /// Returns the architecture; `None` if [`argspec`](crate::argspec) does not support it.
    pub fn arch(&self) -> Option<Arch> {
        self.machine_kind().arch()
    }

    /// Returns `size` bytes at a file offset; `None` if the file is shorter.
    pub fn bytes_at_offset(&self, offset: u64, size: u64) -> Option<&'a [u8]> {
        self.source.read(offset, size)
    }

    /// Returns the first section with this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// Returns the contents of a section; `None` if it has none in the file (`SHT_NOBITS`) or is
    /// not inside the file.
    pub fn section_data(&self, section: &Section) -> Option<&'a [u8]> {
        if section.kind == sh::SHT_NOBITS {
            return None;
        }
        self.bytes_at_offset(section.offset, section.size)
    }

    /// Returns the loaded segment that has `len` bytes at link-time address `vaddr` in the file;
    /// `None` if no segment has all of them. If segments overlap, the one that starts last counts.
    pub fn load_segment(&self, vaddr: u64, len: u64) -> Option<&Segment> {
        let starts_before = |i: &usize| self.segments.get(*i).is_some_and(|s| s.vaddr <= vaddr);
        let before = self.loaded.partition_point(starts_before);
        let last = *self.loaded.get(before.checked_sub(1)?)?;
        self.segments.get(last).filter(|s| s.file_backs(vaddr, len))
    }

    /// Returns the file offset of a link-time address; `None` if the file does not back it.
    pub fn vaddr_to_offset(&self, vaddr: u64) -> Option<u64> {
        let segment = self.load_segment(vaddr, 1)?;
        segment.offset.checked_add(vaddr - segment.vaddr)
    }

    /// Returns the link-time address of a file offset; `None` if it is not loaded.
    pub fn offset_to_vaddr(&self, offset: u64) -> Option<u64> {
        self.segments.iter().filter(|s| s.is_load()).find_map(|s| {
            let at = offset.checked_sub(s.offset)?;
            (at < s.filesz).then(|| s.vaddr.checked_add(at))?
        })
    }

    /// Returns `len` bytes at a link-time address; `None` if a loaded segment does not have all of
    /// them.
    pub fn bytes_at(&self, vaddr: u64, len: u64) -> Option<&'a [u8]> {
        let segment = self.load_segment(vaddr, len)?;
        self.bytes_at_offset(segment.offset.checked_add(vaddr - segment.vaddr)?, len)
    }

    /// Returns up to `len` bytes at a link-time address: fewer at the end of a segment, `None` if
    /// there are none.
    pub fn bytes_up_to(&self, vaddr: u64, len: u64) -> Option<&'a [u8]> {
        let segment = self.load_segment(vaddr, 1)?;
        self.bytes_at(vaddr, len.min(segment.filesz - (vaddr - segment.vaddr)))
    }

    /// Returns the link-time addresses that the dynamic loader writes, by the address they are
    /// written to. `wanted` selects the latter.
    ///
    /// The result has base-relative relocations, and relocations against symbols that the file
    /// defines. In arm64 PIEs and in Go plugins, addresses are available only from relocations.
    /// Large programs have millions of them, so they are not cached.
    pub fn relocations(&self, wanted: impl Fn(u64) -> bool) -> BTreeMap<u64, u64> {
        let (relative, absolute) = match self.header.e_machine {
            header::EM_X86_64 => (reloc::R_X86_64_RELATIVE, reloc::R_X86_64_64),
            header::EM_AARCH64 => (reloc::R_AARCH64_RELATIVE, reloc::R_AARCH64_ABS64),
            _ => return BTreeMap::new(),
        };
        let mut found = BTreeMap::new();
        let mut budget = ScanBudget::for_file(self.source.size());
        let size = reloc::Reloc::size(true, self.ctx);
        for section in self.sections.iter().filter(|s| s.kind == sh::SHT_RELA && s.is_alloc()) {
            let Some(range) = self.table(section, &mut budget) else { continue };
            let symbols = self.sections.get(section.link as usize);
            let symbols = symbols.filter(|s| s.kind == sh::SHT_DYNSYM);
            for_each_piece(self.source, range, 0, |_, piece| {
                let len = piece.len() / size * size;
                let relocs = reloc::RelocSection::parse(piece, 0, len, true, self.ctx);
                for r in relocs.iter().flat_map(reloc::RelocSection::iter) {
                    if !wanted(r.r_offset) {
                        continue;
                    }
                    let base = match r.r_type {
                        kind if kind == relative => Some(0),
                        kind if kind == absolute => {
                            symbols.and_then(|table| self.symbol_address(table, r.r_sym))
                        }
                        _ => None,
                    };
                    if let Some(base) = base {
                        // The addend is an address here, not a signed number.
                        found.insert(r.r_offset, base.wrapping_add(r.r_addend.unwrap_or(0) as u64));
                    }
                }
                ControlFlow::Continue(())
            });
        }
        found
    }

    /// Returns the range of a table in the file; `None` if it is not inside the file, or if the
    /// tables overlap.
    fn table(&self, section: &Section, budget: &mut ScanBudget) -> Option<Range<u64>> {
        let end = section.offset.checked_add(section.size)?;
        (end <= self.source.size() && budget.take(section.size)).then_some(section.offset..end)
    }

    /// Returns the address of a symbol; `None` if the file does not define it.
    fn symbol_address(&self, table: &Section, index: usize) -> Option<u64> {
        let at = index.checked_mul(SYMBOL_SIZE)? as u64;
        if at.checked_add(SYMBOL_SIZE as u64)? > table.size {
            return None;
        }
        let symbol = self.source.read(table.offset.checked_add(at)?, SYMBOL_SIZE as u64)?;
        defined_address(symbol)
    }

    /// Returns the link-time addresses of the symbols that the file defines, out of up to 256
    /// `names`. The result is empty for files that are not 64-bit little-endian.
    ///
    /// If several symbols have one name, the last global one wins, else the last one.
    pub fn symbols<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> BTreeMap<&'n str, u64> {
        /// The number of names, because each one costs a search in the string table.
        const MAX_NAMES: usize = 256;
        let usable = |name: &&str| !name.is_empty() && name.len() <= MAX_SYMBOL_NAME;
        let names: Vec<&str> = names.into_iter().filter(usable).take(MAX_NAMES).collect();
        let mut found: BTreeMap<&str, (bool, u64)> = BTreeMap::new();
        let tables =
            self.sections.iter().filter(|s| matches!(s.kind, sh::SHT_SYMTAB | sh::SHT_DYNSYM));
        let mut budget = ScanBudget::for_file(self.source.size());
        for table in tables.filter(|_| self.format() == Format::LE64 && !names.is_empty()) {
            let strings = self.sections.get(table.link as usize);
            let Some(strings) = strings.and_then(|s| self.table(s, &mut budget)) else { continue };
            let Some(range) = self.table(table, &mut budget) else { continue };
            let offsets = self.name_offsets(strings, &names);
            for_each_piece(self.source, range, 0, |_, piece| {
                for symbol in piece.chunks_exact(SYMBOL_SIZE) {
                    let Some(address) = defined_address(symbol) else { continue };
                    let at = symbol.get(..4).map_or(0, LittleEndian::read_u32);
                    let Some(name) = offsets.get(&at.into()) else { continue };
                    // `st_info >> 4` is the binding: 0 for local symbols.
                    let global = symbol.get(4).is_some_and(|info| info >> 4 != 0);
                    let known = found.entry(name).or_insert((global, address));
                    if global || !known.0 {
                        *known = (global, address);
                    }
                }
                ControlFlow::Continue(())
            });
        }
        found.into_iter().map(|(name, (_, address))| (name, address)).collect()
    }

    /// Returns the offsets of names in a string table. A name can be at several offsets, because
    /// linkers let it share the bytes of a longer name that ends with it.
    fn name_offsets<'n>(&self, strings: Range<u64>, names: &[&'n str]) -> HashMap<u64, &'n str> {
        /// The number of offsets, which limits the memory that they take.
        const MAX_OFFSETS: usize = 1 << 16;
        let terminated: Vec<Vec<u8>> =
            names.iter().map(|name| [name.as_bytes(), b"\0"].concat()).collect();
        let longest = terminated.iter().map(Vec::len).max().unwrap_or_default();
        let mut offsets = HashMap::new();
        let start = strings.start;
        for_each_piece(self.source, strings, longest.saturating_sub(1), |offset, piece| {
            for (name, terminated) in names.iter().zip(&terminated) {
                for at in memchr::memmem::find_iter(piece, terminated) {
                    if offsets.len() < MAX_OFFSETS {
                        offsets.insert(offset - start + at as u64, *name);
                    }
                }
            }
            ControlFlow::Continue(())
        });
        offsets
    }

    /// Returns the GNU build ID; `None` if the file has none.
    pub fn build_id(&self) -> Option<&'a [u8]> {
        /// The size limit of the section in bytes. It has one note with a hash.
        const MAX_SIZE: u64 = 1 << 16;
        let section = self.section(".note.gnu.build-id").filter(|s| s.size <= MAX_SIZE)?;
        let mut notes = crate::note::NoteIter::new(self.section_data(section)?, self.format());
        while let Ok(Some(note)) = notes.next_note() {
            if note.owner == b"GNU" && note.n_type == 3 {
                return Some(note.desc);
            }
        }
        None
    }
}

/// The size of an `Elf64_Sym` in bytes. `st_name` is at 0, `st_info` at 4, `st_shndx` at 6 and
/// `st_value` at 8 (gABI, "Symbol Table").
const SYMBOL_SIZE: usize = 24;

/// Returns the address of an `Elf64_Sym`; `None` if this file does not define the symbol.
fn defined_address(symbol: &[u8]) -> Option<u64> {
    let section = LittleEndian::read_u16(symbol.get(6..8)?);
    let value = LittleEndian::read_u64(symbol.get(8..16)?);
    (section != 0).then_some(value)
}

/// Reads the program headers; `None` if they are not inside the file.
fn read_segments<'a>(
    source: impl Source<'a>,
    header: &header::Header,
    ctx: Ctx,
) -> Option<Vec<Segment>> {
    let count = usize::from(header.e_phnum);
    let len = count * ph::ProgramHeader::size(ctx);
    let table = if count == 0 { &[] } else { source.read(header.e_phoff, len as u64)? };
    let segments = ph::ProgramHeader::parse(table, 0, count, ctx).ok()?;
    let segment = |p: &ph::ProgramHeader| Segment {
        kind: p.p_type,
        flags: p.p_flags,
        offset: p.p_offset,
        vaddr: p.p_vaddr,
        filesz: p.p_filesz,
        memsz: p.p_memsz,
    };
    Some(segments.iter().map(segment).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn test_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn converts_between_addresses_and_offsets() {
        let data = test_program();
        let view = View::parse(&data).unwrap();
        let text = view.section(".text").unwrap();
        assert!(text.is_executable() && text.is_alloc());
        assert_eq!(view.vaddr_to_offset(text.addr), Some(text.offset));
        assert_eq!(view.offset_to_vaddr(text.offset), Some(text.addr));
        assert_eq!(
            view.bytes_at(text.addr, 16),
            data.get(text.offset as usize..text.offset as usize + 16)
        );
        let bss = view.section(".bss").unwrap();
        assert_eq!(
            view.vaddr_to_offset(bss.addr + bss.size - 1),
            None,
            "the file does not back .bss"
        );
        let all = view.relocations(|_| true);
        let (place, addend) = all.iter().next().unwrap();
        let one = view.relocations(|at| at == *place);
        assert_eq!((one.len(), one.get(place)), (1, Some(addend)), "test binaries are PIE");
    }

    #[test]
    fn finds_symbols_by_name() {
        let data = test_program();
        let view = View::parse(&data).unwrap();
        let found = view.symbols(["main", "no such symbol"]);
        let text = view.section(".text").unwrap();
        let main = found["main"];
        assert_eq!(found.len(), 1);
        assert!((text.addr..text.addr + text.size).contains(&main), "{main:#x}");
    }

    #[test]
    fn distinguishes_damaged_files_from_other_formats() {
        assert_eq!(View::parse(b"#!/bin/sh\n").unwrap_err(), ElfError::NotElf);
        assert_eq!(View::parse(b"").unwrap_err(), ElfError::NotElf);
        let data = test_program();
        for cut in [20, 100, 4096] {
            let err = View::parse(&data[..cut]).unwrap_err().to_string();
            assert!(err.starts_with("truncated or damaged ELF file"), "{err}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn parses_damaged_files_without_panic(hits in prop::collection::vec((0usize..1024, any::<u8>()), 1..20)) {
            let mut data = test_program();
            data.truncate(1 << 16);
            for (at, value) in hits { data[at] = value; }
            if let Ok(view) = View::parse(&data) {
                let _ = (view.relocations(|_| true), view.build_id(), view.vaddr_to_offset(0x1000));
            }
        }
    }
}
