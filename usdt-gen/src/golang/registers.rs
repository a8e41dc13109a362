//! The registers that hold the argument words at a site: those of the platform's C calling
//! convention, then further scratch registers.
//!
//! BPF programs that read `PT_REGS_PARM1` to `PT_REGS_PARM6` (bpftrace's `arg0` to `arg5` of a
//! uprobe) therefore get the arguments without parsing the note. Assembly functions may overwrite
//! all of these registers (`abi-internal.md`). The remaining ones are reserved: on amd64, `R14`
//! holds the goroutine, `BP` the caller's frame, and `R15` belongs to the linker in shared code.

use crate::model::MAX_WORDS;
use stapsdt::argspec::Arch;

/// A register: its name in Go's assembler and its hardware number.
type Register = (&'static str, u8);

const AMD64: [Register; MAX_WORDS] = [
    ("DI", 7),
    ("SI", 6),
    ("DX", 2),
    ("CX", 1),
    ("R8", 8),
    ("R9", 9),
    ("AX", 0),
    ("BX", 3),
    ("R10", 10),
    ("R11", 11),
    ("R12", 12),
    ("R13", 13),
];

/// Registers of integer arguments in ABIInternal, the Go compiler's own convention, on amd64. On
/// arm64 they are those of C, R0 to R15.
const AMD64_INTERNAL: [&str; 9] = ["AX", "BX", "CX", "DI", "SI", "R8", "R9", "R10", "R11"];

/// Returns the register of argument word `word` (from 0): its name in Go's assembler and its
/// hardware number. `None` if `word` is not less than [`MAX_WORDS`].
pub(super) fn register(word: usize, arch: Arch) -> Option<(String, u8)> {
    let (amd64, number) = AMD64.get(word)?;
    Some(match arch {
        Arch::X86_64 => ((*amd64).to_owned(), *number),
        Arch::Aarch64 => (format!("R{word}"), word as u8),
    })
}

/// Returns the moves, as (source, target), of `words` arguments from the registers of ABIInternal
/// on amd64 into those of a site. They are in an order in which no move overwrites a source that a
/// later one needs. `None` if ABIInternal passes some of the arguments on the stack.
pub(super) fn moves_from_internal(words: usize) -> Option<Vec<(&'static str, &'static str)>> {
    let sources = AMD64_INTERNAL.get(..words)?;
    let mut pending: Vec<_> = sources.iter().copied().zip(AMD64.map(|(name, _)| name)).collect();
    let mut moves = Vec::new();
    while !pending.is_empty() {
        let next = pending
            .iter()
            .position(|(_, target)| pending.iter().all(|(source, _)| source != target))?;
        moves.push(pending.remove(next));
    }
    Some(moves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn arguments_use_the_registers_of_the_c_convention() {
        let names = |arch| {
            (0..).map_while(move |word| Some(register(word, arch)?.0)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(Arch::X86_64), "DI SI DX CX R8 R9 AX BX R10 R11 R12 R13");
        assert_eq!(names(Arch::Aarch64), "R0 R1 R2 R3 R4 R5 R6 R7 R8 R9 R10 R11");
    }

    #[test]
    fn moves_from_internal_keep_every_argument() {
        for words in 0..=AMD64_INTERNAL.len() {
            let mut contents: HashMap<&str, usize> =
                AMD64_INTERNAL.iter().enumerate().map(|(word, name)| (*name, word)).collect();
            for (source, target) in moves_from_internal(words).unwrap() {
                contents.insert(target, contents[source]);
            }
            for word in 0..words {
                assert_eq!(contents[AMD64[word].0], word, "{words} words");
            }
        }
        assert_eq!(moves_from_internal(AMD64_INTERNAL.len() + 1), None);
    }
}
