//! Functions of binaries that are not Go, from their symbol table.
//!
//! Symbols of a hostile file can share one long name, and a short mangled name can stand for one of
//! gigabytes. Therefore names are read when they are needed, and have a maximum length.

use crate::discover::FileBytes;
use rustc_demangle::try_demangle;
use stapsdt::elf::{Section, View};
use stapsdt::note::Format;
use stapsdt::source::{Source, for_each_piece};
use std::fmt::{self, Write};
use std::ops::{ControlFlow, Range};

/// `SHT_SYMTAB` and `SHT_DYNSYM`, in the order of preference (gABI, "Sections").
const TABLES: [u32; 2] = [2, 11];
/// The size of an `Elf64_Sym` in bytes.
const SYMBOL_SIZE: usize = 24;
/// The number of symbols that are read from a file. Browsers have about as many functions.
const MAX_SYMBOLS: u64 = 1 << 20;
/// The maximum length of a mangled name in bytes, and of a demangled one.
const MAX_NAME: usize = 4096;

/// The functions of a symbol table.
#[derive(Default)]
pub(super) struct ElfSymbols {
    /// Sorted by address.
    symbols: Vec<ElfSymbol>,
    /// The file range of the names.
    strings: Range<u64>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ElfSymbol {
    start: u64,
    /// The size in bytes; 0 if it is unknown.
    size: u32,
    /// The offset of the mangled name.
    name: u32,
}

impl ElfSymbols {
    /// Reads the symbol table or, if it has no functions, the dynamic symbol table.
    pub(super) fn read<'a>(view: &View<'a, &'a FileBytes>) -> ElfSymbols {
        let tables = TABLES.into_iter().filter(|_| view.format() == Format::LE64);
        let sections = tables.filter_map(|kind| view.sections.iter().find(|s| s.kind == kind));
        let mut found = sections.filter_map(|table| read_table(view, table));
        found.find(|symbols| symbols.len() > 0).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Returns the start address and the demangled name of the function at a link-time address.
    pub(super) fn look_up(&self, bytes: &FileBytes, address: u64) -> Option<(u64, String)> {
        let following = self.symbols.partition_point(|symbol| symbol.start <= address);
        let symbol = self.symbols.get(following.checked_sub(1)?)?;
        if symbol.size > 0 && address - symbol.start >= symbol.size.into() {
            return None;
        }
        let at = self.strings.start.checked_add(symbol.name.into())?;
        let len = self.strings.end.checked_sub(at)?.min(MAX_NAME as u64 + 1);
        let name = bytes.read(at, len)?;
        let name = std::str::from_utf8(name.get(..memchr::memchr(0, name)?)?).ok()?;
        Some((symbol.start, demangle(name)))
    }
}

fn read_table<'a>(view: &View<'a, &'a FileBytes>, table: &Section) -> Option<ElfSymbols> {
    let source = view.source();
    let strings = view.sections.get(table.link as usize)?;
    let strings = strings.offset..strings.offset.checked_add(strings.size)?;
    let end = table.offset.checked_add(table.size)?;
    let count = table.size / SYMBOL_SIZE as u64;
    let memory = count * size_of::<ElfSymbol>() as u64;
    if end > source.size() || count > MAX_SYMBOLS || !source.reserve(memory) {
        return None;
    }
    let mut symbols = Vec::new();
    for_each_piece(source, table.offset..end, 0, |_, piece| {
        symbols.extend(piece.chunks_exact(SYMBOL_SIZE).filter_map(defined_function));
        ControlFlow::Continue(())
    })?;
    symbols.sort_unstable();
    symbols.shrink_to_fit();
    Some(ElfSymbols { symbols, strings })
}

/// Decodes an `Elf64_Sym`; `None` if it is not a function that this file defines.
fn defined_function(symbol: &[u8]) -> Option<ElfSymbol> {
    const STT_FUNC: u8 = 2;
    let name = u32::from_le_bytes(*symbol.first_chunk()?);
    let is_function = symbol.get(4)? & 0xf == STT_FUNC;
    let section = u16::from_le_bytes(*symbol.get(6..)?.first_chunk()?);
    let start = u64::from_le_bytes(*symbol.get(8..)?.first_chunk()?);
    let size = u64::from_le_bytes(*symbol.get(16..)?.first_chunk()?);
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    (is_function && section != 0).then_some(ElfSymbol { start, size, name })
}

/// Demangles a Rust or C++ symbol. Other names are returned as they are. Long results are cut.
pub(super) fn demangle(name: &str) -> String {
    let mut out = LimitedString(String::new());
    let result = if let Ok(rust) = try_demangle(name) {
        write!(out, "{rust:#}")
    } else if let Ok(cpp) = cpp_demangle::Symbol::new_with_options(name, &cpp_options()) {
        cpp.structured_demangle(&mut out, &cpp_demangle::DemangleOptions::new())
    } else {
        return name.to_owned();
    };
    match result {
        Ok(()) => out.0,
        Err(_) if out.0.len() < MAX_NAME => name.to_owned(),
        Err(_) => out.0 + "...",
    }
}

/// Returns the limits of the C++ parser.
///
/// It tries alternatives for invalid names, which takes time and memory that grow exponentially with
/// the depth: at the default of 96, a name of 150 bytes took 77 MiB. Of 228,713 names in libstdc++,
/// LLVM and Boost, 237 need a depth of more than 48.
fn cpp_options() -> cpp_demangle::ParseOptions {
    cpp_demangle::ParseOptions::default().recursion_limit(48)
}

/// A string of up to [`MAX_NAME`] bytes. Writing more is an error, which ends the demangler.
struct LimitedString(String);

impl Write for LimitedString {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let left = MAX_NAME - self.0.len();
        if part.len() <= left {
            self.0.push_str(part);
            return Ok(());
        }
        // Whole characters only; the rest is filled up, so that the string is full.
        let whole = (0..=left).rev().find_map(|end| part.get(..end));
        self.0.push_str(whole.unwrap_or_default());
        self.0.extend(std::iter::repeat_n('.', MAX_NAME - self.0.len()));
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn demangles_rust_and_cpp_names() {
        assert_eq!(
            demangle("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"),
            "core::fmt::Write::write_fmt"
        );
        assert_eq!(demangle("_Z3addii"), "add(int, int)");
        assert_eq!(demangle("main"), "main");
    }

    /// Returns names whose demangled form doubles with each further part.
    fn exponential_names() -> Vec<String> {
        let base36 = |n: usize| match n {
            0..10 => n.to_string(),
            _ => char::from(b'A' + n as u8 - 10).to_string(),
        };
        // f(A<int, int>, A<that, that>, ...): each type refers twice to the one before it.
        let mut types = "1AIiiE".to_owned();
        let mut functions = "PFviiE".to_owned();
        let mut packs = "1AIJEE".to_owned();
        for n in 0..30 {
            types.push_str(&format!("S_IS{}_S{}_E", base36(n), base36(n)));
            functions.push_str(&format!("PFvS{}_S{}_E", base36(n), base36(n)));
            packs.push_str(&format!("S_IJS{}_S{}_EE", base36(n), base36(n)));
        }
        // _R: v0, with tuples of back references.
        let mut rust = "_RINvC1a1b".to_owned();
        let mut last = "h".to_owned();
        for _ in 0..25 {
            let at = rust.len() - 2;
            rust.push_str(&format!("T{last}{last}E"));
            let digits = |n: usize| {
                let n = n - 1;
                let digit = |d: usize| {
                    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[d] as char
                };
                [n / 62, n % 62].into_iter().map(digit).collect::<String>()
            };
            last = format!("B{}_", digits(at + 62));
        }
        rust.push('E');
        [types, functions, packs]
            .into_iter()
            .map(|args| format!("_Z1f{args}"))
            .chain([rust])
            .collect()
    }

    #[test]
    fn symbols_that_share_a_long_name_take_its_space_once() {
        const COUNT: u64 = 200_000;
        let name = vec![b'x'; 4 << 20];
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(64, 0);
        let strings = file.len() as u64;
        file.extend(&name);
        file.push(0);
        let short = file.len() as u64 - strings;
        file.extend(b"short\0");
        let table = file.len() as u64;
        for n in 0..COUNT {
            let offset = if n == 7 { short as u32 } else { 0 };
            file.extend(offset.to_le_bytes());
            file.extend([2, 0, 1, 0]);
            file.extend((16 * n).to_le_bytes());
            file.extend(16u64.to_le_bytes());
        }
        let sections = file.len() as u64;
        for (kind, offset, size, link) in
            [(3u32, strings, table - strings, 0u32), (2, table, 24 * COUNT, 0)]
        {
            file.extend([0; 4]);
            file.extend(kind.to_le_bytes());
            file.extend([0; 16]);
            file.extend(offset.to_le_bytes());
            file.extend(size.to_le_bytes());
            file.extend(link.to_le_bytes());
            file.extend([0; 20]);
        }
        file[16] = 2;
        file[18] = 62;
        file[40..48].copy_from_slice(&sections.to_le_bytes());
        file[54..64].copy_from_slice(&[56, 0, 0, 0, 64, 0, 2, 0, 0, 0]);
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), &file).unwrap();
        let object = crate::discover::Object::open(path.path(), path.path()).unwrap();
        let bytes = object.bytes_with_limit(8 << 20);
        let symbols = ElfSymbols::read(&object.view(&bytes).unwrap());
        assert_eq!(symbols.len() as u64, COUNT);
        assert_eq!(symbols.look_up(&bytes, 16 * 7 + 3), Some((16 * 7, "short".to_owned())));
        assert_eq!(symbols.look_up(&bytes, 16), None, "the name is too long");
        assert!(bytes.check(&object).is_ok(), "the limit is not exceeded");
    }

    #[test]
    fn names_that_grow_exponentially_are_cut() {
        for name in exponential_names() {
            let start = Instant::now();
            let demangled = demangle(&name);
            assert!(demangled.len() <= MAX_NAME + 3, "{name}: {} bytes", demangled.len());
            assert!(start.elapsed() < Duration::from_secs(1), "{name}");
        }
    }
}
