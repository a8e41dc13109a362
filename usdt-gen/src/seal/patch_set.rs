//! Changes to a file that leave most of it unchanged: overwritten bytes and appended bytes.
//!
//! The size of a patch set does not depend on the size of the file. Applying it reads the old file
//! in chunks and writes only changed bytes, so that the kernel can do the copying.

use byteorder::{ByteOrder, LittleEndian};
use stapsdt::elf::View;
use std::io;
use std::ops::Range;

/// The number of symbols that are read and rewritten at a time.
const CHUNK: usize = 4096;
/// The size of an `Elf64_Sym` in bytes (gABI, "Symbol Table").
const SYMBOL_SIZE: usize = 24;
/// The bytes of `st_shndx` in an `Elf64_Sym`.
const ST_SHNDX: Range<usize> = 6..8;
/// The bytes of `st_value` in an `Elf64_Sym`.
const ST_VALUE: Range<usize> = 8..16;

/// Changes that turn one file into another.
#[derive(Debug, Default)]
pub struct PatchSet {
    /// The length of the old file's prefix that stays in place.
    kept_len: u64,
    overwritten: Vec<Overwrite>,
    zeroed: Option<ZeroedRange>,
    /// The bytes after the prefix.
    appended: Vec<u8>,
    symbol_tables: Vec<SymbolTable>,
    section_indices: SectionIndexMap,
}

/// Bytes to write at a file offset.
#[derive(Debug)]
struct Overwrite {
    offset: u64,
    bytes: Vec<u8>,
}

/// A range of the file to fill with zeros.
#[derive(Debug)]
struct ZeroedRange {
    offset: u64,
    size: u64,
}

/// A symbol table in the old file, by file offset and size in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SymbolTable {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// An address range whose symbols now belong to another section.
#[derive(Clone, Debug)]
pub(super) struct MovedRange {
    /// The index of the section in the old table.
    pub(super) old: usize,
    pub(super) range: Range<u64>,
}

/// A map from old to new section indices.
#[derive(Debug, Default)]
pub(super) struct SectionIndexMap {
    map: Vec<Option<u16>>,
    /// The range that moved, and the new index of the section that it moved to.
    moved: Option<(MovedRange, usize)>,
}

impl SectionIndexMap {
    /// Builds the map. `rows` yields the old index of each new section.
    pub(super) fn new(
        rows: impl Iterator<Item = Option<usize>>,
        old_count: usize,
        moved: Option<(MovedRange, usize)>,
    ) -> SectionIndexMap {
        let mut map = vec![None; old_count];
        for (new, old) in (0u16..).zip(rows) {
            if let Some(slot) = old.and_then(|old| map.get_mut(old)) {
                *slot = Some(new);
            }
        }
        SectionIndexMap { map, moved }
    }

    pub(super) fn get(&self, old: usize) -> Option<u16> {
        self.map.get(old).copied().flatten()
    }

    /// Returns the new section index of a symbol with an old index and a value. `None` leaves the
    /// symbol unchanged: its index is reserved, or its section is gone, which only note sections
    /// can be.
    fn get_for_symbol(&self, section: u16, value: u64) -> Option<u16> {
        let old = usize::from(section);
        if old == 0 {
            return None;
        }
        if let Some((moved, row)) = &self.moved
            && moved.old == old
            && moved.range.contains(&value)
        {
            return u16::try_from(*row).ok();
        }
        self.get(old)
    }
}

impl PatchSet {
    pub(super) fn new(view: &View<'_>) -> PatchSet {
        PatchSet { kept_len: view.data().len() as u64, ..PatchSet::default() }
    }

    /// Fills a range with zeros, or cuts it off if it is at the end of the file.
    pub(super) fn zero(&mut self, offset: u64, size: u64) {
        if offset + size == self.kept_len {
            self.kept_len = offset;
        } else {
            self.zeroed = Some(ZeroedRange { offset, size });
        }
    }

    /// Overwrites bytes at a file offset.
    pub(super) fn patch(&mut self, offset: u64, bytes: Vec<u8>) {
        self.overwritten.push(Overwrite { offset, bytes });
    }

    /// Appends bytes to the file and returns their offset, which is a multiple of `align`.
    pub(super) fn append(&mut self, bytes: &[u8], align: u64) -> u64 {
        let end = self.kept_len + self.appended.len() as u64;
        let offset = end.next_multiple_of(align);
        self.appended.resize(self.appended.len() + (offset - end) as usize, 0);
        self.appended.extend_from_slice(bytes);
        offset
    }

    /// Marks a symbol table whose section indices have to be adjusted.
    pub(super) fn rewrite_symbols(&mut self, table: SymbolTable) {
        self.symbol_tables.push(table);
    }

    /// Sets the new section indices for the symbol tables.
    pub(super) fn set_section_indices(&mut self, indices: SectionIndexMap) {
        self.section_indices = indices;
    }

    /// Returns the length in bytes of the old file's prefix that stays in place. The new file
    /// starts with it, apart from overwritten bytes.
    pub(super) fn kept_len(&self) -> u64 {
        self.kept_len
    }

    /// Calls `write` with the offset and the bytes of every change.
    ///
    /// `read` fills a buffer with bytes of the old file from an offset. It may read the file that
    /// `write` changes, as no change overlaps a symbol table.
    ///
    /// # Errors
    ///
    /// Returns the first error of `read` or `write`.
    pub(super) fn write_to(
        &self,
        read: &dyn Fn(u64, &mut [u8]) -> io::Result<()>,
        write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some(range) = &self.zeroed {
            write(range.offset, &vec![0; usize::try_from(range.size).unwrap_or(0)])?;
        }
        for one in &self.overwritten {
            write(one.offset, &one.bytes)?;
        }
        for table in &self.symbol_tables {
            self.write_symbols(read, *table, write)?;
        }
        write(self.kept_len, &self.appended)
    }

    fn write_symbols(
        &self,
        read: &dyn Fn(u64, &mut [u8]) -> io::Result<()>,
        table: SymbolTable,
        write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK * SYMBOL_SIZE];
        let end = table.offset.saturating_add(table.size);
        let mut offset = table.offset;
        while offset < end {
            let size = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
            let chunk = buffer.get_mut(..size).unwrap_or_default();
            read(offset, chunk)?;
            let mut new = chunk.to_vec();
            for symbol in new.chunks_exact_mut(SYMBOL_SIZE) {
                let (section, value) = (
                    LittleEndian::read_u16(&symbol[ST_SHNDX]),
                    LittleEndian::read_u64(&symbol[ST_VALUE]),
                );
                if let Some(section) = self.section_indices.get_for_symbol(section, value) {
                    LittleEndian::write_u16(&mut symbol[ST_SHNDX], section);
                }
            }
            if new != chunk {
                write(offset, &new)?;
            }
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// Returns the new file. `old` is the unchanged file.
    pub fn to_vec(&self, old: &[u8]) -> Vec<u8> {
        let mut out =
            old.get(..usize::try_from(self.kept_len).unwrap_or(0)).unwrap_or_default().to_vec();
        // Memory cannot fail, and every offset is inside the file or at its end.
        let read = |offset: u64, buffer: &mut [u8]| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let bytes = old.get(start..).and_then(|b| b.get(..buffer.len()));
            buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        };
        let _ = self.write_to(&read, &mut |offset, bytes| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(bytes.len());
            if end > out.len() && start <= out.len() {
                out.resize(end, 0);
            }
            if let Some(place) = out.get_mut(start..end) {
                place.copy_from_slice(bytes);
            }
            Ok(())
        });
        out
    }
}
