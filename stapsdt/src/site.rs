//! The bytes of a generated probe site, and which of its instructions a kernel can make fast.
//!
//! amd64 sites hold three no-ops: the `nop` that notes name and every tracer attaches to, a `nop10` (the pair that
//! libbpf recognises) and a `nop5`. Linux 6.18 turns a probed `nop5` into a call instead of a trap; later kernels
//! do so with `nop10` instead, because the `nop5` form writes below the stack pointer. Go code keeps nothing there,
//! so in these sites, which only Go code has, both are safe.

use crate::argspec::Arch;

/// `nop`, `nop10`, `nop5`, `ret`.
pub const X86_64: [u8; 17] = [
    0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0f, 0x1f, 0x44, 0x00, 0x00,
    0xc3,
];
/// `nop`, `ret`.
pub const AARCH64: [u8; 8] = [0x1f, 0x20, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6];

/// Offset of the `nop10` in [`X86_64`].
pub const NOP10_OFFSET: u64 = 1;
/// Offset of the `nop5` in [`X86_64`].
pub const NOP5_OFFSET: u64 = 11;

/// The site's bytes on an architecture.
pub fn of(arch: Arch) -> &'static [u8] {
    match arch {
        Arch::X86_64 => &X86_64,
        Arch::Aarch64 => &AARCH64,
    }
}

/// What the first instruction at a site is, as far as the cost of a probe on it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// A no-op that the kernel skips.
    Nop,
    /// A push of a register, with which many functions begin: x86 kernels since 4.16 do it themselves.
    Push,
    /// `b.ls`, the end of the check with which functions of Go begin on arm64, whose kernels carry it out themselves
    /// (`arch/arm64/kernel/probes/decode-insn.c`).
    Branch,
    /// Anything else: executed out of line, one trap more.
    Other,
}

/// Looks at the bytes at a site.
pub fn instruction(code: &[u8], arch: Arch) -> Instruction {
    if arch == Arch::X86_64 && matches!(code, [0x50..=0x57, ..]) {
        return Instruction::Push;
    }
    if arch == Arch::Aarch64 && is_branch_if_lower(code) {
        return Instruction::Branch;
    }
    let nop = match arch {
        // The multi-byte forms are `0f 1f /0`, with operand-size prefixes.
        Arch::X86_64 => {
            matches!(
                code,
                [0x90, ..] | [0x0f, 0x1f, ..] | [0x66, 0x90, ..] | [0x66, 0x0f, 0x1f, ..]
            )
        }
        Arch::Aarch64 => code.starts_with(&AARCH64[..4]),
    };
    if nop { Instruction::Nop } else { Instruction::Other }
}

/// Whether arm64 code begins with `b.ls`: condition 9 of `b.cond`.
fn is_branch_if_lower(code: &[u8]) -> bool {
    code.first_chunk::<4>()
        .is_some_and(|word| u32::from_le_bytes(*word) & 0xff00_001f == 0x5400_0009)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_point_at_the_instructions() {
        assert_eq!(X86_64[NOP10_OFFSET as usize..][..3], [0x66, 0x2e, 0x0f]);
        assert_eq!(X86_64[NOP5_OFFSET as usize..][..5], [0x0f, 0x1f, 0x44, 0, 0]);
        for arch in [Arch::X86_64, Arch::Aarch64] {
            assert_eq!(instruction(of(arch), arch), Instruction::Nop);
            assert_eq!(instruction(&[0x48, 0x89, 0xe5], arch), Instruction::Other);
        }
        assert_eq!(instruction(&[0x55, 0x48, 0x89, 0xe5], Arch::X86_64), Instruction::Push);
        assert_eq!(instruction(&[0x09, 0x02, 0, 0x54], Arch::Aarch64), Instruction::Branch);
        assert_eq!(
            instruction(&[0x08, 0x02, 0, 0x54], Arch::Aarch64),
            Instruction::Other,
            "another condition"
        );
        assert_eq!(instruction(&[], Arch::X86_64), Instruction::Other);
    }
}
