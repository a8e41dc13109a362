//! Symbolization of code addresses.
//!
//! Go binaries are symbolized by their line table (pclntab), which stripped binaries have as well:
//! functions, inlined functions and lines. Other binaries are symbolized by their symbol table:
//! functions only.

use crate::discover::process::{self, MappedRange};
use crate::discover::{FileBytes, Mounts, Object, ObjectId};
use crate::event::Event;
use crate::event::elf_symbols::ElfSymbols;
use gobinary::GoBinary;
use gobinary::pclntab::TableLayout;
use stapsdt::elf::Segment;
use std::cell::LazyCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// `e_type` of an executable that is mapped at its link-time addresses (gABI, "ELF Header").
const ET_EXEC: u16 = 2;

/// The number of mappings that are cached.
const MAX_MAPPINGS: usize = 1 << 16;
/// The number of objects that are cached. Each has a descriptor.
const MAX_OBJECTS: usize = 256;
/// The number of symbols that are cached, 16 bytes each.
const MAX_SYMBOLS: usize = 1 << 21;
/// The limit in bytes of what is cached of an object besides its symbols.
const MAX_CACHED: u64 = 2 << 20;

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
    /// The segments that are loaded.
    segments: Vec<Segment>,
    is_fixed: bool,
    symbols: Symbols,
    /// What was read for earlier look-ups. It is dropped when it is large.
    bytes: Mutex<FileBytes>,
}

enum Symbols {
    Go(TableLayout),
    Elf(ElfSymbols),
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
            let mounts: LazyCell<Mounts> = LazyCell::new(Mounts::new);
            for mapping in &mappings {
                self.object_of(pid, mapping, &mounts);
            }
            let cached = self.processes.values().map(Vec::len).sum::<usize>();
            if cached + mappings.len() > MAX_MAPPINGS {
                self.processes.clear();
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
        let mut bytes = file.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.is_half_full() {
            *bytes = file.object.bytes_with_limit(MAX_CACHED);
        }
        match &file.symbols {
            Symbols::Go(layout) => {
                let table = layout.table(&*bytes);
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
                if let Some((start, name)) = symbols.look_up(&bytes, linked) {
                    let offset = linked_address - start;
                    frame.function = Some(FrameFunction { name, offset });
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
        if self.objects.contains_key(&object.id) {
            return;
        }
        let added = SymbolizedObject::new(Arc::clone(object));
        let cached = self.objects.values().map(|o| o.symbol_count()).sum::<usize>();
        if self.objects.len() == MAX_OBJECTS || cached + added.symbol_count() > MAX_SYMBOLS {
            self.objects.clear();
            self.object_ids.clear();
        }
        self.objects.insert(object.id, Arc::new(added));
    }

    /// The object that an address belongs to, and the link-time address in it.
    fn locate(&mut self, pid: u32, address: u64) -> Option<(Arc<SymbolizedObject>, u64)> {
        if let Some(mapping) = self.mapping_of(pid, address)
            && let Some(file) = self.object_of(pid, &mapping, &LazyCell::new(Mounts::new))
        {
            let offset = (address - mapping.start).checked_add(mapping.offset)?;
            let linked = file.segments.iter().find_map(|segment| {
                let distance = offset.checked_sub(segment.offset)?;
                (distance < segment.filesz).then(|| segment.vaddr.checked_add(distance))?
            })?;
            return Some((file, linked));
        }
        if self.processes.contains_key(&pid) {
            return None;
        }
        // The process has exited. An executable with fixed addresses needs no mappings.
        let contains = |file: &&Arc<SymbolizedObject>| {
            let mut code = file.segments.iter().filter(|segment| segment.is_executable());
            file.is_fixed && code.any(|segment| segment.file_backs(address, 1))
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

    fn object_of(
        &mut self,
        pid: u32,
        mapping: &MappedRange,
        mounts: &LazyCell<Mounts>,
    ) -> Option<Arc<SymbolizedObject>> {
        let (device, inode) = mapping.file();
        let key = (device.to_owned(), inode);
        let id = match self.object_ids.get(&key) {
            Some(id) => *id,
            None => {
                let object = mapping.open(pid, mounts).map(Arc::new);
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
    /// Reads what look-ups need. An object that cannot be read has no symbols.
    fn new(object: Arc<Object>) -> SymbolizedObject {
        let cached = Mutex::new(object.bytes_with_limit(MAX_CACHED));
        let bytes = object.bytes();
        let go = GoBinary::read(&bytes).and_then(|binary| binary.function_table());
        let (mut segments, mut is_fixed, mut elf) = (Vec::new(), false, ElfSymbols::default());
        if let Ok(view) = object.view(&bytes) {
            segments = view.segments.iter().filter(|s| s.is_load()).copied().collect();
            is_fixed = view.file_type() == ET_EXEC;
            if go.is_none() {
                elf = ElfSymbols::read(&view);
            }
        }
        let symbols = go.map_or(Symbols::Elf(elf), Symbols::Go);
        SymbolizedObject { object, segments, is_fixed, symbols, bytes: cached }
    }

    fn symbol_count(&self) -> usize {
        match &self.symbols {
            Symbols::Go(_) => 0,
            Symbols::Elf(symbols) => symbols.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
