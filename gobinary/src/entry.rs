//! Function entries at which probes of the catalogue can be seen, in binaries that were built without them: found
//! through the function table, which stripped files have, too.

use crate::GoBinary;
use crate::catalogue::{Entry, Field, Place, Probe, Provider};
use crate::pclntab::place_of;
use object::{Architecture, Object};

/// Integer registers of Go's convention (`src/cmd/compile/abi-internal.md`) by the hardware's numbers.
const AMD64: [u8; 9] = [0, 3, 1, 7, 6, 8, 9, 10, 11];

/// More than any beginning of a function that is recognised.
const LONGEST_BEGINNING: u64 = 32;

/// A place to attach to.
#[derive(Clone, Debug)]
pub struct EntryPoint {
    /// Whose probe it is.
    pub provider: &'static Provider,
    /// What can be seen there.
    pub probe: &'static Probe,
    /// Where there is a check of the stack that is recognised: behind it, on amd64; on arm64 its last instruction, the
    /// branch that is taken when the stack has to grow, after which the function begins once more.
    pub address: u64,
    /// Arguments that can be seen there.
    pub args: Vec<EntryArg>,
}

/// An argument of an entry.
#[derive(Clone, Debug)]
pub struct EntryArg {
    /// As in the catalogue.
    pub name: &'static str,
    /// Its word.
    pub word: Word,
    /// The word behind it, which is the length of a text.
    pub next: Option<Word>,
    /// The texts its numbers stand for, where it is the number of a text.
    pub names: Option<&'static [String]>,
    /// Whether it is that, with known texts or not.
    pub numbered: bool,
}

/// Where a word is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// In the register of this number.
    Register(u8),
    /// In memory, behind what a register points to.
    Memory {
        /// The register.
        base: u8,
        /// The distance from there; further ones are from what each pointer points to.
        distances: Vec<i64>,
    },
    /// It is a number.
    Constant(i64),
}

impl GoBinary<'_> {
    /// Entries of these providers, in the catalogue's order. The data is the file's.
    pub fn entries(&self, data: &[u8], providers: &[&'static Provider]) -> Vec<EntryPoint> {
        let Some(layout) = self.functions() else { return Vec::new() };
        let Some(functions) = layout.functions(data) else { return Vec::new() };
        let all = || providers.iter().flat_map(|p| &p.probes).flat_map(|probe| &probe.entry);
        let places = functions.named(all().map(|entry| entry.function.as_str()));
        let maker = Maker { go: self, goid: self.goid_offset_quick() };
        let mut out = Vec::new();
        for provider in providers {
            for probe in &provider.probes {
                for entry in &probe.entry {
                    let place = places.get(entry.function.as_str());
                    out.extend(place.and_then(|place| maker.point(provider, probe, entry, place.start)));
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

struct Maker<'a> {
    go: &'a GoBinary<'a>,
    goid: Option<u32>,
}

impl Maker<'_> {
    fn is_amd64(&self) -> bool {
        self.go.file.architecture() == Architecture::X86_64
    }

    fn point(
        &self,
        provider: &'static Provider,
        probe: &'static Probe,
        entry: &'static Entry,
        address: u64,
    ) -> Option<EntryPoint> {
        let code = self.go.at(address, LONGEST_BEGINNING)?;
        let distance = if self.is_amd64() { behind_stack_check(code) } else { branch_of_stack_check(code) };
        let args = entry.args.iter().filter_map(|(name, place)| self.argument(name, place)).collect();
        Some(EntryPoint { provider, probe, address: address.checked_add(distance as u64)?, args })
    }

    fn argument(&self, name: &'static str, place: &'static Place) -> Option<EntryArg> {
        let one = |word, next| EntryArg { name, word, next, names: None, numbered: false };
        let memory = |base, distances| Word::Memory { base, distances };
        Some(match place {
            Place::Register(number) => {
                let next = number.checked_add(1).and_then(|n| self.register(n)).map(Word::Register);
                one(Word::Register(self.register(*number)?), next)
            }
            Place::Fields(number, fields) => {
                let base = self.register(*number)?;
                let distance = |nested: &Vec<Field>| {
                    nested.iter().map(|field| self.go.field_offset(field).map(i64::from)).sum::<Option<i64>>()
                };
                let first = fields.iter().map(distance).collect::<Option<Vec<i64>>>()?;
                let mut next = first.clone();
                *next.last_mut()? += 8;
                one(memory(base, first), Some(memory(base, next)))
            }
            Place::Named(number, names) => {
                let word = Word::Register(self.register(*number)?);
                EntryArg { name, word, next: None, names: self.go.names(*names), numbered: true }
            }
            Place::Goid(of) => {
                let base = of.map_or_else(|| Some(self.running()), |number| self.register(number))?;
                one(memory(base, vec![self.goid?.into()]), None)
            }
            Place::Constant(number) => one(Word::Constant(*number), None),
        })
    }

    /// The register of the running goroutine.
    fn running(&self) -> u8 {
        if self.is_amd64() { crate::goid::G_AMD64 } else { crate::goid::G_ARM64 }
    }

    fn register(&self, number: u8) -> Option<u8> {
        if self.is_amd64() { AMD64.get(usize::from(number)).copied() } else { Some(number) }
    }
}

/// Bytes of the check whether the stack suffices. Behind it a function begins once, however often its stack grows, and
/// its arguments are still where they were; and what follows is a push, which the kernel does itself.
fn behind_stack_check(code: &[u8]) -> usize {
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
    let behind = frame + compare + jump;
    let is_push = code.get(behind) == Some(&0x55);
    if is_push { behind } else { 0 }
}

/// Bytes in front of the branch that ends the check whether the stack suffices; 0 where there is none. Arguments are
/// still where they were: the check has registers of its own.
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
    words.take(6).position(|word| word & IS_BRANCH.0 == IS_BRANCH.1).map_or(0, |index| 4 * (index + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stack_checks_of_all_sizes() {
        let behind = behind_stack_check;
        assert_eq!(behind(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55]), 6);
        assert_eq!(behind(&[0x49, 0x3b, 0x66, 0x18, 0x0f, 0x86, 1, 2, 3, 4, 0x55]), 10);
        assert_eq!(behind(&[0x4c, 0x8d, 0x64, 0x24, 0xe8, 0x4d, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x55]), 11);
        let large =
            [0x4c, 0x8d, 0xa4, 0x24, 1, 2, 3, 4, 0x4d, 0x3b, 0x66, 0x10, 0x0f, 0x86, 1, 2, 3, 4, 0x55];
        assert_eq!(behind(&large), 18);
        for end in 0..large.len() {
            assert_eq!(behind(&large[..end]), 0);
        }
        assert_eq!(behind(&[0x55, 0x48, 0x89, 0xe5]), 0);
        assert_eq!(behind(&[0x49, 0x3b, 0x66, 0x10, 0x76, 0x20, 0x48]), 0, "no push");
    }

    #[test]
    fn branches_of_stack_checks() {
        let code = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
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
        fn any_code_is_looked_at(code: Vec<u8>) {
            let branch = branch_of_stack_check(&code);
            proptest::prop_assert!(branch == 0 || code.len() >= branch + 4);
            let behind = behind_stack_check(&code);
            proptest::prop_assert!(behind == 0 || code[behind] == 0x55);
        }
    }
}
