//! Symbolization of code addresses.
//!
//! Go binaries are symbolized by their line table (pclntab), which stripped binaries have as well:
//! functions, inlined functions and lines. Other binaries are symbolized by their symbol table:
//! functions only.

use crate::discover::process::{self, MappedRange};
use crate::discover::{Object, ObjectId};
use crate::event::Event;
use gobinary::GoBinary;
use gobinary::pclntab;
use object::{Object as _, ObjectSymbol, SymbolKind};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// `e_type` of an executable that is mapped at its link-time addresses (gABI, "ELF Header").
const ET_EXEC: u16 = 2;

/// A stack frame: a code address, and what is known about it.
///
/// `Display` formats it on one line, such as `main.handle+0x1f /src/app/main.go:42`. Names are not
/// escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The address in the process.
    address: u64,
    function: Option<FrameFunction>,
    /// True if the function is inlined into the function of the next frame.
    is_inlined: bool,
    line: Option<SourceLine>,
    object: Option<FrameObject>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FrameFunction {
    /// The name, demangled.
    name: String,
    /// The distance of the address from the function's first instruction, in bytes.
    offset: u64,
}

/// The object that is mapped at the address of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FrameObject {
    /// The file name without its directory.
    name: String,
    /// The link-time address in the object.
    address: u64,
}

/// A line of source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLine {
    /// The path of the file, as the compiler recorded it.
    pub file: String,
    /// The line number, from 1.
    pub line: u32,
}

impl Frame {
    /// The demangled name of the function; `None` if it is unknown.
    pub fn function(&self) -> Option<&str> {
        self.function.as_ref().map(|function| function.name.as_str())
    }

    /// The source line; `None` if it is unknown, and in binaries that are not Go.
    pub fn line(&self) -> Option<&SourceLine> {
        self.line.as_ref()
    }
}

/// A code address to symbolize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeAddress {
    /// The address of an instruction, such as the innermost one of a stack.
    Instruction(u64),
    /// A return address. The call before it is symbolized, because the instruction at the return
    /// address may belong to another line or function.
    Return(u64),
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.function, &self.object) {
            (Some(function), _) if self.is_inlined => f.write_str(&function.name)?,
            (Some(function), _) => write!(f, "{}+{:#x}", function.name, function.offset)?,
            (None, Some(object)) => write!(f, "{}+{:#x}", object.name, object.address)?,
            (None, None) => write!(f, "{:#x}", self.address)?,
        }
        match &self.line {
            Some(SourceLine { file, line }) => write!(f, " {file}:{line}"),
            None => Ok(()),
        }
    }
}

/// Symbolizes the code addresses of processes, and caches what it has read.
///
/// ```no_run
/// use usdt_attach::event::Event;
/// use usdt_attach::event::symbolize::Symbolizer;
///
/// fn print_stack(symbolizer: &mut Symbolizer, event: &Event<'_>) {
///     for frame in symbolizer.stack(event) {
///         println!("  {frame}");
///     }
/// }
/// ```
///
/// The mappings of a process are read when its first address is symbolized. If the process may exit
/// before that, call [`Symbolizer::cache_mappings`] or [`Symbolizer::add_object`].
#[derive(Default)]
pub struct Symbolizer {
    /// The mappings of each process.
    processes: HashMap<u32, Vec<MappedRange>>,
    /// Objects by device and inode, as `/proc/PID/maps` prints them; `None` for those that cannot be
    /// opened.
    object_ids: HashMap<(String, u64), Option<ObjectId>>,
    objects: HashMap<ObjectId, Arc<SymbolizedObject>>,
}

/// An object and its symbols.
struct SymbolizedObject {
    object: Arc<Object>,
    symbols: Symbols,
}

enum Symbols {
    Go(pclntab::TableLayout),
    /// Sorted by start address.
    Elf(Vec<ElfSymbol>),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct ElfSymbol {
    start: u64,
    /// The end address; 0 if it is unknown.
    end: u64,
    /// The name, still mangled.
    name: String,
}

impl fmt::Debug for Symbolizer {
    /// Leaves out the symbol tables, which are too long to print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Symbolizer")
            .field("processes", &self.processes.len())
            .finish_non_exhaustive()
    }
}

impl Symbolizer {
    /// Reads the mappings and objects of a process now, so that its addresses can be symbolized after
    /// it has exited. If the process has already exited, nothing changes.
    pub fn cache_mappings(&mut self, pid: u32) {
        // The maps of a zombie are readable but empty.
        if let Some(mappings) =
            process::mapped_ranges(pid).ok().filter(|mappings| !mappings.is_empty())
        {
            for mapping in &mappings {
                self.object_of(pid, mapping);
            }
            self.processes.insert(pid, mappings);
        }
    }

    /// The frames of an address, innermost first: inlined functions, then the function that they are
    /// inlined into. At least one frame.
    pub fn frames(&mut self, pid: u32, address: CodeAddress) -> Vec<Frame> {
        // Any byte of the call instruction will do.
        let (address, lookup) = match address {
            CodeAddress::Instruction(address) => (address, address),
            CodeAddress::Return(address) => (address, address.saturating_sub(1)),
        };
        let mut frame =
            Frame { address, function: None, is_inlined: false, line: None, object: None };
        let Some((file, linked)) = self.locate(pid, lookup) else { return vec![frame] };
        let linked_address = linked + (address - lookup);
        let name = file.object.path.file_name().unwrap_or(file.object.path.as_os_str());
        frame.object = Some(FrameObject {
            name: name.to_string_lossy().into_owned(),
            address: linked_address,
        });
        match &file.symbols {
            Symbols::Go(layout) => {
                let table = layout.table(file.object.bytes());
                if let Some((table, function)) =
                    table.and_then(|table| table.lookup(linked).map(|function| (table, function)))
                {
                    let offset = linked_address - function.entry;
                    let inline_stack = table.frames(&function, linked);
                    let outermost = inline_stack.len().saturating_sub(1);
                    let frames = inline_stack.into_iter().enumerate().map(|(i, inlined)| Frame {
                        function: Some(FrameFunction { name: inlined.function.to_owned(), offset }),
                        is_inlined: i < outermost,
                        line: inlined
                            .line
                            .map(|at| SourceLine { file: at.file.to_owned(), line: at.line }),
                        ..frame.clone()
                    });
                    return frames.collect();
                }
            }
            Symbols::Elf(symbols) => {
                let following = symbols.partition_point(|symbol| symbol.start <= linked);
                let symbol = following.checked_sub(1).and_then(|i| symbols.get(i));
                if let Some(symbol) = symbol.filter(|s| s.end == 0 || linked < s.end) {
                    frame.function = Some(FrameFunction {
                        name: demangle(&symbol.name),
                        offset: linked_address - symbol.start,
                    });
                }
            }
        }
        vec![frame]
    }

    /// The frames of an event's stack, innermost first. Empty if the event has no stack.
    pub fn stack(&mut self, event: &Event<'_>) -> Vec<Frame> {
        // The innermost address is that of the probe, unless it is in a stub, which is left out.
        let first_return = usize::from(!event.is_stub());
        let stack = event.stack().into_iter().flatten().enumerate();
        stack
            .flat_map(|(index, address)| {
                let address = if index < first_return {
                    CodeAddress::Instruction(address)
                } else {
                    CodeAddress::Return(address)
                };
                self.frames(event.pid, address)
            })
            .collect()
    }

    /// Adds an object, for processes that exit before their mappings are read.
    pub fn add_object(&mut self, object: &Arc<Object>) {
        self.objects
            .entry(object.id)
            .or_insert_with(|| Arc::new(SymbolizedObject::new(Arc::clone(object))));
    }

    /// The object that an address belongs to, and the link-time address in it.
    fn locate(&mut self, pid: u32, address: u64) -> Option<(Arc<SymbolizedObject>, u64)> {
        if let Some(mapping) = self.mapping_of(pid, address)
            && let Some(file) = self.object_of(pid, &mapping)
        {
            let linked = file
                .object
                .view()
                .ok()?
                .offset_to_vaddr(address - mapping.start + mapping.offset)?;
            return Some((file, linked));
        }
        if self.processes.contains_key(&pid) {
            return None;
        }
        // The process has exited. An executable with fixed addresses needs no mappings.
        let contains = |file: &&Arc<SymbolizedObject>| {
            file.object.view().is_ok_and(|view| {
                let segment = view.load_segment(address, 1);
                view.file_type() == ET_EXEC
                    && segment.is_some_and(stapsdt::elf::Segment::is_executable)
            })
        };
        self.objects.values().find(contains).map(|file| (Arc::clone(file), address))
    }

    fn mapping_of(&mut self, pid: u32, address: u64) -> Option<MappedRange> {
        let find = |mappings: &Vec<MappedRange>| {
            mappings.iter().find(|m| (m.start..m.end).contains(&address)).cloned()
        };
        if let Some(found) = self.processes.get(&pid).and_then(find) {
            return Some(found);
        }
        // The process is new, or has mapped a library since.
        self.cache_mappings(pid);
        self.processes.get(&pid).and_then(find)
    }

    fn object_of(&mut self, pid: u32, mapping: &MappedRange) -> Option<Arc<SymbolizedObject>> {
        let (device, inode) = mapping.file();
        let key = (device.to_owned(), inode);
        let id = match self.object_ids.get(&key) {
            Some(id) => *id,
            None => {
                let object = mapping.open(pid).map(Arc::new);
                object.iter().for_each(|object| self.add_object(object));
                // While a process exits, its mappings can be listed but not opened. Fall back to an
                // object that looks the same.
                let name = mapping.name().file_name();
                let known = || {
                    let mut objects = self.objects.values().map(|file| &file.object);
                    objects.find(|o| o.id.ino == inode && o.path.file_name() == name).map(|o| o.id)
                };
                let id = object.as_ref().map(|object| object.id).or_else(known);
                self.object_ids.insert(key, id);
                id
            }
        };
        self.objects.get(&id?).cloned()
    }
}

impl SymbolizedObject {
    fn new(object: Arc<Object>) -> SymbolizedObject {
        let go = GoBinary::parse(object.bytes()).and_then(|binary| binary.function_table());
        let symbols = go.map_or_else(|| Symbols::Elf(elf_symbols(object.bytes())), Symbols::Go);
        SymbolizedObject { object, symbols }
    }
}

/// The functions of the symbol table or, if there is none, of the dynamic symbol table.
fn elf_symbols(file: &[u8]) -> Vec<ElfSymbol> {
    let Ok(file) = object::File::parse(file) else { return Vec::new() };
    let mut symbols: Vec<ElfSymbol> = file.symbols().filter_map(|s| defined_function(&s)).collect();
    if symbols.is_empty() {
        symbols = file.dynamic_symbols().filter_map(|s| defined_function(&s)).collect();
    }
    symbols.sort_unstable();
    symbols
}

fn defined_function(symbol: &object::Symbol<'_, '_>) -> Option<ElfSymbol> {
    if symbol.kind() != SymbolKind::Text || !symbol.is_definition() {
        return None;
    }
    let start = symbol.address();
    let end = if symbol.size() == 0 { 0 } else { start.saturating_add(symbol.size()) };
    Some(ElfSymbol { start, end, name: symbol.name().ok()?.to_owned() })
}

/// Demangles a Rust or C++ symbol. Other names are returned as they are.
fn demangle(name: &str) -> String {
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    match cpp_demangle::Symbol::new(name) {
        Ok(symbol) => symbol
            .demangle(&cpp_demangle::DemangleOptions::new())
            .unwrap_or_else(|_| name.to_owned()),
        Err(_) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demangles_rust_and_cpp_names() {
        assert_eq!(
            demangle("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"),
            "core::fmt::Write::write_fmt"
        );
        assert_eq!(demangle("_Z3addii"), "add(int, int)");
        assert_eq!(demangle("main"), "main");
    }

    #[test]
    fn symbolizes_this_function() {
        let address = CodeAddress::Instruction(symbolizes_this_function as *const () as u64);
        let mut symbolizer = Symbolizer::default();
        let frame = symbolizer.frames(std::process::id(), address).remove(0);
        let expected = "event::symbolize::tests::symbolizes_this_function+0x0";
        assert!(frame.to_string().contains(expected), "{frame}");
        let unmapped = symbolizer.frames(std::process::id(), CodeAddress::Instruction(1));
        assert_eq!(unmapped[0].to_string(), "0x1");
    }
}
