//! Function entries as stand-ins for probes of the catalog, in binaries that were built without
//! them.
//!
//! The function table, which stripped files have too, has the addresses.

use crate::binary::GoBinary;
use crate::catalog::{ArgLocation, Field, FunctionEntry, Probe, Provider};
use crate::goid;
use crate::register_abi::integer_registers;
use crate::supported_releases::{FIRST_REGISTER_ABI_ARM64, UNMODIFIED_MINORS, leading_minor};
use stapsdt::argspec::{Arch, Expr, Operand, Register, RegisterId};
use stapsdt::source::Source;

/// The number of bytes to read at a function's entry: the longest stack check, rounded up.
pub(crate) const MAX_PROLOGUE_SIZE: u64 = 32;

/// An attachable function entry that stands in for a probe.
#[derive(Clone, Debug)]
pub struct EntryPoint {
    /// The provider of the probe.
    pub provider: &'static Provider,
    /// The probe that would fire when the function is entered.
    pub probe: &'static Probe,
    /// The link-time address to attach to.
    ///
    /// On amd64 from Go 1.21 on, it is the push after the prologue's stack check. Elsewhere it is
    /// the branch of the stack check, which kernels emulate as well. Hits on the taken branch must
    /// be ignored, because the prologue runs again after the stack has grown. For a function
    /// without a stack check, it is the first instruction.
    pub address: u64,
    /// The arguments that can be read at this address; others are left out.
    pub args: Vec<EntryArg>,
}

/// An argument of a probe at a function entry.
#[derive(Clone, Debug)]
pub struct EntryArg {
    /// The argument's name in the catalog.
    pub name: &'static str,
    /// The location of the argument's first word.
    pub first_word: Location,
    /// The location of the following word, which is a string's length. `None` if there is none.
    pub second_word: Option<Location>,
    /// True if the word is the code of an enum, in place of the string that the probe has.
    pub is_enum: bool,
    /// The enum's labels by code. `None` for other arguments, and for releases whose labels are
    /// unknown.
    pub labels: Option<&'static [&'static str]>,
}

/// The location of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the register with this hardware number. On arm64, 31 is the stack pointer.
    Register(u8),
    /// In memory, at the end of a chain of pointers that starts in a register.
    Memory {
        /// The hardware number of the register.
        base: u8,
        /// The offset in bytes from each pointer: the first one from the register's value, the
        /// others from the pointer read before. The last one leads to the word.
        offsets: Vec<i64>,
    },
    /// The word always has this value.
    Constant(i64),
}

impl Location {
    /// Returns the first operand of a note on the way to the word, and the offsets from the pointers
    /// that follow.
    pub fn operand(&self, arch: Arch) -> (Operand, &[i64]) {
        match self {
            Location::Register(number) => (Operand::Register(Register::gpr(*number)), &[]),
            Location::Constant(number) => (Operand::Constant(Expr::number(*number)), &[]),
            Location::Memory { base, offsets } => {
                let (first, rest) = offsets.split_first().unwrap_or((&0, &[]));
                (memory_operand(*base, *first, arch), rest)
            }
        }
    }
}

/// Returns the operand at an offset in bytes from a register with this hardware number.
pub fn memory_operand(base: u8, offset: i64, arch: Arch) -> Operand {
    let base = match (arch, base) {
        (Arch::Aarch64, 31) => Register { id: RegisterId::Sp, bits: 64, shift: 0 },
        _ => Register::gpr(base),
    };
    Operand::Memory { disp: Expr::number(offset), base: Some(base), index: None }
}

/// A reason why a Go binary has no function entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEntries {
    /// The release passes arguments on the stack, where the entries cannot find them.
    StackArguments {
        /// The first minor release that passes them in registers on the file's architecture.
        first_minor: u32,
    },
    /// The file has no build information, and may be of a release that passes arguments on the
    /// stack.
    UnknownVersion,
    /// The file has no function table, or one of an unknown version.
    NoFunctionTable,
}

impl NoEntries {
    /// Describes the reason and the remedy, for a file of a Go release and an architecture.
    pub fn describe(self, version: Option<&str>, arch: Arch) -> String {
        match self {
            NoEntries::StackArguments { first_minor } => {
                let arch = match arch {
                    Arch::X86_64 => "amd64",
                    Arch::Aarch64 => "arm64",
                };
                format!(
                    "it was built with {}, which passes arguments on the stack; rebuild it with Go 1.{first_minor} ({arch}) or newer",
                    version.unwrap_or("an unknown Go release")
                )
            }
            NoEntries::UnknownVersion => {
                "it has no build information, and was built with Go 1.17 or older; rebuild it with a newer release"
                    .to_owned()
            }
            NoEntries::NoFunctionTable => {
                "its function table was not found; build it with `go build -overlay=$(usdt-gen overlay)` instead"
                    .to_owned()
            }
        }
    }
}

impl<'a, S: Source<'a>> GoBinary<'a, S> {
    /// Returns why [`function_entries`](Self::function_entries) returns nothing for this file;
    /// `None` if it can return some.
    pub fn no_entries(&self) -> Option<NoEntries> {
        let first_minor = match self.view.arch() {
            Some(Arch::Aarch64) => FIRST_REGISTER_ABI_ARM64,
            _ => *UNMODIFIED_MINORS.start(),
        };
        if self.version().and_then(leading_minor).is_some_and(|minor| minor < first_minor) {
            return Some(NoEntries::StackArguments { first_minor });
        }
        match self.function_table() {
            None => Some(NoEntries::NoFunctionTable),
            Some(table) if table.has_addresses && self.version().is_none() => {
                Some(NoEntries::UnknownVersion)
            }
            Some(_) => None,
        }
    }

    /// Returns the function entries for the probes of `providers`, in the order of the catalog.
    ///
    /// Entries of functions that the file does not have are left out. A file without build
    /// information is taken for one of the newest release.
    pub fn function_entries(&self, providers: &[&'static Provider]) -> Vec<EntryPoint> {
        if self.no_entries().is_some() {
            return Vec::new();
        }
        let entries = providers.iter().flat_map(|p| p.probes).flat_map(|probe| probe.entries);
        let addresses = self.function_ranges(entries.map(|entry| entry.function));
        let resolver = Resolver { go: self, goid_offset: self.goid_offset() };
        let minor = self.version().and_then(leading_minor);
        let mut out = Vec::new();
        for provider in providers {
            for probe in provider.probes {
                for entry in probe.entries.iter().filter(|entry| entry.is_for(minor)) {
                    let range = addresses.get(entry.function);
                    out.extend(range.and_then(|range| {
                        resolver.entry_point(provider, probe, entry, range.start)
                    }));
                }
            }
        }
        out
    }
}

/// Locates the catalog's entries in one binary.
struct Resolver<'g, 'a, S: Source<'a>> {
    go: &'g GoBinary<'a, S>,
    /// The offset in bytes of `goid` in `runtime.g`.
    goid_offset: Option<u32>,
}

impl<'a, S: Source<'a>> Resolver<'_, 'a, S> {
    fn is_amd64(&self) -> bool {
        self.go.view.arch() == Some(Arch::X86_64)
    }

    fn entry_point(
        &self,
        provider: &'static Provider,
        probe: &'static Probe,
        entry: &'static FunctionEntry,
        address: u64,
    ) -> Option<EntryPoint> {
        let code = self.go.view.bytes_up_to(address, MAX_PROLOGUE_SIZE)?;
        let offset =
            if self.is_amd64() { amd64_site_offset(code) } else { arm64_site_offset(code) };
        let args = entry
            .args
            .iter()
            .filter_map(|(name, location)| self.argument(name, location))
            .collect();
        Some(EntryPoint { provider, probe, address: address.checked_add(offset as u64)?, args })
    }

    fn argument(&self, name: &'static str, location: &ArgLocation) -> Option<EntryArg> {
        let arg = |first_word, second_word| EntryArg {
            name,
            first_word,
            second_word,
            is_enum: false,
            labels: None,
        };
        let memory = |base, offsets| Location::Memory { base, offsets };
        Some(match *location {
            ArgLocation::Register(number) => {
                let next =
                    number.checked_add(1).and_then(|n| self.register(n)).map(Location::Register);
                arg(Location::Register(self.register(number)?), next)
            }
            ArgLocation::FieldPath { register, path } => {
                let base = self.register(register)?;
                let first =
                    path.iter().map(|f| self.nested_offset(f)).collect::<Option<Vec<i64>>>()?;
                let mut second = first.clone();
                *second.last_mut()? += 8;
                arg(memory(base, first), Some(memory(base, second)))
            }
            ArgLocation::Enum { register, labels } => {
                let first_word = Location::Register(self.register(register)?);
                EntryArg {
                    name,
                    first_word,
                    second_word: None,
                    is_enum: true,
                    labels: self.go.labels(labels),
                }
            }
            ArgLocation::GoroutineId(register) => {
                let running = Some(self.running_goroutine());
                let base = register.map_or(running, |number| self.register(number))?;
                arg(memory(base, vec![self.goid_offset?.into()]), None)
            }
            ArgLocation::Constant(number) => arg(Location::Constant(number), None),
        })
    }

    /// Returns the offset of the innermost of nested fields from the start of the outermost struct.
    fn nested_offset(&self, fields: &[Field]) -> Option<i64> {
        fields.iter().map(|field| self.go.field_offset(field).map(i64::from)).sum()
    }

    /// Returns the hardware number of the register that holds the running goroutine.
    fn running_goroutine(&self) -> u8 {
        if self.is_amd64() { goid::G_REGISTER_AMD64 } else { goid::G_REGISTER_ARM64 }
    }

    /// Returns the hardware number of an integer register of Go's calling convention.
    fn register(&self, number: u8) -> Option<u8> {
        let arch = if self.is_amd64() { Arch::X86_64 } else { Arch::Aarch64 };
        integer_registers(arch).get(usize::from(number)).copied()
    }
}

/// Returns the offset in bytes of the instruction to attach to on amd64; 0 if no stack check is
/// recognized. The check uses no argument registers.
///
/// The code after the check runs once per call, no matter how often the stack grows. From Go 1.21
/// on it is a push, which the kernel emulates. Before, it is a subtraction, which the kernel
/// single-steps, so that the branch of the check is the better site.
pub(crate) fn amd64_site_offset(code: &[u8]) -> usize {
    // Larger frames have `lea -N(%rsp),%r12` first, and the largest `mov %rsp,%r12`,
    // `sub $N,%r12` and `jb`.
    let frame = match code {
        [0x4c, 0x8d, 0x64, 0x24, ..] => 5,
        [0x4c, 0x8d, 0xa4, 0x24, ..] => 8,
        [0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, _, _, _, _, 0x72, ..] => 12,
        [0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, _, _, _, _, 0x0f, 0x82, ..] => 16,
        _ => 0,
    };
    // cmp 0x10(%r14),%rsp or %r12; 0x18 in functions on the system stack
    let branch = match code.get(frame..) {
        Some([0x49, 0x3b, 0x66, 0x10 | 0x18, ..]) if frame == 0 => 4,
        Some([0x4d, 0x3b, 0x66, 0x10 | 0x18, ..]) if frame > 0 => frame + 4,
        _ => return 0,
    };
    // jbe
    let end = match code.get(branch..) {
        Some([0x76, _, ..]) => branch + 2,
        Some([0x0f, 0x86, _, _, _, _, ..]) => branch + 6,
        _ => return 0,
    };
    let is_push = code.get(end) == Some(&0x55);
    if is_push { end } else { branch }
}

/// Returns the offset in bytes of the instruction to attach to on arm64: the branch at the end of the
/// prologue's stack check, or 0 if there is none. The check uses no argument registers.
pub(crate) fn arm64_site_offset(code: &[u8]) -> usize {
    /// ldr x16, [x28, #16], or #24 in functions on the system stack
    const LOAD_LIMIT: [u32; 2] = [0xf940_0b90, 0xf940_0f90];
    /// b.ls, after masking its distance
    const BRANCH: u32 = 0x5400_0009;
    const BRANCH_MASK: u32 = 0xff00_001f;
    let mut words = code.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    if !words.next().is_some_and(|word| LOAD_LIMIT.contains(&word)) {
        return 0;
    }
    // The check of a large frame has up to four more instructions.
    words.take(6).position(|word| word & BRANCH_MASK == BRANCH).map_or(0, |index| 4 * (index + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_stack_checks_of_all_frame_sizes() {
        let len = amd64_site_offset;
        assert_eq!(len(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55]), 6);
        assert_eq!(len(&[0x49, 0x3b, 0x66, 0x18, 0x0f, 0x86, 1, 2, 3, 4, 0x55]), 10);
        assert_eq!(
            len(&[0x4c, 0x8d, 0x64, 0x24, 0xe8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55]),
            11
        );
        let large = [
            0x4c, 0x8d, 0xa4, 0x24, 1, 2, 3, 4, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 1, 2, 3, 4,
            0x55,
        ];
        assert_eq!(len(&large), 18);
        for end in 0..large.len() - 1 {
            assert_eq!(len(&large[..end]), 0);
        }
        let check = [0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 1, 2, 3, 4, 0x55];
        let subtraction = [0x49, 0x89, 0xe4, 0x49, 0x81, 0xec, 1, 2, 3, 4];
        let largest = |branch: &[u8]| len(&[&subtraction[..], branch, &check].concat());
        assert_eq!((largest(&[0x72, 9]), largest(&[0x0f, 0x82, 1, 2, 3, 4])), (22, 26));
        assert_eq!(len(&[0x55, 0x48, 0x89, 0xe5]), 0);
    }

    #[test]
    fn attaches_to_the_branch_of_a_stack_check_without_a_push() {
        // Go 1.17 to 1.20: sub $N,%rsp after the check.
        let small = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x48, 0x83, 0xec, 0x18];
        assert_eq!(amd64_site_offset(&small), 4);
        let large = [
            0x4c, 0x8d, 0xa4, 0x24, 1, 2, 3, 4, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 1, 2, 3, 4,
            0x48, 0x81, 0xec,
        ];
        assert_eq!(amd64_site_offset(&large), 12);
        assert_eq!(amd64_site_offset(&[0x48, 0x83, 0xec, 0x30, 0x48, 0x89]), 0, "no check");
    }

    #[test]
    fn recognizes_branches_of_stack_checks() {
        let code =
            |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let small = code(&[0xf940_0b90, 0xeb30_63ff, 0x5400_0209, 0xf81e_0ffe]);
        assert_eq!(arm64_site_offset(&small), 8);
        let medium = code(&[0xf940_0b90, 0xd100_83f1, 0xeb10_023f, 0x5400_0409]);
        assert_eq!(arm64_site_offset(&medium), 12);
        for end in 0..small.len() - 4 {
            assert_eq!(arm64_site_offset(&small[..end]), 0);
        }
        assert_eq!(arm64_site_offset(&code(&[0xf81e_0ffe, 0x5400_0209])), 0, "no check");
    }

    proptest::proptest! {
        #[test]
        fn accepts_any_code(code: Vec<u8>) {
            let branch = arm64_site_offset(&code);
            proptest::prop_assert!(branch == 0 || code.len() >= branch + 4);
            let site = amd64_site_offset(&code);
            proptest::prop_assert!(site == 0 || [0x55, 0x76, 0x0f].contains(&code[site]));
        }
    }
}
