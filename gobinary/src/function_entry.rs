//! Function entries at which probes of the catalogue can be observed in binaries that were built without them: found
//! through the function table, which stripped files have, too.

use crate::GoBinary;
use crate::catalogue::{ArgLocation, Field, FunctionEntry, Probe, Provider};
use crate::pclntab::place_of;
use object::{Architecture, Object};

/// Integer registers of Go's calling convention (`src/cmd/compile/abi-internal.md`) by the hardware's numbers.
const AMD64: [u8; 9] = [0, 3, 1, 7, 6, 8, 9, 10, 11];

/// Bytes of the longest stack check that is recognized, rounded up.
const LONGEST_PROLOGUE: u64 = 32;

/// A place to attach to.
#[derive(Clone, Debug)]
pub struct EntryPoint {
    /// The provider that has the probe.
    pub provider: &'static Provider,
    /// The probe that would fire here.
    pub probe: &'static Probe,
    /// Link-time address. On amd64 it is after the prologue's stack check; on arm64 it is the check's branch, which is
    /// taken when the stack has to grow, after which the prologue runs again. Without a stack check, the function's
    /// first instruction.
    pub address: u64,
    /// The arguments that can be read there.
    pub args: Vec<EntryArg>,
}

/// An argument at a function entry.
#[derive(Clone, Debug)]
pub struct EntryArg {
    /// As in the catalogue.
    pub name: &'static str,
    /// Its first word.
    pub first_word: Location,
    /// The word after it, which is a string's length; `None` if there is none.
    pub second_word: Option<Location>,
    /// Whether it is an enum's code where the probe has a string.
    pub is_enum: bool,
    /// The enum's labels by code; `None` for other arguments and for releases whose labels are not known.
    pub labels: Option<&'static [&'static str]>,
}

/// Where a word is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In the register of this number.
    Register(u8),
    /// In memory, through what a register points to.
    Memory {
        /// The register.
        base: u8,
        /// The offset from what it points to; further ones are from what each pointer read so far points to.
        offsets: Vec<i64>,
    },
    /// It is this number.
    Constant(i64),
}

impl GoBinary<'_> {
    /// Entries of these providers' probes, in the catalogue's order. The data is the file's.
    pub fn function_entries(
        &self,
        data: &[u8],
        providers: &[&'static Provider],
    ) -> Vec<EntryPoint> {
        let Some(layout) = self.function_table() else { return Vec::new() };
        let Some(functions) = layout.table(data) else { return Vec::new() };
        let entries = providers.iter().flat_map(|p| p.probes).flat_map(|probe| probe.entries);
        let addresses = functions.named(entries.map(|entry| entry.function));
        let resolver = Resolver { go: self, goid: self.goid_offset() };
        let mut out = Vec::new();
        for provider in providers {
            for probe in provider.probes {
                for entry in probe.entries {
                    let range = addresses.get(entry.function);
                    out.extend(range.and_then(|range| {
                        resolver.entry_point(provider, probe, entry, range.start)
                    }));
                }
            }
        }
        out
    }

    /// Bytes of a loaded segment.
    pub(crate) fn at(&self, address: u64, most: u64) -> Option<&[u8]> {
        let (start, (offset, size)) = place_of(&self.file, address)?;
        let end = offset.checked_add(size)?.min(start.saturating_add(most));
        self.file.data().get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }
}

/// Turns the catalogue's entries into places of one binary.
struct Resolver<'a> {
    go: &'a GoBinary<'a>,
    /// Offset of the id in `runtime.g`.
    goid: Option<u32>,
}

impl Resolver<'_> {
    fn is_amd64(&self) -> bool {
        self.go.file.architecture() == Architecture::X86_64
    }

    fn entry_point(
        &self,
        provider: &'static Provider,
        probe: &'static Probe,
        entry: &'static FunctionEntry,
        address: u64,
    ) -> Option<EntryPoint> {
        let code = self.go.at(address, LONGEST_PROLOGUE)?;
        let offset =
            if self.is_amd64() { after_stack_check(code) } else { branch_of_stack_check(code) };
        let args = entry
            .args
            .iter()
            .filter_map(|(name, location)| self.argument(name, location))
            .collect();
        Some(EntryPoint { provider, probe, address: address.checked_add(offset as u64)?, args })
    }

    fn argument(&self, name: &'static str, location: &ArgLocation) -> Option<EntryArg> {
        let word = |first_word, second_word| EntryArg {
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
                word(Location::Register(self.register(number)?), next)
            }
            ArgLocation::FieldPath { register, path } => {
                let base = self.register(register)?;
                let offset = |fields: &&[Field]| {
                    fields
                        .iter()
                        .map(|field| self.go.field_offset(field).map(i64::from))
                        .sum::<Option<i64>>()
                };
                let first = path.iter().map(offset).collect::<Option<Vec<i64>>>()?;
                let mut next = first.clone();
                *next.last_mut()? += 8;
                word(memory(base, first), Some(memory(base, next)))
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
                word(memory(base, vec![self.goid?.into()]), None)
            }
            ArgLocation::Constant(number) => word(Location::Constant(number), None),
        })
    }

    /// The register of the running goroutine.
    fn running_goroutine(&self) -> u8 {
        if self.is_amd64() { crate::G_REGISTER_AMD64 } else { crate::G_REGISTER_ARM64 }
    }

    fn register(&self, number: u8) -> Option<u8> {
        if self.is_amd64() { AMD64.get(usize::from(number)).copied() } else { Some(number) }
    }
}

/// Length of the prologue's stack check; 0 if there is none that is recognized. Code after it runs once per call,
/// however often the stack grows, and the arguments are still in their registers. It must be followed by a push, which
/// the kernel emulates.
fn after_stack_check(code: &[u8]) -> usize {
    // lea -N(%rsp),%r12 for frames that are not small.
    let frame = match code {
        [0x4c, 0x8d, 0x64, 0x24, ..] => 5,
        [0x4c, 0x8d, 0xa4, 0x24, ..] => 8,
        _ => 0,
    };
    // cmp 0x10(%r14),%rsp or %r12; 0x18 in functions of the system stack
    let compare = match code.get(frame..) {
        Some([0x49, 0x3b, 0x66, 0x10 | 0x18, ..]) if frame == 0 => 4,
        Some([0x4d, 0x3b, 0x66, 0x10 | 0x18, ..]) if frame > 0 => 4,
        _ => return 0,
    };
    // jbe
    let jump = match code.get(frame + compare..) {
        Some([0x76, ..]) => 2,
        Some([0x0f, 0x86, ..]) => 6,
        _ => return 0,
    };
    let length = frame + compare + jump;
    let is_push = code.get(length) == Some(&0x55);
    if is_push { length } else { 0 }
}

/// Offset of the branch that ends the prologue's stack check; 0 if there is none. The check has registers of its own,
/// so that the arguments are still in theirs.
fn branch_of_stack_check(code: &[u8]) -> usize {
    /// ldr x16, [x28, #16], or #24 in functions of the system stack
    const LIMIT: [u32; 2] = [0xf940_0b90, 0xf940_0f90];
    /// b.ls
    const IS_BRANCH: (u32, u32) = (0xff00_001f, 0x5400_0009);
    let mut words = code.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
    if !words.next().is_some_and(|word| LIMIT.contains(&word)) {
        return 0;
    }
    // Large frames are compared by four instructions more at most.
    words
        .take(6)
        .position(|word| word & IS_BRANCH.0 == IS_BRANCH.1)
        .map_or(0, |index| 4 * (index + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_stack_checks_of_all_frame_sizes() {
        let after = after_stack_check;
        assert_eq!(after(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55]), 6);
        assert_eq!(after(&[0x49, 0x3b, 0x66, 0x18, 0x0f, 0x86, 1, 2, 3, 4, 0x55]), 10);
        assert_eq!(
            after(&[0x4c, 0x8d, 0x64, 0x24, 0xe8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55]),
            11
        );
        let large = [
            0x4c, 0x8d, 0xa4, 0x24, 1, 2, 3, 4, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 1, 2, 3, 4,
            0x55,
        ];
        assert_eq!(after(&large), 18);
        for end in 0..large.len() {
            assert_eq!(after(&large[..end]), 0);
        }
        assert_eq!(after(&[0x55, 0x48, 0x89, 0xe5]), 0);
        assert_eq!(after(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x48]), 0, "no push");
    }

    #[test]
    fn recognizes_branches_of_stack_checks() {
        let code =
            |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let small = code(&[0xf940_0b90, 0xeb30_63ff, 0x5400_0209, 0xf81e_0ffe]);
        assert_eq!(branch_of_stack_check(&small), 8);
        let medium = code(&[0xf940_0b90, 0xd100_83f1, 0xeb10_023f, 0x5400_0409]);
        assert_eq!(branch_of_stack_check(&medium), 12);
        for end in 0..small.len() - 4 {
            assert_eq!(branch_of_stack_check(&small[..end]), 0);
        }
        assert_eq!(branch_of_stack_check(&code(&[0xf81e_0ffe, 0x5400_0209])), 0, "no check");
    }

    proptest::proptest! {
        #[test]
        fn accepts_any_code(code: Vec<u8>) {
            let branch = branch_of_stack_check(&code);
            proptest::prop_assert!(branch == 0 || code.len() >= branch + 4);
            let after = after_stack_check(&code);
            proptest::prop_assert!(after == 0 || code[after] == 0x55);
        }
    }
}
