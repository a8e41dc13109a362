//! Functions of a Go binary by name, and the instructions at which a call of them begins and ends.
//!
//! The function table, which stripped files have too, has the names and the addresses.
//!
//! ```no_run
//! let data = std::fs::read("/usr/local/bin/app")?;
//! if let Some(go) = gobinary::GoBinary::parse(&data) {
//!     for found in go.find_functions(|name| name.starts_with("main."), 1000).functions {
//!         println!("{} at {:#x}", found.name, found.range.start);
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

use crate::binary::GoBinary;
use crate::code_exits::find_exits;
use crate::function_entry::{MAX_PROLOGUE_SIZE, amd64_site_offset, arm64_site_offset};
use crate::inlined_calls::InlinedCall;
use crate::register_abi::integer_registers;
use stapsdt::argspec::Arch;
use stapsdt::source::Source;
use std::fmt;
use std::ops::Range;

/// The result of a search by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundFunctions {
    /// The functions with code of their own, in the order of their addresses.
    pub functions: Vec<FoundFunction>,
    /// Names that match but have no code: the compiler inlined all calls.
    pub inlined: Vec<String>,
    /// True if more functions match than the limit of the search. `functions` is empty then.
    pub exceeds_limit: bool,
}

/// A function that was found by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFunction {
    /// The name in the function table: `net/http.(*conn).serve`. That of an instance of a generic
    /// function ends in its type arguments: `main.Map[go.shape.int]`.
    pub name: String,
    /// The link-time addresses of its code, with the padding that follows it.
    pub range: Range<u64>,
    /// The number of words of arguments, which are in registers as far as there are registers for
    /// them. It is a lower limit: small arguments can share a word here. `None` if it is not known.
    pub argument_words: Option<u32>,
    /// True for a function that is written in assembly.
    pub is_assembly: bool,
}

/// The instructions at which a call of a function begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSites {
    /// The link-time address of an instruction that runs once per call, also if the stack grows, as
    /// [`EntryPoint::address`](crate::function_entry::EntryPoint::address) describes.
    pub entry: u64,
    /// The link-time addresses of the return instructions. At each of them, and at `entry`, the stack
    /// pointer has the same distance from the top of the stack.
    pub returns: Vec<u64>,
    /// The link-time addresses that the function jumps to at its end, instead of a return.
    pub tail_calls: Vec<u64>,
}

/// Why a probe cannot be attached to a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoSites {
    /// It is written in assembly, whose registers and stack are not those of Go's calling convention.
    Assembly,
    /// It is a function of the runtime without the stack check of Go's functions: it may run where
    /// there is no goroutine.
    NoGoroutine,
    /// Its code cannot be decoded at this link-time address.
    Undecodable(u64),
    /// Its stack check has a form that is not known, so that an entry could be counted twice.
    UnknownStackCheck,
    /// Its code cannot be read, or is larger than any that compilers write.
    Unreadable,
}

impl fmt::Display for NoSites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoSites::Assembly => {
                "written in assembly, whose registers and stack do not follow Go's calling convention"
            }
            NoSites::NoGoroutine => {
                "a function of the runtime without a stack check, which may run where there is no goroutine"
            }
            NoSites::Undecodable(_) => "its code cannot be decoded; it is not compiled from Go",
            NoSites::UnknownStackCheck => {
                "its stack check has an unknown form, so that calls could be counted twice"
            }
            NoSites::Unreadable => "its code cannot be read",
        })
    }
}

/// The size in bytes of the largest function that is decoded.
const MAX_CODE_SIZE: u64 = 4 << 20;

/// Returns the hardware number of an integer register of Go's calling convention by its position;
/// `None` if there are fewer.
pub fn argument_register(position: usize, arch: Arch) -> Option<u8> {
    integer_registers(arch).get(position).copied()
}

impl<'a, S: Source<'a>> GoBinary<'a, S> {
    /// Finds the functions whose names match. Finds none if more than `limit` names match, or more
    /// functions of these names.
    pub fn find_functions(
        &self,
        matches: impl FnMut(&str) -> bool,
        limit: usize,
    ) -> FoundFunctions {
        let mut found = FoundFunctions::default();
        let layout = self.function_table();
        let Some(table) = layout.and_then(|layout| layout.table(self.view.source())) else {
            return found;
        };
        let matching = table.matching(matches, limit);
        let count: usize = matching.iter().map(|(_, indexes)| indexes.len().max(1)).sum();
        if count > limit {
            found.exceeds_limit = true;
            return found;
        }
        let indexes = matching.iter().flat_map(|(_, indexes)| indexes).copied();
        let ranges = self.ranges(&table, indexes);
        for (name, indexes) in matching {
            if indexes.is_empty() {
                if !name.is_empty() {
                    found.inlined.push(name);
                }
                continue;
            }
            let functions = indexes.iter().filter_map(|index| {
                let function = table.get(*index)?;
                let size = table.argument_bytes(&function);
                Some(FoundFunction {
                    name: name.clone(),
                    range: ranges.get(index)?.clone(),
                    argument_words: size.and_then(|size| u32::try_from(size.div_ceil(8)).ok()),
                    is_assembly: table
                        .source_file(&function)
                        .is_some_and(|file| file.ends_with(".s")),
                })
            });
            let is_generic = name.contains('[');
            let mut all: Vec<FoundFunction> = functions.collect();
            // A function that assembly calls, or that calls assembly, has a second one of the same
            // name, which translates between the calling conventions. The linker puts it last.
            if !is_generic && all.len() > 1 {
                let first = all.iter().position(|one| !one.is_assembly).unwrap_or(0);
                all = vec![all.swap_remove(first)];
            }
            found.functions.extend(all);
        }
        found.functions.sort_by_key(|function| function.range.start);
        found
    }

    /// Returns the instructions at which a call of a function begins and ends.
    ///
    /// # Errors
    ///
    /// Fails with the reason why a probe cannot be attached to the function.
    pub fn function_sites(&self, found: &FoundFunction) -> Result<FunctionSites, NoSites> {
        if found.is_assembly {
            return Err(NoSites::Assembly);
        }
        let start = found.range.start;
        let size = found.range.end.saturating_sub(start);
        let arch = self.view.arch().ok_or(NoSites::Unreadable)?;
        if size > MAX_CODE_SIZE {
            return Err(NoSites::Unreadable);
        }
        let code = self.view.bytes_at(start, size).ok_or(NoSites::Unreadable)?;
        let prologue = code.get(..MAX_PROLOGUE_SIZE as usize).unwrap_or(code);
        let entry = match arch {
            Arch::X86_64 => amd64_site_offset(prologue),
            Arch::Aarch64 => arm64_site_offset(prologue),
        };
        if is_runtime(&found.name) && (entry == 0 || checks_system_stack(prologue, arch)) {
            return Err(NoSites::NoGoroutine);
        }
        let exits = find_exits(code, start, arch)
            .map_err(|offset| NoSites::Undecodable(start.saturating_add(offset)))?;
        if exits.restarts && entry == 0 {
            return Err(NoSites::UnknownStackCheck);
        }
        let returns: Vec<u64> = exits.returns.iter().map(|offset| start + offset).collect();
        // The table says how far the stack pointer has moved. If it has, the code was not decoded as
        // it runs.
        let layout = self.function_table();
        if let Some(table) = layout.and_then(|layout| layout.table(self.view.source()))
            && let Some(function) = table.lookup(start).filter(|function| function.entry == start)
        {
            let moved = |at: &&u64| !matches!(table.frame_size(&function, **at), None | Some(0));
            if let Some(at) = returns.iter().find(moved) {
                return Err(NoSites::Undecodable(*at));
            }
        }
        Ok(FunctionSites { entry: start + entry as u64, returns, tail_calls: exits.jumps_out })
    }

    /// Returns up to `max` places in which calls of functions are inlined, as
    /// [`FunctionTable::inlined_calls`](crate::pclntab::FunctionTable::inlined_calls) does.
    pub fn inlined_calls<'n>(
        &self,
        functions: impl IntoIterator<Item = &'n str>,
        max: usize,
    ) -> Vec<InlinedCall<'a>> {
        let layout = self.function_table();
        let table = layout.and_then(|layout| layout.table(self.view.source()));
        table.map(|table| table.inlined_calls(functions, max)).unwrap_or_default()
    }

    /// Returns the name of the function at a link-time address; `None` if there is none.
    pub fn function_name_at(&self, address: u64) -> Option<&'a str> {
        let table = self.function_table()?.table(self.view.source())?;
        table.lookup(address).map(|function| function.name)
    }
}

/// Returns true for a function of the runtime and the packages that it is built from.
fn is_runtime(name: &str) -> bool {
    ["runtime.", "runtime/internal/", "internal/runtime/"].iter().any(|p| name.starts_with(p))
}

/// Returns true if the stack check of a prologue is that of functions on the system stack.
fn checks_system_stack(prologue: &[u8], arch: Arch) -> bool {
    match arch {
        // cmp 0x18(%r14),%rsp or %r12
        Arch::X86_64 => {
            prologue.windows(4).any(|code| matches!(code, [0x49 | 0x4d, 0x3b, 0x66, 0x18]))
        }
        // ldr x16, [x28, #24]
        Arch::Aarch64 => prologue.starts_with(&0xf940_0f90u32.to_le_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_runtime_by_its_packages() {
        let runtime =
            ["runtime.mallocgc", "runtime/internal/sys.x", "internal/runtime/maps.(*Map).x"];
        assert!(runtime.into_iter().all(is_runtime));
        assert!(
            !["runtime/debug.Stack", "main.runtime.x", "runtimes.x"].into_iter().any(is_runtime)
        );
    }

    #[test]
    fn knows_the_stack_check_of_the_system_stack() {
        let check = |limit| [0x49, 0x3b, 0x66, limit, 0x76, 0x20, 0x55];
        assert!(checks_system_stack(&check(0x18), Arch::X86_64));
        assert!(!checks_system_stack(&check(0x10), Arch::X86_64));
        assert!(checks_system_stack(&0xf940_0f90u32.to_le_bytes(), Arch::Aarch64));
    }

    #[test]
    fn registers_are_those_of_the_calling_convention() {
        let registers = |arch| (0..20).map_while(|n| argument_register(n, arch)).count();
        assert_eq!((registers(Arch::X86_64), registers(Arch::Aarch64)), (9, 16));
        assert_eq!(argument_register(1, Arch::X86_64), Some(3));
    }
}
