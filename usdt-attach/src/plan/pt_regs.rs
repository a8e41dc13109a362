//! Offsets of registers in `struct pt_regs`, the context of uprobe programs.
//!
//! The layout is that of the user-space ABI (`arch/x86/include/uapi/asm/ptrace.h`,
//! `arch/arm64/include/uapi/asm/ptrace.h`) and is stable on both architectures.

use stapsdt::argspec::{Arch, RegisterId};

/// Byte offset of the processor state on arm64.
pub(crate) const PSTATE: i16 = 264;
/// Number of the carry flag's bit in the processor state on arm64; the zero flag is the next higher
/// bit.
pub(crate) const CARRY_BIT: u32 = 29;

/// Returns the byte offset of a register; `None` for vector registers, which `pt_regs` does not
/// contain.
pub(super) fn offset(register: RegisterId, arch: Arch) -> Option<i16> {
    /// Offsets of rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 … r15, in this order.
    const X86_64: [i16; 16] = [80, 88, 96, 40, 152, 32, 104, 112, 72, 64, 56, 48, 24, 16, 8, 0];
    match (arch, register) {
        (Arch::X86_64, RegisterId::Gpr(n)) => X86_64.get(usize::from(n)).copied(),
        (Arch::X86_64, RegisterId::Pc) => Some(128),
        (Arch::Aarch64, RegisterId::Gpr(n)) if n <= 30 => Some(8 * i16::from(n)),
        (Arch::Aarch64, RegisterId::Sp) => Some(248),
        (Arch::Aarch64, RegisterId::Pc) => Some(256),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_match_the_abi() {
        assert_eq!(offset(RegisterId::Gpr(4), Arch::X86_64), Some(152), "rsp");
        assert_eq!(offset(RegisterId::Gpr(14), Arch::X86_64), Some(8), "r14");
        assert_eq!(offset(RegisterId::Gpr(28), Arch::Aarch64), Some(224));
        assert_eq!(offset(RegisterId::Vector(0), Arch::X86_64), None);
        #[cfg(target_arch = "x86_64")]
        {
            assert_eq!(
                offset(RegisterId::Gpr(0), Arch::X86_64),
                Some(std::mem::offset_of!(libc::user_regs_struct, rax) as i16)
            );
            assert_eq!(
                offset(RegisterId::Gpr(7), Arch::X86_64),
                Some(std::mem::offset_of!(libc::user_regs_struct, rdi) as i16)
            );
            assert_eq!(
                offset(RegisterId::Gpr(15), Arch::X86_64),
                Some(std::mem::offset_of!(libc::user_regs_struct, r15) as i16)
            );
            assert_eq!(
                offset(RegisterId::Pc, Arch::X86_64),
                Some(std::mem::offset_of!(libc::user_regs_struct, rip) as i16)
            );
        }
    }
}
