//! Locating the function table of a Go binary, and the layout of its versions.

use crate::binary::GoBinary;
use stapsdt::elf::View;
use stapsdt::source::{ScanBudget, Source, for_each_piece};
use std::ops::{ControlFlow, Range};

/// The magic number of Go 1.16 and 1.17.
const MAGIC_1_16: u32 = 0xffff_fffa;
/// The magic number of Go 1.18 and 1.19.
const MAGIC_1_18: u32 = 0xffff_fff0;
/// The magic number of Go 1.20 and later.
const MAGIC_1_20: u32 = 0xffff_fff1;

/// The names of the section. Before Go 1.26, position-independent files have the second one.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// The section into which external linkers merge [`SECTIONS`] of position-independent files.
const MERGED_INTO: &str = ".data.rel.ro";

/// The size of the header in bytes.
const HEADER: u64 = 72;
/// The alignment of the table in bytes (`cmd/link/internal/ld/pcln.go` asks for 32).
const ALIGNMENT: u64 = 8;

/// The position and the layout of a function table. It does not borrow the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLayout {
    /// The file offset of the table.
    pub(crate) offset: u64,
    /// The size in bytes, or a larger number if the end of the table is unknown.
    pub(crate) size: u64,
    /// The link-time address to which function offsets are relative.
    pub(crate) text: u64,
    /// The unit of instruction distances in bytes: 1 on amd64, 4 on arm64.
    pub(crate) quantum: u64,
    /// The number of functions.
    pub(crate) functions: u64,
    /// The offset in the table of the function names.
    pub(crate) names: u64,
    /// The offset in the table of the compilation units' lists of files.
    pub(crate) units: u64,
    /// The offset in the table of the file names.
    pub(crate) files: u64,
    /// The offset in the table of the PC-value tables, such as lines.
    pub(crate) values: u64,
    /// The offset in the table of the function entries.
    pub(crate) entries: u64,
    /// True for Go before 1.18, whose entries have addresses in place of offsets.
    pub(crate) has_addresses: bool,
    /// True for Go 1.20 and newer, which introduced the layout of inlined calls that `inlined_call`
    /// reads.
    pub(crate) has_inlined_calls: bool,
    /// The file offset of `go:func.*`, which has the trees of inlined calls.
    pub(crate) func_data: Option<u64>,
}

/// An entry of the function table.
pub(crate) struct TableEntry {
    /// The link-time address of the function.
    pub(crate) address: u64,
    /// The offset in the table of the function's `_func` struct, as of Go 1.18: with 4 bytes for
    /// the address of the function.
    pub(crate) info: u64,
}

impl TableLayout {
    /// Locates the table. Returns `None` if the file has none, or one of another version.
    pub(crate) fn find<'a, S: Source<'a>>(go: &GoBinary<'a, S>) -> Option<TableLayout> {
        let section = SECTIONS.iter().find_map(|name| go.view.section(name));
        if let Some(section) = section {
            return Self::read(&go.view, section.offset, section.size)?.completed(go);
        }
        // External linkers merge the table into another section, but its symbol remains.
        if let Some(address) = go.symbol_address("runtime.pclntab") {
            let segment = go.view.load_segment(address, 1)?;
            let distance = address - segment.vaddr;
            let offset = segment.offset.checked_add(distance)?;
            return Self::read(&go.view, offset, segment.filesz - distance)?.completed(go);
        }
        // Stripped files have no symbol either.
        find_merged(&go.view)?.completed(go)
    }

    /// Reads the header of the table in a range of the file, without what is elsewhere.
    fn read<'a, S: Source<'a>>(view: &View<'a, S>, offset: u64, size: u64) -> Option<Self> {
        offset.checked_add(size).filter(|end| *end <= view.source().size())?;
        let header = view.bytes_at_offset(offset, size.min(HEADER))?;
        let magic = u32_at(header, 0)?;
        if ![MAGIC_1_16, MAGIC_1_18, MAGIC_1_20].contains(&magic) || header.get(7) != Some(&8) {
            return None;
        }
        let word = |index: usize| u64_at(header, 8 + 8 * index);
        let has_addresses = magic == MAGIC_1_16;
        // Go 1.18 added the start of the code before the offsets.
        let offsets = if has_addresses { 2 } else { 3 };
        Some(TableLayout {
            offset,
            size,
            text: if has_addresses { 0 } else { word(2)? },
            quantum: (*header.get(6)?).into(),
            // Each entry takes 8 bytes or more, so a larger number is damage.
            functions: word(0).filter(|count| *count <= size / 8)?,
            names: word(offsets)?,
            units: word(offsets + 1)?,
            files: word(offsets + 2)?,
            values: word(offsets + 3)?,
            entries: word(offsets + 4)?,
            has_addresses,
            has_inlined_calls: magic == MAGIC_1_20,
            func_data: None,
        })
    }

    /// Returns the layout with what is not in the header.
    fn completed<'a, S: Source<'a>>(self, go: &GoBinary<'a, S>) -> Option<TableLayout> {
        let text = if self.has_addresses { 0 } else { text_start(go, self.offset, self.text)? };
        let func_data = if self.has_inlined_calls { func_data_offset(go) } else { None };
        Some(TableLayout { text, func_data, ..self })
    }

    /// Returns true if the parts are in the linker's order and not empty.
    fn is_plausible(&self) -> bool {
        let parts = [self.names, self.units, self.files, self.values, self.entries];
        self.functions > 0
            && self.names >= HEADER - 8
            && parts.is_sorted_by(|a, b| a < b)
            && self.entries.checked_add(self.entry_size()).is_some_and(|end| end <= self.size)
    }

    /// Returns the size of an entry in bytes.
    pub(crate) fn entry_size(&self) -> u64 {
        if self.has_addresses { 16 } else { 8 }
    }

    /// Returns the link-time address of the entry at an index; `None` if the table is not loaded.
    pub(crate) fn address_of_entry<'a, S: Source<'a>>(
        &self,
        view: &View<'a, S>,
        index: u64,
    ) -> Option<u64> {
        let at = self.entries.checked_add(index.checked_mul(self.entry_size())?)?;
        view.offset_to_vaddr(self.offset)?.checked_add(at)
    }

    /// Decodes an entry; `None` if it is too short, or if it refers to an address beyond the largest
    /// number.
    pub(crate) fn entry(&self, entry: &[u8]) -> Option<TableEntry> {
        let (address, info) = if self.has_addresses {
            // The structs have 8 bytes for the address of the function. The entry after the last
            // function has no struct.
            (u64_at(entry, 0)?, u64_at(entry, 8).unwrap_or(u64::MAX).saturating_add(4))
        } else {
            (u32_at(entry, 0)?.into(), u32_at(entry, 4)?.into())
        };
        let address = self.text.checked_add(address)?;
        Some(TableEntry { address, info: self.entries.saturating_add(info) })
    }
}

/// Finds the table by the magic number of its header, in the section that an external linker merged
/// it into or, without section headers, in the data segments.
fn find_merged<'a, S: Source<'a>>(view: &View<'a, S>) -> Option<TableLayout> {
    /// The number of headers to try: the bytes of one can occur elsewhere.
    const MAX_CANDIDATES: usize = 16;
    let mut budget = ScanBudget::for_file(view.source().size());
    let ranges: Vec<Range<u64>> = if view.sections.is_empty() {
        let segments = view.segments.iter().filter(|s| s.is_load() && !s.is_executable());
        segments.filter_map(|s| Some(s.offset..s.offset.checked_add(s.filesz)?)).collect()
    } else {
        let section = view.section(MERGED_INTO)?;
        Vec::from_iter(section.offset.checked_add(section.size).map(|end| section.offset..end))
    };
    let mut tried = 0;
    for range in ranges.into_iter().filter(|r| budget.take(r.end - r.start)) {
        let mut candidates = Vec::new();
        // The linker aligns the table in memory, and segments are aligned alike in the file.
        for_each_piece(view.source(), range.clone(), ALIGNMENT as usize, |offset, piece| {
            candidates.extend(
                (0..piece.len())
                    .step_by(ALIGNMENT as usize)
                    .map(|at| at + (offset.wrapping_neg() % ALIGNMENT) as usize)
                    .filter(|at| piece.get(*at..).is_some_and(starts_header))
                    .map(|at| offset + at as u64),
            );
            if candidates.len() > MAX_CANDIDATES {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        candidates.dedup();
        for offset in candidates {
            tried += 1;
            let layout = TableLayout::read(view, offset, range.end - offset);
            if let Some(layout) = layout.filter(TableLayout::is_plausible) {
                return Some(layout);
            }
            if tried > MAX_CANDIDATES {
                return None;
            }
        }
    }
    None
}

/// Returns true if data starts as a header does: magic, two zeros, quantum, pointer size.
fn starts_header(data: &[u8]) -> bool {
    matches!(data, [0xf0 | 0xf1 | 0xfa, 0xff, 0xff, 0xff, 0, 0, 1 | 4, 8, ..])
}

/// Returns the address `runtime.text`, from the word of the header at `table` if it has it, else
/// from its symbol, else from `runtime.moduledata`, else the start of `.text`.
fn text_start<'a, S: Source<'a>>(go: &GoBinary<'a, S>, table: u64, stored: u64) -> Option<u64> {
    /// The offset of `textStart` in the header.
    const TEXT_START: u64 = 24;
    /// The index of the word `moduledata.text`.
    const TEXT: u64 = 22;
    // In position-independent files, the dynamic loader may fill it in.
    let relocated = || {
        let place = go.view.offset_to_vaddr(table.checked_add(TEXT_START)?)?;
        relocated_word(&go.view, place)
    };
    let section = || go.view.section(".text").map(|s| s.addr);
    // Since Go 1.26, the header does not have it.
    Some(stored)
        .filter(|text| *text != 0)
        .or_else(|| go.symbol_address("runtime.text"))
        .or_else(|| moduledata_word(&go.view, TEXT))
        .or_else(relocated)
        .or_else(section)
}

/// Returns the file offset of `go:func.*`, from its symbol or from `runtime.moduledata`.
fn func_data_offset<'a, S: Source<'a>>(go: &GoBinary<'a, S>) -> Option<u64> {
    /// The index of the word `moduledata.gofunc`.
    const GOFUNC: u64 = 40;
    let symbol = go.symbol_address("go:func.*");
    go.view.vaddr_to_offset(symbol.or_else(|| moduledata_word(&go.view, GOFUNC))?)
}

/// Returns a word of `runtime.moduledata`, whose section has a name since Go 1.26.
fn moduledata_word<'a, S: Source<'a>>(view: &View<'a, S>, index: u64) -> Option<u64> {
    let module = view.section(".go.module")?;
    let at = 8 * index;
    if at.checked_add(8)? > module.size {
        return None;
    }
    let stored = u64_at(view.bytes_at_offset(module.offset.checked_add(at)?, 8)?, 0)?;
    if stored != 0 {
        return Some(stored);
    }
    // In position-independent files, the dynamic loader fills it in.
    relocated_word(view, module.addr.checked_add(at)?)
}

/// Returns the address that the dynamic loader writes to a place; `None` if it writes none.
pub(crate) fn relocated_word<'a, S: Source<'a>>(view: &View<'a, S>, address: u64) -> Option<u64> {
    view.relocations(|place| place == address).get(&address).copied()
}

pub(crate) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk::<4>().map(|raw| u32::from_le_bytes(*raw))
}

pub(crate) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..)?.first_chunk::<8>().map(|raw| u64::from_le_bytes(*raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{HEADERS, file};
    use proptest::prelude::*;

    /// Returns the header of a table with two functions.
    fn header(magic: u32, text: Option<u64>) -> Vec<u8> {
        let mut out = magic.to_le_bytes().to_vec();
        out.extend([0, 0, 1, 8]);
        let offsets = [80u64, 88, 96, 104, 112];
        let words = [2, 1].into_iter().chain(text).chain(offsets);
        out.extend(words.flat_map(u64::to_le_bytes));
        out.resize(256, 0);
        out
    }

    #[test]
    fn finds_a_merged_table_by_its_header() {
        for (magic, text) in [(MAGIC_1_16, None), (MAGIC_1_18, Some(5)), (MAGIC_1_20, Some(5))] {
            // The magic number of something else comes before it.
            let mut data = magic.to_le_bytes().to_vec();
            data.extend([0, 0, 1, 8]);
            data.resize(100 * 1024, 0x41);
            let start = (HEADERS + data.len()) as u64;
            data.extend(header(magic, text));
            let file = file(&data);
            let view = View::parse(&file).unwrap();
            let found = find_merged(&view).unwrap();
            assert_eq!((found.offset, found.functions, found.entries), (start, 2, 112));
            assert_eq!((found.has_addresses, found.text), (text.is_none(), text.unwrap_or(0)));
        }
    }

    #[test]
    fn rejects_headers_whose_parts_are_out_of_order() {
        let mut data = header(MAGIC_1_18, Some(0));
        data[8 + 8 * 4] = 0;
        let file = file(&data);
        assert_eq!(find_merged(&View::parse(&file).unwrap()), None);
    }

    proptest! {
        #[test]
        fn accepts_any_data(at in 0usize..256, with: u8, cut in 0usize..256) {
            let mut data = header(MAGIC_1_20, Some(1));
            data[at] = with;
            data.truncate(cut);
            let file = file(&data);
            if let Ok(view) = View::parse(&file) {
                let _ = find_merged(&view);
            }
        }
    }
}
