//! Which register has which argument word at a site: the platform's C calling convention, then what it leaves to
//! scratch.
//!
//! Programs that read `PT_REGS_PARM1` to `PT_REGS_PARM6` (bpftrace's `arg0` to `arg5` of a uprobe) without looking at the
//! note are right, too. Assembly functions keep none of these registers for their callers (`abi-internal.md`). The others
//! have an owner: on amd64 `R14` is the goroutine, `BP` the caller's frame, `R15` the linker's in shared code.

use crate::model::MAX_WORDS;
use stapsdt::argspec::Arch;

/// A register by the Go assembler's name and the hardware's number.
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

/// Integer arguments of ABIInternal, the Go compiler's own convention on amd64. On arm64 it is C's, R0 to R15.
const AMD64_INTERNAL: [&str; 9] = ["AX", "BX", "CX", "DI", "SI", "R8", "R9", "R10", "R11"];

/// The assembler's name and the hardware's number of the register that has argument word `word`; `None` beyond the last.
pub(super) fn register(word: usize, arch: Arch) -> Option<(String, u8)> {
    let (amd64, number) = AMD64.get(word)?;
    Some(match arch {
        Arch::X86_64 => ((*amd64).to_owned(), *number),
        Arch::Aarch64 => (format!("R{word}"), word as u8),
    })
}

/// Moves that bring `words` arguments from the registers of ABIInternal on amd64 into those of a site, as pairs of source
/// and target, in an order in which none overwrites a source that is still needed. `None` where ABIInternal passes some
/// on the stack.
pub(super) fn moves_from_internal(words: usize) -> Option<Vec<(&'static str, &'static str)>> {
    let sources = AMD64_INTERNAL.get(..words)?;
    let mut pending: Vec<_> = sources.iter().copied().zip(AMD64.map(|(name, _)| name)).collect();
    let mut moves = Vec::new();
    while !pending.is_empty() {
        let free = pending
            .iter()
            .position(|(_, target)| pending.iter().all(|(source, _)| source != target))?;
        moves.push(pending.remove(free));
    }
    Some(moves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn arguments_are_where_c_passes_them() {
        let names = |arch| {
            (0..).map_while(move |word| Some(register(word, arch)?.0)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(Arch::X86_64), "DI SI DX CX R8 R9 AX BX R10 R11 R12 R13");
        assert_eq!(names(Arch::Aarch64), "R0 R1 R2 R3 R4 R5 R6 R7 R8 R9 R10 R11");
    }

    #[test]
    fn moves_lose_no_argument() {
        for words in 0..=AMD64_INTERNAL.len() {
            let mut held: HashMap<&str, usize> =
                AMD64_INTERNAL.iter().enumerate().map(|(word, name)| (*name, word)).collect();
            for (source, target) in moves_from_internal(words).unwrap() {
                held.insert(target, held[source]);
            }
            for word in 0..words {
                assert_eq!(held[AMD64[word].0], word, "{words} words");
            }
        }
        assert_eq!(moves_from_internal(AMD64_INTERNAL.len() + 1), None);
    }
}
