//! Functions and lines of a Go binary, from the function table (pclntab) that the runtime uses
//! (`internal/abi.PCHeader`, `runtime/symtab.go`).
//!
//! Stripped binaries have it, too. Tables of Go 1.18 and later are supported.
//!
//! ```no_run
//! let data = std::fs::read("/usr/local/bin/app")?;
//! let layout = gobinary::GoBinary::parse(&data).and_then(|go| go.function_table());
//! if let Some(table) = layout.as_ref().and_then(|layout| layout.table(&data)) {
//!     let address = 0x48_1234;
//!     if let Some(function) = table.lookup(address) {
//!         for frame in table.frames(&function, address) {
//!             println!("{} {:?}", frame.function, frame.line);
//!         }
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The magic number of Go 1.18 and 1.19.
const MAGIC_1_18: u32 = 0xffff_fff0;
/// The magic number of Go 1.20 and later.
const MAGIC_1_20: u32 = 0xffff_fff1;

/// The names of the section. Before Go 1.26, position-independent files have the second one.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// The position and the layout of a function table. It does not borrow the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLayout {
    /// The file offset of the table.
    offset: u64,
    /// The size in bytes.
    size: u64,
    /// The link-time address to which function offsets are relative.
    text: u64,
    /// The unit of instruction distances in bytes: 1 on amd64, 4 on arm64.
    quantum: u64,
    /// The number of functions.
    functions: usize,
    /// The offset in the table of the function names.
    names: usize,
    /// The offset in the table of the compilation units' lists of files.
    units: usize,
    /// The offset in the table of the file names.
    files: usize,
    /// The offset in the table of the PC-value tables, such as lines.
    values: usize,
    /// The offset in the table of the function entries.
    entries: usize,
    /// The file offset of `go:func.*`, which has the trees of inlined calls.
    func_data: Option<usize>,
}

/// A function table, for look-ups.
#[derive(Clone, Copy, Debug)]
pub struct FunctionTable<'a> {
    file: &'a [u8],
    table: &'a [u8],
    layout: TableLayout,
}

/// A function of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// The name as Go's tools print it: `net/http.(*conn).serve`.
    pub name: &'a str,
    /// The link-time address of the function's first instruction.
    pub entry: u64,
    /// The offset in the table of the function's `_func` struct.
    info: usize,
}

/// A source line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The path of the file as the compiler recorded it.
    pub file: &'a str,
    /// The line number, from 1.
    pub line: u32,
}

/// A frame at an address: an inlined function, or the function it is inlined into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The function's name as Go's tools print it.
    pub function: &'a str,
    /// The line in the function; `None` if the table has none for the address.
    pub line: Option<Line<'a>>,
}

impl TableLayout {
    /// Locates the table. Returns `None` if the file has none, or one of another version.
    pub(crate) fn find(file: &ElfFile64<'_>) -> Option<TableLayout> {
        let section = SECTIONS.iter().find_map(|name| file.section_by_name(name));
        // External linkers merge the table into another section, but its symbol remains.
        let (offset, size) = section.and_then(|s| s.file_range()).or_else(|| {
            let position = file_position(file, symbol_address(file, b"runtime.pclntab")?)?;
            Some((position.offset, position.segment_end.checked_sub(position.offset)?))
        })?;
        let start = usize::try_from(offset).ok()?;
        let table = file.data().get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
        let magic = u32_at(table, 0)?;
        if ![MAGIC_1_18, MAGIC_1_20].contains(&magic) || table.get(7) != Some(&8) {
            return None;
        }
        let header_word = |index: usize| u64_at(table, 8 + 8 * index);
        let header_offset = |index: usize| usize::try_from(header_word(index)?).ok();
        Some(TableLayout {
            offset,
            size,
            // Since Go 1.26, only `runtime.moduledata` has the address.
            text: header_word(2).filter(|text| *text != 0).or_else(|| text_start(file))?,
            quantum: (*table.get(6)?).into(),
            // Each entry takes 8 bytes, so a larger number is damage.
            functions: header_offset(0).filter(|count| *count <= table.len() / 8)?,
            names: header_offset(3)?,
            units: header_offset(4)?,
            files: header_offset(5)?,
            values: header_offset(6)?,
            entries: header_offset(7)?,
            // Go 1.20 introduced the layout of inlined calls that `inlined_call` reads.
            func_data: if magic == MAGIC_1_20 { func_data_offset(file) } else { None },
        })
    }

    /// Returns the table in `file`, which must be the file that the layout was found in. `None` if
    /// the file is shorter.
    pub fn table<'a>(&self, file: &'a [u8]) -> Option<FunctionTable<'a>> {
        let start = usize::try_from(self.offset).ok()?;
        let table = file.get(start..start.checked_add(usize::try_from(self.size).ok()?)?)?;
        Some(FunctionTable { file, table, layout: *self })
    }
}

/// Returns the address `runtime.text`: from its symbol, else from `runtime.moduledata`, else the
/// start of `.text`.
fn text_start(file: &ElfFile64<'_>) -> Option<u64> {
    /// The index of the word `moduledata.text`.
    const TEXT: usize = 22;
    let section = || file.section_by_name(".text").map(|s| s.address());
    symbol_address(file, b"runtime.text").or_else(|| moduledata_word(file, TEXT)).or_else(section)
}

/// Returns the file offset of `go:func.*`, from its symbol or from `runtime.moduledata`.
fn func_data_offset(file: &ElfFile64<'_>) -> Option<usize> {
    /// The index of the word `moduledata.gofunc`.
    const GOFUNC: usize = 40;
    let address = symbol_address(file, b"go:func.*").or_else(|| moduledata_word(file, GOFUNC))?;
    usize::try_from(file_position(file, address)?.offset).ok()
}

/// The position of an address in the file.
pub(crate) struct FilePosition {
    /// The file offset of the address.
    pub(crate) offset: u64,
    /// The file offset of the end of its segment.
    pub(crate) segment_end: u64,
}

/// Returns the position of a link-time address in the file; `None` if the file does not back it.
pub(crate) fn file_position(file: &ElfFile64<'_>, address: u64) -> Option<FilePosition> {
    file.segments().find_map(|segment| {
        let (start, size) = segment.file_range();
        let distance = address.checked_sub(segment.address()).filter(|d| *d < size)?;
        Some(FilePosition {
            offset: start.checked_add(distance)?,
            segment_end: start.checked_add(size)?,
        })
    })
}

/// Returns the link-time address of a symbol; `None` if the file is stripped or does not have it.
pub(crate) fn symbol_address(file: &ElfFile64<'_>, name: &[u8]) -> Option<u64> {
    file.symbols().find(|s| s.name_bytes() == Ok(name)).map(|s| s.address())
}

/// Returns a word of `runtime.moduledata`, whose section has a name since Go 1.26.
fn moduledata_word(file: &ElfFile64<'_>, index: usize) -> Option<u64> {
    let module = file.section_by_name(".go.module")?;
    let stored = u64_at(module.data().ok()?, 8 * index)?;
    if stored != 0 {
        return Some(stored);
    }
    // In position-independent files, the dynamic loader fills it in.
    let at = module.address() + 8 * index as u64;
    let mut relocations = file.dynamic_relocations()?;
    relocations
        .find(|(address, _)| *address == at)
        .map(|(_, relocation)| relocation.addend() as u64)
}

/// An entry of the function table.
struct TableEntry {
    /// The link-time address of the function.
    address: u64,
    /// The offset in the table of the function's `_func` struct.
    info: usize,
}

/// A call that the compiler inlined.
struct InlinedCall<'a> {
    /// The inlined function.
    name: &'a str,
    /// An address at the call in the calling function.
    call_address: u64,
}

impl<'a> FunctionTable<'a> {
    /// Returns the functions by address. Damaged entries are skipped.
    pub fn functions(&self) -> impl Iterator<Item = Function<'a>> {
        (0..self.layout.functions).filter_map(|index| self.get(index))
    }

    /// Returns an entry of the table. The entry after the last function is the end of that
    /// function.
    fn entry(&self, index: usize) -> Option<TableEntry> {
        let at = self.layout.entries.checked_add(index.checked_mul(8)?)?;
        let distance = u64::from(u32_at(self.table, at)?);
        let info = u32_at(self.table, at + 4)? as usize;
        Some(TableEntry {
            address: self.layout.text.checked_add(distance)?,
            info: self.layout.entries.checked_add(info)?,
        })
    }

    /// Returns the function at an index; `None` if the index is out of range or the entry is
    /// damaged.
    fn get(&self, index: usize) -> Option<Function<'a>> {
        if index >= self.layout.functions {
            return None;
        }
        let TableEntry { address, info } = self.entry(index)?;
        let name = u32_at(self.table, info.checked_add(4)?)? as usize;
        Some(Function {
            name: string_at(self.table, self.layout.names.checked_add(name)?)?,
            entry: address,
            info,
        })
    }

    /// Returns the address ranges of the functions with these names, in one pass over the table.
    pub(crate) fn ranges_of<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> HashMap<&'n str, Range<u64>> {
        let wanted: HashSet<&str> = names.into_iter().collect();
        let find_range = |index: usize| {
            let function = self.get(index)?;
            let name = *wanted.get(function.name)?;
            let end = self.entry(index + 1).map_or(function.entry, |next| next.address);
            Some((name, function.entry..end))
        };
        (0..self.layout.functions).filter_map(find_range).collect()
    }

    /// Returns the function that contains a link-time address; `None` if no function does.
    pub fn lookup(&self, address: u64) -> Option<Function<'a>> {
        let end = self.entry(self.layout.functions).map_or(u64::MAX, |last| last.address);
        if address >= end {
            return None;
        }
        let (mut low, mut high) = (0, self.layout.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.address <= address { low = middle + 1 } else { high = middle }
        }
        self.get(low.checked_sub(1)?)
    }

    /// Returns the source line of an address in a function; `None` if the table has none for it.
    ///
    /// For an address in an inlined function, it is the line in the inlined function.
    fn line(&self, function: &Function<'a>, address: u64) -> Option<Line<'a>> {
        let field = |index: usize| u32_at(self.table, function.info.checked_add(4 * index)?);
        let (file_table, line_table, unit) = (field(5)?, field(6)?, field(8)?);
        let line = u32::try_from(self.pc_value(line_table, function.entry, address)?).ok()?;
        let number = u32::try_from(self.pc_value(file_table, function.entry, address)?).ok()?;
        let index = (unit as usize).checked_add(number as usize)?.checked_mul(4)?;
        let name = u32_at(self.table, self.layout.units.checked_add(index)?)? as usize;
        Some(Line { file: string_at(self.table, self.layout.files.checked_add(name)?)?, line })
    }

    /// Returns the frames of an address in a function, innermost first: the inlined functions at
    /// the address, then the function itself.
    pub fn frames(&self, function: &Function<'a>, address: u64) -> Vec<Frame<'a>> {
        /// The depth limit, which no compiler reaches.
        const MAX_DEPTH: usize = 64;
        let mut out = Vec::new();
        let mut at = address;
        while out.len() < MAX_DEPTH
            && let Some(call) = self.inlined_call(function, at)
        {
            out.push(Frame { function: call.name, line: self.line(function, at) });
            at = call.call_address;
        }
        out.push(Frame { function: function.name, line: self.line(function, at) });
        out
    }

    /// Returns the innermost inlined call at an address (`runtime.inlinedCall`); `None` if there is
    /// none.
    fn inlined_call(&self, function: &Function<'a>, address: u64) -> Option<InlinedCall<'a>> {
        /// `internal/abi.PCDATA_InlTreeIndex`.
        const INL_TREE_INDEX: usize = 2;
        /// `internal/abi.FUNCDATA_InlTree`.
        const INL_TREE: usize = 3;
        /// The size of `runtime._func` in bytes. The offsets of the PC-value tables follow it.
        const FUNC_SIZE: usize = 44;
        /// The size of `runtime.inlinedCall` in bytes.
        const CALL_SIZE: usize = 16;
        let info = function.info;
        let pc_data_count = u32_at(self.table, info.checked_add(28)?)? as usize;
        let func_data_count = usize::from(*self.table.get(info.checked_add(43)?)?);
        if pc_data_count <= INL_TREE_INDEX || func_data_count <= INL_TREE {
            return None;
        }
        let table = u32_at(self.table, info.checked_add(FUNC_SIZE + 4 * INL_TREE_INDEX)?)?;
        let tree_at =
            FUNC_SIZE.checked_add(pc_data_count.checked_add(INL_TREE)?.checked_mul(4)?)?;
        let tree = u32_at(self.table, info.checked_add(tree_at)?)?;
        if table == 0 || tree == u32::MAX {
            return None;
        }
        let index = usize::try_from(self.pc_value(table, function.entry, address)?).ok()?;
        let call = self
            .layout
            .func_data?
            .checked_add(tree as usize)?
            .checked_add(CALL_SIZE.checked_mul(index)?)?;
        let name = u32_at(self.file, call.checked_add(4)?)? as usize;
        let caller = u32_at(self.file, call.checked_add(8)?)?;
        let name = string_at(self.table, self.layout.names.checked_add(name)?)?;
        Some(InlinedCall { name, call_address: function.entry.checked_add(u64::from(caller))? })
    }

    /// Returns the value of a PC-value table at an address (`runtime.pcvalue`).
    fn pc_value(&self, table: u32, entry: u64, address: u64) -> Option<i32> {
        let mut at = self.layout.values.checked_add(table as usize)?;
        let (mut value, mut pc) = (-1i32, entry);
        let mut first = true;
        loop {
            let difference = self.read_varint(&mut at)?;
            if difference == 0 && !first {
                return None;
            }
            first = false;
            value = value.wrapping_add(((difference >> 1) as i32) ^ -((difference & 1) as i32));
            let distance = self.read_varint(&mut at)?;
            pc = pc.checked_add(u64::from(distance) * self.layout.quantum)?;
            if address < pc {
                return Some(value);
            }
        }
    }

    /// Reads an unsigned LEB128 number and advances `at`.
    fn read_varint(&self, at: &mut usize) -> Option<u32> {
        let mut out = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = *self.table.get(*at)?;
            *at += 1;
            out |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(out);
            }
        }
        None
    }
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk::<4>().map(|raw| u32::from_le_bytes(*raw))
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..)?.first_chunk::<8>().map(|raw| u64::from_le_bytes(*raw))
}

/// Returns the NUL-terminated string at an offset; `None` if it is not UTF-8 or too long.
fn string_at(data: &[u8], at: usize) -> Option<&str> {
    const MAX_LEN: usize = 1 << 16;
    let rest = data.get(at..)?;
    let rest = rest.get(..MAX_LEN.min(rest.len()))?;
    std::str::from_utf8(rest.get(..memchr::memchr(0, rest)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns a table of two functions, at 0x1000 and 0x1040, which end at 0x1080.
    fn table() -> (Vec<u8>, TableLayout) {
        let mut data = vec![0u8; 72];
        let names = data.len();
        data.extend(b"main.main\0main.work\0");
        let files = data.len();
        data.extend(b"/src/main.go\0");
        let units = data.len();
        data.extend(0u32.to_le_bytes());
        // PC-value tables: file 0 everywhere, line 10 and, after 16 bytes, line 12.
        let values = data.len();
        data.push(0);
        let file_table = (data.len() - values) as u32;
        data.extend([2, 0x40, 0]);
        let line_table = (data.len() - values) as u32;
        data.extend([22, 0x10, 4, 0x30, 0]);
        data.resize(data.len().next_multiple_of(4), 0);
        let entries = data.len();
        let info = |name: u32| {
            let fields = [0u32, name, 0, 0, 0, file_table, line_table, 0, 0];
            fields.iter().flat_map(|f| f.to_le_bytes()).collect::<Vec<u8>>()
        };
        for (entry, at) in [(0u32, 24u32), (0x40, 24 + 36), (0x80, 0)] {
            data.extend(entry.to_le_bytes());
            data.extend(at.to_le_bytes());
        }
        data.extend(info(0));
        data.extend(info(10));
        let size = data.len() as u64;
        let layout = TableLayout {
            offset: 0,
            size,
            text: 0x1000,
            quantum: 1,
            functions: 2,
            names,
            units,
            files,
            values,
            entries,
            func_data: Some(0),
        };
        (data, layout)
    }

    #[test]
    fn finds_functions_and_lines() {
        let (data, layout) = table();
        let functions = layout.table(&data).unwrap();
        let at = |address| {
            let function = functions.lookup(address)?;
            Some((function.name, functions.line(&function, address).map(|l| (l.file, l.line))))
        };
        assert_eq!(at(0xfff), None);
        assert_eq!(at(0x1000), Some(("main.main", Some(("/src/main.go", 10)))));
        assert_eq!(at(0x1010), Some(("main.main", Some(("/src/main.go", 12)))));
        assert_eq!(at(0x107f), Some(("main.work", Some(("/src/main.go", 12)))));
        assert_eq!(at(0x1080), None);
        assert_eq!(functions.get(1).map(|f| f.entry), Some(0x1040));
        assert_eq!(functions.get(2), None);
    }

    proptest! {
        #[test]
        fn accepts_any_table(at in 0usize..200, with: u8, size in 0u64..300, address: u64) {
            let (mut data, mut layout) = table();
            if let Some(byte) = data.get_mut(at) {
                *byte = with;
            }
            layout.size = size.min(data.len() as u64);
            if let Some(functions) = layout.table(&data) {
                for address in [address, 0x1000 + address % 0x90] {
                    if let Some(function) = functions.lookup(address) {
                        let _ = functions.frames(&function, address);
                    }
                }
            }
        }
    }
}
