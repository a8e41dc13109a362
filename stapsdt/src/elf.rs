//! A read-only view of an ELF file: addresses, offsets, sections, relocations, notes.
//!
//! Built on goblin's header parsers only, so that opening a file of 100 MiB touches a few pages. Works on
//! damaged and on section-less files: what is missing is absent, not an error, beyond the headers themselves.

use crate::argspec::Arch;
use crate::note::Format;
use byteorder::{ByteOrder, LittleEndian};
use goblin::container::{Container, Ctx};
use goblin::elf::{Elf, header, program_header as ph, reloc, section_header as sh};
use std::collections::BTreeMap;

/// Why a file is not readable as ELF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// No ELF magic.
    #[error("not an ELF file")]
    NotElf,
    /// The header or a table it points to is incomplete.
    #[error("truncated or damaged ELF file: {0}")]
    Damaged(String),
}

/// A program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`.
    pub flags: u32,
    /// File offset.
    pub offset: u64,
    /// Link-time virtual address.
    pub vaddr: u64,
    /// Bytes in the file.
    pub filesz: u64,
    /// Bytes in memory.
    pub memsz: u64,
}

impl Segment {
    /// A `PT_LOAD`.
    pub fn is_load(&self) -> bool {
        self.kind == ph::PT_LOAD
    }
    /// Mapped executable.
    pub fn is_executable(&self) -> bool {
        self.flags & ph::PF_X != 0
    }
    /// Mapped writable.
    pub fn is_writable(&self) -> bool {
        self.flags & ph::PF_W != 0
    }
    /// Whether `len` bytes at `vaddr` are inside the part that the file backs.
    pub fn file_backs(&self, vaddr: u64, len: u64) -> bool {
        vaddr
            .checked_sub(self.vaddr)
            .and_then(|at| at.checked_add(len))
            .is_some_and(|end| end <= self.filesz)
    }
}

/// A section header with its name resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Name; empty where the string table is damaged.
    pub name: String,
    /// `sh_type`.
    pub kind: u32,
    /// `sh_flags`.
    pub flags: u64,
    /// Link-time virtual address, 0 if not loaded.
    pub addr: u64,
    /// File offset.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// `sh_addralign`.
    pub align: u64,
    /// `sh_link`: of symbol tables the section of their names, of relocations that of their symbols.
    pub link: u32,
}

impl Section {
    /// Occupies memory in the process.
    pub fn is_alloc(&self) -> bool {
        self.flags & u64::from(sh::SHF_ALLOC) != 0
    }
    /// Holds instructions.
    pub fn is_executable(&self) -> bool {
        self.flags & u64::from(sh::SHF_EXECINSTR) != 0
    }
    /// A `SHT_NOTE` section.
    pub fn is_note(&self) -> bool {
        self.kind == sh::SHT_NOTE
    }
}

/// An ELF file's structure over its bytes.
#[derive(Clone, Debug)]
pub struct View<'a> {
    data: &'a [u8],
    header: header::Header,
    ctx: Ctx,
    /// Program headers in file order.
    pub segments: Vec<Segment>,
    /// Section headers in file order, the null section included; empty where the file has none.
    pub sections: Vec<Section>,
}

impl<'a> View<'a> {
    /// Reads the headers.
    pub fn parse(data: &'a [u8]) -> Result<View<'a>, ElfError> {
        if !data.starts_with(header::ELFMAG) {
            return Err(ElfError::NotElf);
        }
        let damaged = |what: &str| {
            let what = what.to_owned();
            move |_| ElfError::Damaged(what)
        };
        let header = Elf::parse_header(data).map_err(damaged("header"))?;
        let container = header.container().map_err(damaged("class"))?;
        let ctx = Ctx::new(container, header.endianness().map_err(damaged("byte order"))?);
        let phoff =
            usize::try_from(header.e_phoff).map_err(|_| ElfError::Damaged("header".into()))?;
        let segments = match header.e_phnum {
            0 => Vec::new(),
            n => ph::ProgramHeader::parse(data, phoff, n.into(), ctx)
                .map_err(damaged("program headers"))?,
        };
        let segments = segments
            .iter()
            .map(|p| Segment {
                kind: p.p_type,
                flags: p.p_flags,
                offset: p.p_offset,
                vaddr: p.p_vaddr,
                filesz: p.p_filesz,
                memsz: p.p_memsz,
            })
            .collect();
        let mut view = View { data, header, ctx, segments, sections: Vec::new() };
        view.sections = view.read_sections()?;
        Ok(view)
    }

    fn read_sections(&self) -> Result<Vec<Section>, ElfError> {
        let damaged = || ElfError::Damaged("section headers (is the file cut off?)".into());
        let (offset, count) = (self.header.e_shoff, usize::from(self.header.e_shnum));
        if offset == 0 || count == 0 {
            return Ok(Vec::new());
        }
        let offset = usize::try_from(offset).map_err(|_| damaged())?;
        if offset >= self.data.len() {
            return Err(damaged());
        }
        let raw =
            sh::SectionHeader::parse(self.data, offset, count, self.ctx).map_err(|_| damaged())?;
        let names = raw
            .get(usize::from(self.header.e_shstrndx))
            .and_then(|s| self.bytes_at_offset(s.sh_offset, s.sh_size));
        let name = |at: usize| {
            let tail = names.and_then(|n| n.get(at..)).unwrap_or_default();
            let end = memchr::memchr(0, tail).unwrap_or(0);
            String::from_utf8_lossy(tail.get(..end).unwrap_or_default()).into_owned()
        };
        Ok(raw
            .iter()
            .map(|s| Section {
                name: name(s.sh_name),
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

    /// The whole file.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Word size and byte order, for the note codec.
    pub fn format(&self) -> Format {
        Format {
            is64: self.ctx.container == Container::Big,
            big_endian: matches!(self.ctx.le, goblin::container::Endian::Big),
        }
    }

    /// `e_machine`.
    pub fn machine(&self) -> u16 {
        self.header.e_machine
    }

    /// `e_type`: `ET_EXEC`, `ET_DYN`, …
    pub fn file_type(&self) -> u16 {
        self.header.e_type
    }

    /// Architecture, where argument specifications of it are understood.
    pub fn arch(&self) -> Option<Arch> {
        match (self.header.e_machine, self.format()) {
            (header::EM_X86_64, Format { is64: true, big_endian: false }) => Some(Arch::X86_64),
            (header::EM_AARCH64, Format { is64: true, big_endian: false }) => Some(Arch::Aarch64),
            _ => None,
        }
    }

    /// `size` bytes at a file offset, if the file has them.
    pub fn bytes_at_offset(&self, offset: u64, size: u64) -> Option<&'a [u8]> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(usize::try_from(size).ok()?)?;
        self.data.get(start..end)
    }

    /// First section of that name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// A section's bytes; `None` for `SHT_NOBITS` and for what lies outside the file.
    pub fn section_data(&self, section: &Section) -> Option<&'a [u8]> {
        if section.kind == sh::SHT_NOBITS {
            return None;
        }
        self.bytes_at_offset(section.offset, section.size)
    }

    /// The `PT_LOAD` whose file-backed part holds `len` bytes at `vaddr`.
    pub fn load_segment(&self, vaddr: u64, len: u64) -> Option<&Segment> {
        self.segments.iter().find(|s| s.is_load() && s.file_backs(vaddr, len))
    }

    /// File offset of a link-time virtual address, by `PT_LOAD`.
    pub fn vaddr_to_offset(&self, vaddr: u64) -> Option<u64> {
        let segment = self.load_segment(vaddr, 1)?;
        segment.offset.checked_add(vaddr - segment.vaddr)
    }

    /// Link-time virtual address of a file offset, by `PT_LOAD`.
    pub fn offset_to_vaddr(&self, offset: u64) -> Option<u64> {
        self.segments.iter().filter(|s| s.is_load()).find_map(|s| {
            let at = offset.checked_sub(s.offset)?;
            (at < s.filesz).then(|| s.vaddr.checked_add(at))?
        })
    }

    /// `len` bytes at a link-time virtual address.
    pub fn bytes_at(&self, vaddr: u64, len: u64) -> Option<&'a [u8]> {
        let segment = self.load_segment(vaddr, len)?;
        self.bytes_at_offset(segment.offset.checked_add(vaddr - segment.vaddr)?, len)
    }

    /// Bytes at an address, at most so many: less where what is loaded ends.
    pub fn bytes_up_to(&self, vaddr: u64, len: u64) -> Option<&'a [u8]> {
        (1..=len).rev().find_map(|len| self.bytes_at(vaddr, len))
    }

    /// What the dynamic loader puts where, `place -> link-time address`, at the places that `wanted` picks: of
    /// base-relative relocations, and of those against a symbol that the file itself defines. In arm64 PIEs and in
    /// Go plugins addresses stand only here. Large programs have millions: they are walked, not kept.
    pub fn relocations(&self, wanted: impl Fn(u64) -> bool) -> BTreeMap<u64, u64> {
        let (relative, absolute) = match self.header.e_machine {
            header::EM_X86_64 => (reloc::R_X86_64_RELATIVE, reloc::R_X86_64_64),
            header::EM_AARCH64 => (reloc::R_AARCH64_RELATIVE, reloc::R_AARCH64_ABS64),
            _ => return BTreeMap::new(),
        };
        let mut found = BTreeMap::new();
        for section in self.sections.iter().filter(|s| s.kind == sh::SHT_RELA && s.is_alloc()) {
            let Some(data) = self.section_data(section) else { continue };
            let symbols =
                self.sections.get(section.link as usize).filter(|s| s.kind == sh::SHT_DYNSYM);
            let symbols = symbols.and_then(|s| self.section_data(s)).unwrap_or_default();
            let Ok(relocs) = reloc::RelocSection::parse(data, 0, data.len(), true, self.ctx) else {
                continue;
            };
            for r in relocs.iter().filter(|r| wanted(r.r_offset)) {
                let base = match r.r_type {
                    kind if kind == relative => Some(0),
                    kind if kind == absolute => defined(symbols, r.r_sym),
                    _ => None,
                };
                if let Some(base) = base {
                    // An addend is an address here; its sign bit has no meaning of its own.
                    found.insert(r.r_offset, base.wrapping_add(r.r_addend.unwrap_or(0) as u64));
                }
            }
        }
        found
    }

    /// Link-time addresses of the symbols that `wanted` picks and the file defines, of 64-bit files. Where several
    /// have one name, the last one that others may use counts, else the last.
    pub fn symbols(&self, wanted: impl Fn(&[u8]) -> bool) -> BTreeMap<Vec<u8>, u64> {
        let mut found: BTreeMap<Vec<u8>, (bool, u64)> = BTreeMap::new();
        let tables =
            self.sections.iter().filter(|s| matches!(s.kind, sh::SHT_SYMTAB | sh::SHT_DYNSYM));
        for table in tables.filter(|_| self.format() == Format::LE64) {
            let names = self.sections.get(table.link as usize).and_then(|s| self.section_data(s));
            let (Some(names), Some(symbols)) = (names, self.section_data(table)) else { continue };
            for at in 0..symbols.len() / SYMBOL {
                let Some(address) = defined(symbols, at) else { continue };
                let Some(symbol) = symbols.get(at * SYMBOL..(at + 1) * SYMBOL) else { continue };
                let start = symbol.get(..4).map_or(0, LittleEndian::read_u32) as usize;
                let tail = names.get(start..).unwrap_or_default();
                let name = tail.get(..memchr::memchr(0, tail).unwrap_or(0)).unwrap_or_default();
                if name.is_empty() || !wanted(name) {
                    continue;
                }
                // `st_info >> 4` is the binding, 0 for local symbols.
                let global = symbol.get(4).is_some_and(|info| info >> 4 != 0);
                let known = found.entry(name.to_vec()).or_insert((global, address));
                if global || !known.0 {
                    *known = (global, address);
                }
            }
        }
        found.into_iter().map(|(name, (_, address))| (name, address)).collect()
    }

    /// Descriptor of the GNU build id, where there is one.
    pub fn build_id(&self) -> Option<&'a [u8]> {
        let section = self.section(".note.gnu.build-id")?;
        let mut notes = crate::note::NoteIter::new(self.section_data(section)?, self.format());
        while let Ok(Some(note)) = notes.next_note() {
            if note.owner == b"GNU" && note.n_type == 3 {
                return Some(note.desc);
            }
        }
        None
    }
}

/// Bytes of an `Elf64_Sym`: `st_name` at 0, `st_info` at 4, `st_shndx` at 6, `st_value` at 8 (gABI, "Symbol Table").
const SYMBOL: usize = 24;

/// Address of a symbol, if this file defines it.
fn defined(symbols: &[u8], index: usize) -> Option<u64> {
    let symbol = symbols.get(index.checked_mul(SYMBOL)?..)?.get(..SYMBOL)?;
    let section = LittleEndian::read_u16(symbol.get(6..8)?);
    let value = LittleEndian::read_u64(symbol.get(8..16)?);
    (section != 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn own() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn addresses_and_offsets_invert_each_other() {
        let data = own();
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
            ".bss is backed by no file byte"
        );
        let all = view.relocations(|_| true);
        let (place, addend) = all.iter().next().unwrap();
        let one = view.relocations(|at| at == *place);
        assert_eq!((one.len(), one.get(place)), (1, Some(addend)), "test binaries are PIE");
    }

    #[test]
    fn symbols_are_found_by_name() {
        let data = own();
        let view = View::parse(&data).unwrap();
        let found = view.symbols(|name| name == b"main" || name == b"no such symbol");
        let text = view.section(".text").unwrap();
        let main = found[&b"main"[..]];
        assert_eq!(found.len(), 1);
        assert!((text.addr..text.addr + text.size).contains(&main), "{main:#x}");
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        assert_eq!(View::parse(b"#!/bin/sh\n").unwrap_err(), ElfError::NotElf);
        assert_eq!(View::parse(b"").unwrap_err(), ElfError::NotElf);
        let data = own();
        for cut in [20, 100, 4096] {
            let err = View::parse(&data[..cut]).unwrap_err().to_string();
            assert!(err.starts_with("truncated or damaged ELF file"), "{err}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_never_panics(hits in prop::collection::vec((0usize..1024, any::<u8>()), 1..20)) {
            let mut data = own();
            data.truncate(1 << 16);
            for (at, value) in hits { data[at] = value; }
            if let Ok(view) = View::parse(&data) {
                let _ = (view.relocations(|_| true), view.build_id(), view.vaddr_to_offset(0x1000));
            }
        }
    }
}
