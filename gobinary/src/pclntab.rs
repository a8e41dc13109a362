//! Functions and lines of a Go binary, from the table that the runtime itself uses (`internal/abi.PCHeader`,
//! `runtime/symtab.go`). It is there in stripped binaries, too. Versions of Go from 1.18 on.

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Go 1.18 and 1.19.
const MAGIC_1_18: u32 = 0xffff_fff0;
/// Go 1.20 and later.
const MAGIC_1_20: u32 = 0xffff_fff1;

/// Section names: position-independent files have their own (before Go 1.26).
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// Where the table is and how it is laid out. Holds no reference to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableLayout {
    /// File offset.
    offset: u64,
    /// Bytes.
    size: u64,
    /// Link-time address that function offsets count from.
    text: u64,
    /// Smallest distance of instructions.
    quantum: u64,
    /// Number of functions.
    functions: usize,
    names: usize,
    units: usize,
    files: usize,
    values: usize,
    entries: usize,
    /// File offset of what functions have beside the table, trees of inlined calls among it.
    data: Option<usize>,
}

/// The table of a file.
#[derive(Clone, Copy, Debug)]
pub struct FunctionTable<'a> {
    file: &'a [u8],
    table: &'a [u8],
    layout: TableLayout,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// As Go's tools print it: `net/http.(*conn).serve`.
    pub name: &'a str,
    /// Link-time address.
    pub entry: u64,
    /// Offset of its description in the table of functions.
    info: usize,
}

/// A place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// As the compiler recorded it.
    pub file: &'a str,
    /// From 1.
    pub line: u32,
}

/// A frame at an address: a function, or one that is inlined into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The function's name as Go's tools print it.
    pub function: &'a str,
    /// The line in the function; `None` if the table has none for the address.
    pub line: Option<Line<'a>>,
}

impl TableLayout {
    pub(crate) fn find(file: &ElfFile64<'_>) -> Option<TableLayout> {
        let section = SECTIONS.iter().find_map(|name| file.section_by_name(name));
        // External linkers put it into a section with other things; its symbol stays.
        let (offset, size) = section.and_then(|s| s.file_range()).or_else(|| {
            let (offset, segment) = place_of(file, symbol(file, b"runtime.pclntab")?)?;
            Some((offset, segment.0.saturating_add(segment.1).checked_sub(offset)?))
        })?;
        let start = usize::try_from(offset).ok()?;
        let table = file.data().get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
        let magic = u32_at(table, 0)?;
        if ![MAGIC_1_18, MAGIC_1_20].contains(&magic) || table.get(7) != Some(&8) {
            return None;
        }
        let word = |index: usize| u64_at(table, 8 + 8 * index);
        let place = |index: usize| usize::try_from(word(index)?).ok();
        Some(TableLayout {
            offset,
            size,
            // Since Go 1.26 the header leaves it to the module's description.
            text: word(2).filter(|text| *text != 0).or_else(|| text_start(file))?,
            quantum: (*table.get(6)?).into(),
            functions: place(0)?,
            names: place(3)?,
            units: place(4)?,
            files: place(5)?,
            values: place(6)?,
            entries: place(7)?,
            // Inlined calls are laid out as here since Go 1.20.
            data: if magic == MAGIC_1_20 { function_data(file) } else { None },
        })
    }

    /// The table in the bytes of the file that the layout was found in.
    pub fn table<'a>(&self, file: &'a [u8]) -> Option<FunctionTable<'a>> {
        let start = usize::try_from(self.offset).ok()?;
        let table = file.get(start..start.checked_add(usize::try_from(self.size).ok()?)?)?;
        Some(FunctionTable { file, table, layout: *self })
    }
}

/// `runtime.text`: its symbol, else what the module's description says (`runtime.moduledata`, whose section has a
/// name since Go 1.26), else where code begins.
fn text_start(file: &ElfFile64<'_>) -> Option<u64> {
    /// Words in front of `moduledata.text`.
    const TEXT: usize = 22;
    let section = || file.section_by_name(".text").map(|s| s.address());
    symbol(file, b"runtime.text").or_else(|| module_word(file, TEXT)).or_else(section)
}

/// `go:func.*`, likewise.
fn function_data(file: &ElfFile64<'_>) -> Option<usize> {
    /// Words in front of `moduledata.gofunc`.
    const GOFUNC: usize = 40;
    let address = symbol(file, b"go:func.*").or_else(|| module_word(file, GOFUNC))?;
    usize::try_from(place_of(file, address)?.0).ok()
}

/// Where an address is in the file, and the range of its segment there.
pub(crate) fn place_of(file: &ElfFile64<'_>, address: u64) -> Option<(u64, (u64, u64))> {
    let holds = |s: &object::read::elf::ElfSegment64<'_, '_>| {
        (s.address()..s.address().saturating_add(s.file_range().1)).contains(&address)
    };
    let segment = file.segments().find(holds)?;
    Some((segment.file_range().0.checked_add(address - segment.address())?, segment.file_range()))
}

pub(crate) fn symbol(file: &ElfFile64<'_>, name: &[u8]) -> Option<u64> {
    file.symbols().find(|s| s.name_bytes() == Ok(name)).map(|s| s.address())
}

/// A word of the module's description.
fn module_word(file: &ElfFile64<'_>, index: usize) -> Option<u64> {
    let module = file.section_by_name(".go.module")?;
    let stored = u64_at(module.data().ok()?, 8 * index)?;
    if stored != 0 {
        return Some(stored);
    }
    // Position-independent: the loader fills it in.
    let at = module.address() + 8 * index as u64;
    let mut relocations = file.dynamic_relocations()?;
    relocations
        .find(|(address, _)| *address == at)
        .map(|(_, relocation)| relocation.addend() as u64)
}

impl<'a> FunctionTable<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.layout.functions
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entry and description of the function at an index of the table.
    fn entry(&self, index: usize) -> Option<(u64, usize)> {
        let at = self.layout.entries.checked_add(index.checked_mul(8)?)?;
        let distance = u64::from(u32_at(self.table, at)?);
        let info = u32_at(self.table, at + 4)? as usize;
        Some((self.layout.text.checked_add(distance)?, self.layout.entries.checked_add(info)?))
    }

    /// The function at an index, in the order of addresses.
    pub fn get(&self, index: usize) -> Option<Function<'a>> {
        if index >= self.layout.functions {
            return None;
        }
        let (entry, info) = self.entry(index)?;
        let name = u32_at(self.table, info.checked_add(4)?)? as usize;
        Some(Function {
            name: text_at(self.table, self.layout.names.checked_add(name)?)?,
            entry,
            info,
        })
    }

    /// Where functions of these names are, in one pass over the table.
    pub(crate) fn named<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> HashMap<&'n str, Range<u64>> {
        let wanted: HashSet<&str> = names.into_iter().collect();
        let one = |index: usize| {
            let function = self.get(index)?;
            let name = *wanted.get(function.name)?;
            // One entry more than functions: the end of the last one.
            Some((
                name,
                function.entry..self.entry(index + 1).map_or(function.entry, |(end, _)| end),
            ))
        };
        (0..self.len()).filter_map(one).collect()
    }

    /// The function that an address is in.
    pub fn lookup(&self, address: u64) -> Option<Function<'a>> {
        // One entry more than functions: the end of the last one.
        let end = self.entry(self.layout.functions).map_or(u64::MAX, |(end, _)| end);
        if address >= end {
            return None;
        }
        let (mut low, mut high) = (0, self.layout.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)?.0 <= address { low = middle + 1 } else { high = middle }
        }
        self.get(low.checked_sub(1)?)
    }

    /// The line of an address in a function.
    pub fn line(&self, function: &Function<'a>, address: u64) -> Option<Line<'a>> {
        let field = |index: usize| u32_at(self.table, function.info.checked_add(4 * index)?);
        let (file_table, line_table, unit) = (field(5)?, field(6)?, field(8)?);
        let line = u32::try_from(self.value(line_table, function.entry, address)?).ok()?;
        let number = u32::try_from(self.value(file_table, function.entry, address)?).ok()?;
        let index = (unit as usize).checked_add(number as usize)?.checked_mul(4)?;
        let name = u32_at(self.table, self.layout.units.checked_add(index)?)? as usize;
        Some(Line { file: text_at(self.table, self.layout.files.checked_add(name)?)?, line })
    }

    /// The functions that an address is in and their lines: where the compiler put functions into others, the
    /// innermost first, the one that they are all in last.
    pub fn frames(&self, function: &Function<'a>, address: u64) -> Vec<Frame<'a>> {
        /// Deeper trees are no compiler's.
        const DEEPEST: usize = 64;
        let mut out = Vec::new();
        let mut at = address;
        while let Some((name, caller)) = self.inlined(function, at).filter(|_| out.len() < DEEPEST)
        {
            out.push(Frame { function: name, line: self.line(function, at) });
            at = caller;
        }
        out.push(Frame { function: function.name, line: self.line(function, at) });
        out
    }

    /// The function that was put into another one at an address, and where it is called there
    /// (`runtime.inlinedCall`).
    fn inlined(&self, function: &Function<'a>, address: u64) -> Option<(&'a str, u64)> {
        /// `internal/abi.PCDATA_InlTreeIndex` and `FUNCDATA_InlTree`.
        const INDEX: usize = 2;
        const TREE: usize = 3;
        /// Bytes in front of the first table of values, and of a call.
        const FIRST: usize = 44;
        const CALL: usize = 16;
        let info = function.info;
        let tables = u32_at(self.table, info.checked_add(28)?)? as usize;
        let trees = usize::from(*self.table.get(info.checked_add(43)?)?);
        if tables <= INDEX || trees <= TREE {
            return None;
        }
        let table = u32_at(self.table, info.checked_add(FIRST + 4 * INDEX)?)?;
        let behind = FIRST.checked_add(tables.checked_add(TREE)?.checked_mul(4)?)?;
        let tree = u32_at(self.table, info.checked_add(behind)?)?;
        if table == 0 || tree == u32::MAX {
            return None;
        }
        let index = usize::try_from(self.value(table, function.entry, address)?).ok()?;
        let call =
            self.layout.data?.checked_add(tree as usize)?.checked_add(CALL.checked_mul(index)?)?;
        let name = u32_at(self.file, call.checked_add(4)?)? as usize;
        let caller = u32_at(self.file, call.checked_add(8)?)?;
        let name = text_at(self.table, self.layout.names.checked_add(name)?)?;
        Some((name, function.entry.checked_add(u64::from(caller))?))
    }

    /// The value of a table of differences at an address (`runtime.pcvalue`).
    fn value(&self, table: u32, entry: u64, address: u64) -> Option<i32> {
        let mut at = self.layout.values.checked_add(table as usize)?;
        let (mut value, mut pc) = (-1i32, entry);
        let mut first = true;
        loop {
            let difference = self.varint(&mut at)?;
            if difference == 0 && !first {
                return None;
            }
            first = false;
            value = value.wrapping_add(((difference >> 1) as i32) ^ -((difference & 1) as i32));
            let distance = self.varint(&mut at)?;
            pc = pc.checked_add(u64::from(distance) * self.layout.quantum)?;
            if address < pc {
                return Some(value);
            }
        }
    }

    fn varint(&self, at: &mut usize) -> Option<u32> {
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

/// Text up to its zero. Longer than any name is none.
fn text_at(data: &[u8], at: usize) -> Option<&str> {
    const LONGEST: usize = 1 << 16;
    let rest = data.get(at..)?;
    let rest = rest.get(..LONGEST.min(rest.len()))?;
    std::str::from_utf8(rest.get(..memchr::memchr(0, rest)?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A table of two functions, at 0x1000 and 0x1040, up to 0x1080.
    fn table() -> (Vec<u8>, TableLayout) {
        let mut data = vec![0u8; 72];
        let names = data.len();
        data.extend(b"main.main\0main.work\0");
        let files = data.len();
        data.extend(b"/src/main.go\0");
        let units = data.len();
        data.extend(0u32.to_le_bytes());
        // Differences: file 0 for all, lines 10 and, from 16 bytes on, 12.
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
            data: Some(0),
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
