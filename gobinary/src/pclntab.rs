//! Functions and lines of a Go binary, from the function table (pclntab) that the runtime uses
//! (`internal/abi.PCHeader`, `runtime/symtab.go`).
//!
//! Stripped binaries have it, too. Tables of Go 1.16 and later are supported.
//!
//! ```no_run
//! let data = std::fs::read("/usr/local/bin/app")?;
//! let layout = gobinary::GoBinary::parse(&data).and_then(|go| go.function_table());
//! if let Some(table) = layout.as_ref().and_then(|layout| layout.table(&data[..])) {
//!     let address = 0x48_1234;
//!     if let Some(function) = table.lookup(address) {
//!         for frame in table.frames(&function, address) {
//!             println!("{} {:?}", frame.function, frame.line);
//!         }
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

use crate::binary::GoBinary;
use crate::name_scan::{TableWindow, find_names, matching_names};
pub use crate::table_layout::TableLayout;
use crate::table_layout::{TableEntry, u32_at};
use stapsdt::source::{Source, for_each_piece};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};

/// A function table, for look-ups.
#[derive(Clone, Copy, Debug)]
pub struct FunctionTable<'a, S: Source<'a> = &'a [u8]> {
    pub(crate) file: S,
    pub(crate) layout: TableLayout,
    lifetime: PhantomData<&'a [u8]>,
}

/// A function of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// The name as Go's tools print it: `net/http.(*conn).serve`.
    pub name: &'a str,
    /// The link-time address of the function's first instruction.
    pub entry: u64,
    /// The offset in the table of the function's `_func` struct.
    pub(crate) info: u64,
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
    /// Returns the table in `file`, which must be the file that the layout was found in. `None` if
    /// the file is shorter.
    pub fn table<'a, S: Source<'a>>(&self, file: S) -> Option<FunctionTable<'a, S>> {
        let end = self.offset.checked_add(self.size)?;
        let lifetime = PhantomData;
        (end <= file.size()).then_some(FunctionTable { file, layout: *self, lifetime })
    }
}

impl<'a, S: Source<'a>> GoBinary<'a, S> {
    /// Returns the address ranges of the functions with these names.
    pub(crate) fn function_ranges<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> HashMap<&'n str, Range<u64>> {
        let layout = self.function_table();
        let Some(table) = layout.and_then(|layout| layout.table(self.view.source())) else {
            return HashMap::new();
        };
        let indexes = table.indexes_of(names);
        let ranges = self.ranges(&table, indexes.values().copied());
        let of = |(name, index)| Some((name, ranges.get(&index)?.clone()));
        indexes.into_iter().filter_map(of).collect()
    }

    /// Returns the address ranges of the functions at these indexes of the table.
    pub(crate) fn ranges(
        &self,
        table: &FunctionTable<'a, S>,
        indexes: impl Iterator<Item = u64> + Clone,
    ) -> HashMap<u64, Range<u64>> {
        // In position-independent files, the dynamic loader may fill in the addresses of entries.
        let place = |index: u64| table.layout.address_of_entry(&self.view, index);
        let places: HashSet<u64> = indexes
            .clone()
            .filter(|_| table.layout.has_addresses)
            .flat_map(|index| [index, index + 1])
            .filter_map(place)
            .collect();
        let relocated = if places.is_empty() {
            BTreeMap::new()
        } else {
            self.view.relocations(|place| places.contains(&place))
        };
        let address = |index: u64| match place(index).and_then(|place| relocated.get(&place)) {
            Some(address) => Some(*address),
            None => table.entry(index).map(|entry| entry.address),
        };
        let range = |index: u64| Some((index, address(index)?..address(index + 1)?));
        indexes.filter_map(range).collect()
    }
}

impl<'a, S: Source<'a>> FunctionTable<'a, S> {
    /// Returns the functions by address. Damaged entries are skipped.
    pub fn functions(&self) -> impl Iterator<Item = Function<'a>> {
        (0..self.layout.functions).filter_map(|index| self.get(index))
    }

    /// Returns `len` bytes at an offset in the table.
    pub(crate) fn bytes(&self, at: u64, len: u64) -> Option<&'a [u8]> {
        at.checked_add(len).filter(|end| *end <= self.layout.size)?;
        self.file.read(self.layout.offset.checked_add(at)?, len)
    }

    /// Returns up to `len` bytes at an offset in the table, fewer at its end.
    fn bytes_up_to(&self, at: u64, len: u64) -> Option<&'a [u8]> {
        self.bytes(at, len.min(self.layout.size.checked_sub(at)?))
    }

    pub(crate) fn u32_at(&self, at: u64) -> Option<u32> {
        u32_at(self.bytes(at, 4)?, 0)
    }

    /// Returns the NUL-terminated string at an offset; `None` if it is not UTF-8 or too long.
    pub(crate) fn string_at(&self, at: u64) -> Option<&'a str> {
        /// The bytes to read first, enough for most names, and the maximum.
        const LENGTHS: [u64; 2] = [128, 1 << 16];
        LENGTHS.iter().find_map(|len| {
            let bytes = self.bytes_up_to(at, *len)?;
            std::str::from_utf8(bytes.get(..memchr::memchr(0, bytes)?)?).ok()
        })
    }

    /// Returns an entry of the table. The entry after the last function is the end of that
    /// function.
    fn entry(&self, index: u64) -> Option<TableEntry> {
        let size = self.layout.entry_size();
        let at = self.layout.entries.checked_add(index.checked_mul(size)?)?;
        self.layout.entry(self.bytes_up_to(at, size)?)
    }

    /// Returns the function at an index; `None` if the index is out of range or the entry is
    /// damaged.
    pub(crate) fn get(&self, index: u64) -> Option<Function<'a>> {
        if index >= self.layout.functions {
            return None;
        }
        let TableEntry { address, info } = self.entry(index)?;
        let name = self.u32_at(info.checked_add(4)?)?;
        Some(Function {
            name: self.string_at(self.layout.names.checked_add(name.into())?)?,
            entry: address,
            info,
        })
    }

    /// Returns those of `names` that the table has, by their offset from the first name.
    pub(crate) fn name_offsets<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> HashMap<u64, &'n str> {
        find_names(self.file, self.names_range(), names)
    }

    /// Returns the indexes of the functions with these names.
    ///
    /// If a function that is written in Go has a second entry, for callers in assembly
    /// (`exitsyscall`, ABI0), it is left out: the linker puts it after the function, to which it
    /// jumps.
    ///
    /// It scans the names, then the entries, both in pieces: memory use does not depend on the size
    /// of the table.
    fn indexes_of<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> HashMap<&'n str, u64> {
        let names = self.name_offsets(names);
        let mut found = HashMap::new();
        self.for_each_name_offset(|index, at| {
            if let Some(name) = names.get(&at) {
                found.entry(*name).or_insert(index);
            }
        });
        found
    }

    /// Returns the names that match, in alphabetical order, with the indexes of the functions that
    /// have them. A name has no index if the calls of the function are all inlined, and several
    /// if it is that of a generic function. Finds up to `limit` names and one more.
    pub(crate) fn matching(
        &self,
        matches: impl FnMut(&str) -> bool,
        limit: usize,
    ) -> Vec<(String, Vec<u64>)> {
        let names = matching_names(self.file, self.names_range(), matches, limit);
        // The linker can write a name twice: for each calling convention of a function.
        let mut indexes: BTreeMap<&str, Vec<u64>> =
            names.values().map(|name| (name.as_str(), Vec::new())).collect();
        if !names.is_empty() {
            self.for_each_name_offset(|index, at| {
                if let Some(of_name) = names.get(&at).and_then(|name| indexes.get_mut(&**name)) {
                    of_name.push(index);
                }
            });
        }
        indexes.into_iter().map(|(name, indexes)| (name.to_owned(), indexes)).collect()
    }

    /// Returns the range of the file that holds the names.
    fn names_range(&self) -> Range<u64> {
        let layout = &self.layout;
        let others = [layout.units, layout.files, layout.values, layout.entries, layout.size];
        let end = others.into_iter().filter(|at| *at > layout.names).min().unwrap_or(0);
        self.in_file(layout.names)..self.in_file(end)
    }

    /// Returns the file offset of an offset in the table, at most that of its end.
    fn in_file(&self, at: u64) -> u64 {
        let end_of_table = self.layout.offset.saturating_add(self.layout.size);
        self.layout.offset.saturating_add(at).min(end_of_table)
    }

    /// Calls `visit` with the index of each function and the offset of its name from the first name.
    fn for_each_name_offset(&self, mut visit: impl FnMut(u64, u64)) {
        let layout = &self.layout;
        let mut infos = TableWindow::new(self.file, layout.offset, layout.size);
        let entry_size = layout.entry_size();
        let entries_len = layout.functions.saturating_mul(entry_size);
        let end = layout.entries.saturating_add(entries_len);
        let range = self.in_file(layout.entries)..self.in_file(end);
        let mut index = 0;
        for_each_piece(self.file, range, 0, |_, piece| {
            for entry in piece.chunks_exact(entry_size as usize) {
                let info = layout.entry(entry).and_then(|entry| entry.info.checked_add(4));
                if let Some(at) = info.and_then(|at| infos.u32_at(at)) {
                    visit(index, at.into());
                }
                index += 1;
            }
            if infos.is_exhausted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    /// Returns the number of bytes between the stack pointer at an address in a function and that at
    /// its first instruction; `None` if the table has none.
    pub(crate) fn frame_size(&self, function: &Function<'a>, address: u64) -> Option<i32> {
        let table = self.u32_at(function.info.checked_add(16)?)?;
        self.pc_value(table, function.entry, address)
    }

    /// Returns the path of the source file of a function's first instruction; `None` if the table
    /// has none.
    pub(crate) fn source_file(&self, function: &Function<'a>) -> Option<&'a str> {
        self.line(function, function.entry).map(|line| line.file)
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

    /// Returns the size in bytes of a function's parameters and results on the stack, with the
    /// slots into which it may spill registers. `None` for some functions in assembly.
    pub(crate) fn argument_bytes(&self, function: &Function<'a>) -> Option<u64> {
        /// `internal/abi.ArgsSizeUnknown`.
        const UNKNOWN: u32 = 0x8000_0000;
        self.u32_at(function.info.checked_add(8)?).filter(|size| *size != UNKNOWN).map(u64::from)
    }

    /// Returns the source line of an address in a function; `None` if the table has none for it.
    ///
    /// For an address in an inlined function, it is the line in the inlined function.
    pub(crate) fn line(&self, function: &Function<'a>, address: u64) -> Option<Line<'a>> {
        let field = |index: u64| self.u32_at(function.info.checked_add(4 * index)?);
        let (file_table, line_table, unit) = (field(5)?, field(6)?, field(8)?);
        let line = u32::try_from(self.pc_value(line_table, function.entry, address)?).ok()?;
        let number = u32::try_from(self.pc_value(file_table, function.entry, address)?).ok()?;
        let index = u64::from(unit).checked_add(number.into())?.checked_mul(4)?;
        let name = self.u32_at(self.layout.units.checked_add(index)?)?;
        Some(Line { file: self.string_at(self.layout.files.checked_add(name.into())?)?, line })
    }

    /// Returns the frames of an address in a function, innermost first: the inlined functions at
    /// the address, then the function itself.
    pub fn frames(&self, function: &Function<'a>, address: u64) -> Vec<Frame<'a>> {
        /// The depth limit, which no compiler reaches.
        const MAX_DEPTH: usize = 64;
        let mut out = Vec::new();
        let mut at = address;
        while out.len() < MAX_DEPTH
            && let Some((call, name)) = self.inlined_at(function, at)
        {
            out.push(Frame { function: name, line: self.line(function, at) });
            at = call.call_address;
        }
        out.push(Frame { function: function.name, line: self.line(function, at) });
        out
    }

    /// Returns the value of a PC-value table at an address (`runtime.pcvalue`).
    pub(crate) fn pc_value(&self, table: u32, entry: u64, address: u64) -> Option<i32> {
        /// The bytes to read first, enough for most functions.
        const SHORT: u64 = 256;
        let at = self.layout.values.checked_add(table.into())?;
        let short = self.bytes_up_to(at, SHORT)?;
        match pc_value(short, self.layout.quantum, entry, address) {
            Err(Incomplete) => {
                let all = self.bytes_up_to(at, MAX_VALUES)?;
                pc_value(all, self.layout.quantum, entry, address).ok().flatten()
            }
            Ok(value) => value,
        }
    }

    /// Returns the first address of each value of a PC-value table, but for negative ones.
    pub(crate) fn first_addresses(&self, table: u32, entry: u64) -> HashMap<u64, u64> {
        let mut first = HashMap::new();
        let at = self.layout.values.saturating_add(table.into());
        let mut rest = self.bytes_up_to(at, MAX_VALUES).unwrap_or_default();
        let (mut value, mut pc) = (-1i32, entry);
        let mut is_start = true;
        while let Some(difference) = read_varint(&mut rest) {
            if difference == 0 && !is_start {
                break;
            }
            is_start = false;
            value = value.wrapping_add(((difference >> 1) as i32) ^ -((difference & 1) as i32));
            if let Ok(value) = u64::try_from(value) {
                first.entry(value).or_insert(pc);
            }
            let Some(distance) = read_varint(&mut rest) else { break };
            pc = pc.saturating_add(u64::from(distance) * self.layout.quantum);
        }
        first
    }
}

/// The size limit in bytes of the PC-value table of one function. Functions of some thousand lines
/// stay below it.
const MAX_VALUES: u64 = 1 << 16;

/// The table ends before the value of the address.
struct Incomplete;

/// Returns the value at an address of the PC-value table at the start of `table`; `None` if it has
/// none.
fn pc_value(
    mut table: &[u8],
    quantum: u64,
    entry: u64,
    address: u64,
) -> Result<Option<i32>, Incomplete> {
    let (mut value, mut pc) = (-1i32, entry);
    let mut first = true;
    loop {
        let difference = read_varint(&mut table).ok_or(Incomplete)?;
        if difference == 0 && !first {
            return Ok(None);
        }
        first = false;
        value = value.wrapping_add(((difference >> 1) as i32) ^ -((difference & 1) as i32));
        let distance = read_varint(&mut table).ok_or(Incomplete)?;
        let Some(next) = pc.checked_add(u64::from(distance) * quantum) else { return Ok(None) };
        pc = next;
        if address < pc {
            return Ok(Some(value));
        }
    }
}

/// Reads an unsigned LEB128 number and advances `data`.
fn read_varint(data: &mut &[u8]) -> Option<u32> {
    let mut out = 0u32;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = data.split_first()?;
        *data = rest;
        out |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(out);
        }
    }
    None
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
            names: names as u64,
            units: units as u64,
            files: files as u64,
            values: values as u64,
            entries: entries as u64,
            has_addresses: false,
            has_inlined_calls: true,
            func_data: Some(0),
        };
        (data, layout)
    }

    #[test]
    fn finds_functions_and_lines() {
        let (data, layout) = table();
        let functions = layout.table(&data[..]).unwrap();
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
        let indexes = functions.indexes_of(["main.work", "main.main", "work", "main.wor"]);
        assert_eq!(indexes, HashMap::from([("main.main", 0), ("main.work", 1)]));
    }

    proptest! {
        #[test]
        fn accepts_any_table(at in 0usize..200, with: u8, size in 0u64..300, address: u64) {
            let (mut data, mut layout) = table();
            if let Some(byte) = data.get_mut(at) {
                *byte = with;
            }
            layout.size = size.min(data.len() as u64);
            if let Some(functions) = layout.table(&data[..]) {
                let _ = functions.indexes_of(["main.work", "main.main"]);
                for address in [address, 0x1000 + address % 0x90] {
                    if let Some(function) = functions.lookup(address) {
                        let _ = functions.frames(&function, address);
                    }
                }
            }
        }
    }
}
