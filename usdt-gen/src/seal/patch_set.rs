//! Changes to a file that leave most of it as it is: what is overwritten, and what comes behind it.
//!
//! A patch set is small however large the file is. Applying it reads the old file through the mapping a piece at a
//! time and writes only what changes, so the copy itself can be left to the kernel.

use byteorder::{ByteOrder, LittleEndian};
use stapsdt::elf::View;
use std::io;
use std::ops::Range;

/// Symbols that are read and rewritten at a time.
const CHUNK: usize = 4096;
/// Bytes of an `Elf64_Sym`, and where `st_shndx` and `st_value` are in it (gABI, "Symbol Table").
const SYMBOL: usize = 24;
const SECTION: Range<usize> = 6..8;
const VALUE: Range<usize> = 8..16;

/// Changes of a file.
#[derive(Debug, Default)]
pub struct PatchSet {
    /// Bytes of the old file that stay where they are.
    keep: u64,
    /// Overwritten pieces: offset, bytes.
    patches: Vec<(u64, Vec<u8>)>,
    /// Zeroed piece: offset, length.
    freed: Option<(u64, u64)>,
    tail: Vec<u8>,
    symbols: Vec<Symbols>,
    index: Index,
}

/// A symbol table in the old file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbols {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Symbols of a section that now belong to another row: old section index, address range.
#[derive(Clone, Debug)]
pub(super) struct Moved {
    pub(super) old: usize,
    pub(super) range: Range<u64>,
}

/// Old section index to new.
#[derive(Debug, Default)]
pub(super) struct Index {
    map: Vec<Option<u16>>,
    /// What moved, and the row it moved to.
    moved: Option<(Moved, usize)>,
}

impl Index {
    /// `rows` has the old index of each new row.
    pub(super) fn new(
        rows: impl Iterator<Item = Option<usize>>,
        old_count: usize,
        moved: Option<(Moved, usize)>,
    ) -> Index {
        let mut map = vec![None; old_count];
        for (new, old) in (0u16..).zip(rows) {
            if let Some(slot) = old.and_then(|old| map.get_mut(old)) {
                *slot = Some(new);
            }
        }
        Index { map, moved }
    }

    pub(super) fn get(&self, old: usize) -> Option<u16> {
        self.map.get(old).copied().flatten()
    }

    /// The new section of a symbol. One of a section that is gone (an outdated note section has none) stays
    /// absolute in effect, and the reserved indices are in no table.
    fn of_symbol(&self, section: u16, value: u64) -> Option<u16> {
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
        PatchSet { keep: view.data().len() as u64, ..PatchSet::default() }
    }

    /// Zeroes a piece, or cuts it off where it ends the file.
    pub(super) fn free(&mut self, offset: u64, size: u64) {
        if offset + size == self.keep {
            self.keep = offset;
        } else {
            self.freed = Some((offset, size));
        }
    }

    pub(super) fn patch(&mut self, offset: u64, bytes: Vec<u8>) {
        self.patches.push((offset, bytes));
    }

    /// Adds bytes behind the file; returns their offset.
    pub(super) fn append(&mut self, bytes: &[u8], align: u64) -> u64 {
        let end = self.keep + self.tail.len() as u64;
        let offset = end.next_multiple_of(align);
        self.tail.resize(self.tail.len() + (offset - end) as usize, 0);
        self.tail.extend_from_slice(bytes);
        offset
    }

    pub(super) fn symbols(&mut self, table: Symbols) {
        self.symbols.push(table);
    }

    pub(super) fn reindex(&mut self, index: Index) {
        self.index = index;
    }

    /// Bytes of the old file that stay where they are, but for what is overwritten.
    pub fn kept(&self) -> u64 {
        self.keep
    }

    /// Hands every change to `section_table`, as offset and bytes. `old` is the file that the patches are for.
    pub fn apply(
        &self,
        old: &[u8],
        write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if let Some((offset, size)) = self.freed {
            write(offset, &vec![0; usize::try_from(size).unwrap_or(0)])?;
        }
        for (offset, bytes) in &self.patches {
            write(*offset, bytes)?;
        }
        for table in &self.symbols {
            self.apply_symbols(old, *table, write)?;
        }
        write(self.keep, &self.tail)
    }

    fn apply_symbols(
        &self,
        old: &[u8],
        table: Symbols,
        write: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let start = usize::try_from(table.offset).unwrap_or(usize::MAX);
        let size = usize::try_from(table.size).unwrap_or(0);
        let bytes = old.get(start..).and_then(|b| b.get(..size)).unwrap_or_default();
        let mut offset = table.offset;
        for chunk in bytes.chunks(CHUNK * SYMBOL) {
            let mut new = chunk.to_vec();
            for symbol in new.chunks_exact_mut(SYMBOL) {
                let (section, value) = (
                    LittleEndian::read_u16(&symbol[SECTION]),
                    LittleEndian::read_u64(&symbol[VALUE]),
                );
                if let Some(section) = self.index.of_symbol(section, value) {
                    LittleEndian::write_u16(&mut symbol[SECTION], section);
                }
            }
            if new != chunk {
                write(offset, &new)?;
            }
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// The patched file in memory.
    pub fn to_vec(&self, old: &[u8]) -> Vec<u8> {
        let mut out =
            old.get(..usize::try_from(self.keep).unwrap_or(0)).unwrap_or_default().to_vec();
        // Writing to memory has no failing case, and every offset is inside the file or right behind it.
        let _ = self.apply(old, &mut |offset, bytes| {
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
