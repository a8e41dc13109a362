//! The machine code of generated probe sites, and the classification of instructions at a site.
//!
//! An amd64 site has three NOPs. Notes name the first one, a `nop`, and every tracer attaches to
//! it. The `nop10` after it completes the pair that libbpf recognizes. The last one is a `nop5`.
//!
//! Linux 6.18 replaces a probed `nop5` by a call instead of a trap. Later kernels replace `nop10`
//! instead, because the replacement of `nop5` writes below the stack pointer. Go code keeps no data
//! there, so both replacements are safe in generated sites. C code may keep data there: in its
//! sites, only `nop10` is used.

use crate::argspec::Arch;

/// `nop`, `nop10`, `nop5`, `ret`.
const X86_64: [u8; 17] = [
    0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0f, 0x1f, 0x44, 0x00, 0x00,
    0xc3,
];
/// `nop`, `ret`.
const AARCH64: [u8; 8] = [0x1f, 0x20, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6];

/// The offset in bytes of the `nop10` from the start of an amd64 site.
pub const NOP10_OFFSET: u64 = 1;
/// The offset in bytes of the `nop5` from the start of an amd64 site.
pub const NOP5_OFFSET: u64 = 11;

/// Returns true if the code of a site starts with the pair of NOPs that libbpf recognizes: `nop`,
/// then `nop10` in the form that kernels replace.
///
/// Generated sites have it, and so do probes of libbpf's `usdt.h`. The replacement of `nop10`
/// leaves the bytes below the stack pointer alone, so it is safe in code of every compiler.
pub fn has_nop_pair(code: &[u8]) -> bool {
    X86_64.get(..NOP5_OFFSET as usize).is_some_and(|pair| code.starts_with(pair))
}

/// Returns true if the code of an amd64 site starts with a `nop5`, which Linux 6.18 replaces.
pub fn is_nop5(code: &[u8]) -> bool {
    let nop5 = X86_64.get(NOP5_OFFSET as usize..X86_64.len() - 1);
    nop5.is_some_and(|nop5| code.starts_with(nop5))
}

/// Returns the machine code of a generated site.
pub fn code(arch: Arch) -> &'static [u8] {
    match arch {
        Arch::X86_64 => &X86_64,
        Arch::Aarch64 => &AARCH64,
    }
}

/// The first instruction at a site, classified by what a uprobe on it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// A NOP: the kernel skips it after the trap.
    Nop,
    /// A push of a register, which many functions start with. Since Linux 4.16 the kernel emulates
    /// it on x86.
    Push,
    /// `jbe` or `b.ls`, the branch of the stack check that Go functions start with. The kernel
    /// emulates it (`branch_setup_xol_ops` in `arch/x86/kernel/uprobes.c`,
    /// `arch/arm64/kernel/probes/decode-insn.c`).
    Branch,
    /// Any other instruction: the kernel single-steps a copy of it, which costs a second trap.
    Other,
}

impl Instruction {
    /// Classifies the instruction at the start of `code`. Empty and truncated code is
    /// [`Instruction::Other`].
    ///
    /// ```
    /// use stapsdt::argspec::Arch;
    /// use stapsdt::site::Instruction;
    ///
    /// assert_eq!(Instruction::classify(&[0x90, 0xc3], Arch::X86_64), Instruction::Nop);
    /// ```
    pub fn classify(code: &[u8], arch: Arch) -> Instruction {
        match arch {
            Arch::X86_64 if is_x86_64_nop(code) => Instruction::Nop,
            Arch::X86_64 if matches!(code, [0x50..=0x57, ..]) => Instruction::Push,
            Arch::X86_64 if matches!(code, [0x76, ..] | [0x0f, 0x86, ..]) => Instruction::Branch,
            Arch::Aarch64 if code.starts_with(&AARCH64[..4]) => Instruction::Nop,
            Arch::Aarch64 if is_branch_if_lower_or_same(code) => Instruction::Branch,
            _ => Instruction::Other,
        }
    }
}

/// Returns true if the code starts with a `nop` of any length. The multi-byte forms are
/// `0f 1f /0` with operand-size prefixes.
fn is_x86_64_nop(code: &[u8]) -> bool {
    matches!(code, [0x90, ..] | [0x0f, 0x1f, ..] | [0x66, 0x90, ..] | [0x66, 0x0f, 0x1f, ..])
}

/// Returns true if arm64 code starts with `b.ls`: `b.cond` with condition 9.
fn is_branch_if_lower_or_same(code: &[u8]) -> bool {
    code.first_chunk::<4>()
        .is_some_and(|word| u32::from_le_bytes(*word) & 0xff00_001f == 0x5400_0009)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_nops() {
        assert_eq!(X86_64[NOP10_OFFSET as usize..][..3], [0x66, 0x2e, 0x0f]);
        assert_eq!(X86_64[NOP5_OFFSET as usize..][..5], [0x0f, 0x1f, 0x44, 0, 0]);
    }

    #[test]
    fn recognizes_the_pair_of_libbpf_only() {
        assert!(has_nop_pair(&X86_64));
        assert!(has_nop_pair(&[0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x48]));
        let nop_and_nop5 = [0x90, 0x0f, 0x1f, 0x44, 0, 0, 0x90, 0x90, 0x90, 0x90, 0x90];
        let other_nop10 = [0x90, 0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x90];
        assert!(!has_nop_pair(&nop_and_nop5) && !has_nop_pair(&other_nop10));
        assert!(is_nop5(&nop_and_nop5[1..]) && !is_nop5(&nop_and_nop5) && !is_nop5(&[]));
        assert!(!has_nop_pair(&X86_64[1..]) && !has_nop_pair(&X86_64[..10]) && !has_nop_pair(&[]));
    }

    #[test]
    fn classifies_instructions() {
        let classify = Instruction::classify;
        for arch in [Arch::X86_64, Arch::Aarch64] {
            assert_eq!(classify(code(arch), arch), Instruction::Nop);
            assert_eq!(classify(&[0x48, 0x89, 0xe5], arch), Instruction::Other);
        }
        assert_eq!(classify(&[0x55, 0x48, 0x89, 0xe5], Arch::X86_64), Instruction::Push);
        assert_eq!(classify(&[0x76, 0x20], Arch::X86_64), Instruction::Branch);
        assert_eq!(classify(&[0x0f, 0x86, 1, 2, 3, 4], Arch::X86_64), Instruction::Branch);
        assert_eq!(classify(&[0x77, 0x20], Arch::X86_64), Instruction::Other);
        assert_eq!(classify(&[0x09, 0x02, 0, 0x54], Arch::Aarch64), Instruction::Branch);
        let other_condition = [0x08, 0x02, 0, 0x54];
        assert_eq!(classify(&other_condition, Arch::Aarch64), Instruction::Other);
        assert_eq!(classify(&[], Arch::X86_64), Instruction::Other);
    }
}
