//! Symbolization: functions and lines of Go binaries by their line table (pclntab), also stripped ones, and functions of
//! others by their symbol tables.

use crate::discover::process::{self, Mapped};
use crate::discover::{Object, ObjectId};
use crate::event::Event;
use gobinary::GoBinary;
use gobinary::pclntab;
use object::{Object as _, ObjectSymbol, SymbolKind};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// `e_type` of a file with fixed addresses (gABI, "ELF Header").
const ET_EXEC: u16 = 2;

/// A frame of a stack: an address and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The address in the process.
    pub address: u64,
    /// The function, and the distance from its first instruction in bytes; `None` if unknown.
    pub function: Option<(String, u64)>,
    /// Inlined into the function of the next frame, whose instruction this is.
    pub inlined: bool,
    /// Source file and line; `None` if unknown.
    pub line: Option<(String, u32)>,
    /// The object that is mapped there, and the link-time address in it; `None` if unknown.
    pub object: Option<(String, u64)>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.function, &self.object) {
            (Some((name, _)), _) if self.inlined => f.write_str(name)?,
            (Some((name, distance)), _) => write!(f, "{name}+{distance:#x}")?,
            (None, Some((object, address))) => write!(f, "{object}+{address:#x}")?,
            (None, None) => write!(f, "{:#x}", self.address)?,
        }
        match &self.line {
            Some((file, line)) => write!(f, " {file}:{line}"),
            None => Ok(()),
        }
    }
}

/// Symbolizes addresses. The mappings of a process are read when its first address is symbolized.
#[derive(Default)]
pub struct Symbolizer {
    processes: HashMap<u32, Vec<Mapped>>,
    /// By device and inode as maps have them.
    files: HashMap<(String, u64), Option<ObjectId>>,
    objects: HashMap<ObjectId, Arc<File>>,
}

struct File {
    object: Arc<Object>,
    names: Names,
}

enum Names {
    Go(pclntab::TableLayout),
    /// Start, end (0 where it is not known) and name, by start.
    Symbols(Vec<(u64, u64, String)>),
}

impl fmt::Debug for Symbolizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tables of symbols are too long to print.
        f.debug_struct("Symbolizer")
            .field("processes", &self.processes.len())
            .finish_non_exhaustive()
    }
}

impl Symbolizer {
    /// Reads the mappings of a process now, for addresses that are symbolized after it has ended.
    pub fn remember(&mut self, pid: u32) {
        // A process that has ended maps nothing, until its parent has waited for it.
        if let Some(mapped) = process::mapped(pid).ok().filter(|mapped| !mapped.is_empty()) {
            for one in &mapped {
                self.file(pid, one);
            }
            self.processes.insert(pid, mapped);
        }
    }

    /// The frames of an address, innermost first: inlined functions, then the function they are inlined into. `call` says
    /// that the address is a return address, so that the call before it is symbolized.
    pub fn frames(&mut self, pid: u32, address: u64, call: bool) -> Vec<Frame> {
        let mut frame = Frame { address, function: None, inlined: false, line: None, object: None };
        let wanted = if call { address.saturating_sub(1) } else { address };
        let Some((file, linked)) = self.place(pid, wanted) else { return vec![frame] };
        let shown = linked + (address - wanted);
        let name = file.object.path.file_name().unwrap_or(file.object.path.as_os_str());
        frame.object = Some((name.to_string_lossy().into_owned(), shown));
        match &file.names {
            Names::Go(layout) => {
                let functions = layout.table(file.object.bytes());
                if let Some((functions, function)) =
                    functions.and_then(|f| f.lookup(linked).map(|one| (f, one)))
                {
                    let distance = shown - function.entry;
                    let all = functions.frames(&function, linked);
                    let outermost = all.len().saturating_sub(1);
                    let named = all.into_iter().enumerate().map(|(i, one)| Frame {
                        function: Some((one.function.to_owned(), distance)),
                        inlined: i < outermost,
                        line: one.line.map(|l| (l.file.to_owned(), l.line)),
                        ..frame.clone()
                    });
                    return named.collect();
                }
            }
            Names::Symbols(symbols) => {
                let before = symbols.partition_point(|(start, ..)| *start <= linked);
                let symbol = before.checked_sub(1).and_then(|i| symbols.get(i));
                if let Some((start, _, name)) =
                    symbol.filter(|(_, end, _)| *end == 0 || linked < *end)
                {
                    frame.function = Some((readable(name), shown - start));
                }
            }
        }
        vec![frame]
    }

    /// The frames of an event's stack, innermost function first; empty if none is recorded.
    pub fn stack(&mut self, event: &Event<'_>) -> Vec<Frame> {
        // The innermost address is where the process is, unless that is a stub, which is left out.
        let first = usize::from(!event.is_stub());
        let stack = event.stack().into_iter().flatten().enumerate();
        stack.flat_map(|(index, address)| self.frames(event.pid, address, index >= first)).collect()
    }

    /// Adds an object, for processes that end before their mappings are read.
    pub fn know(&mut self, object: &Arc<Object>) {
        self.objects.entry(object.id).or_insert_with(|| Arc::new(File::new(Arc::clone(object))));
    }

    /// The file that an address of a process is in, and its link-time address there.
    fn place(&mut self, pid: u32, address: u64) -> Option<(Arc<File>, u64)> {
        if let Some(mapped) = self.mapped(pid, address)
            && let Some(file) = self.file(pid, &mapped)
        {
            let linked =
                file.object.view().ok()?.offset_to_vaddr(address - mapped.start + mapped.offset)?;
            return Some((file, linked));
        }
        if self.processes.contains_key(&pid) {
            return None;
        }
        // The process has ended. A file that is always mapped at its own addresses needs none.
        let holds = |file: &&Arc<File>| {
            file.object.view().is_ok_and(|view| {
                let segment = view.load_segment(address, 1);
                view.file_type() == ET_EXEC
                    && segment.is_some_and(stapsdt::elf::Segment::is_executable)
            })
        };
        self.objects.values().find(holds).map(|file| (Arc::clone(file), address))
    }

    fn mapped(&mut self, pid: u32, address: u64) -> Option<Mapped> {
        let find =
            |all: &Vec<Mapped>| all.iter().find(|m| (m.start..m.end).contains(&address)).cloned();
        if let Some(found) = self.processes.get(&pid).and_then(find) {
            return Some(found);
        }
        // A library that was loaded since, or a process that is new.
        self.remember(pid);
        self.processes.get(&pid).and_then(find)
    }

    fn file(&mut self, pid: u32, mapped: &Mapped) -> Option<Arc<File>> {
        let (device, inode) = mapped.file();
        let key = (device.to_owned(), inode);
        let id = match self.files.get(&key) {
            Some(id) => *id,
            None => {
                let object = mapped.open(pid).map(Arc::new);
                object.iter().for_each(|object| self.know(object));
                // What a process maps can still be seen while it ends, but not opened any more.
                let name = mapped.name().file_name();
                let same =
                    |f: &&Arc<File>| f.object.id.ino == inode && f.object.path.file_name() == name;
                let known = || self.objects.values().find(same).map(|f| f.object.id);
                let id = object.as_ref().map(|o| o.id).or_else(known);
                self.files.insert(key, id);
                id
            }
        };
        self.objects.get(&id?).cloned()
    }
}

impl File {
    fn new(object: Arc<Object>) -> File {
        let go = GoBinary::parse(object.bytes()).and_then(|binary| binary.function_table());
        let names = go.map_or_else(|| Names::Symbols(symbols(object.bytes())), Names::Go);
        File { object, names }
    }
}

/// Functions of the symbol table, or of the dynamic one where there is no other.
fn symbols(file: &[u8]) -> Vec<(u64, u64, String)> {
    let Ok(file) = object::File::parse(file) else { return Vec::new() };
    let function = |s: &object::Symbol<'_, '_>| s.kind() == SymbolKind::Text && s.is_definition();
    let read = |s: object::Symbol<'_, '_>| {
        let end = if s.size() == 0 { 0 } else { s.address().saturating_add(s.size()) };
        Some((s.address(), end, s.name().ok()?.to_owned()))
    };
    let mut out: Vec<(u64, u64, String)> =
        file.symbols().filter(function).filter_map(read).collect();
    if out.is_empty() {
        out = file.dynamic_symbols().filter(function).filter_map(read).collect();
    }
    out.sort_unstable();
    out
}

/// A name as its language writes it.
fn readable(name: &str) -> String {
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
    fn names_are_readable() {
        assert_eq!(
            readable("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"),
            "core::fmt::Write::write_fmt"
        );
        assert_eq!(readable("_Z3addii"), "add(int, int)");
        assert_eq!(readable("main"), "main");
    }

    #[test]
    fn this_function_has_a_name() {
        let address = this_function_has_a_name as *const () as u64;
        let frame = Symbolizer::default().frames(std::process::id(), address, false).remove(0);
        let (name, distance) = frame.function.unwrap();
        assert!(name.contains("event::symbolize::tests::this_function_has_a_name"), "{name}");
        assert_eq!(distance, 0);
        assert_eq!(
            Symbolizer::default().frames(std::process::id(), 1, false)[0].to_string(),
            "0x1"
        );
    }
}
