//! Where registers are in `struct pt_regs` as uprobe programs see it: the user-space ABI layout
//! (`arch/x86/include/uapi/asm/ptrace.h`, `arch/arm64/include/uapi/asm/ptrace.h`), stable on both.

use stapsdt::argspec::{Arch, RegisterId};

/// Byte offset of arm64's processor state, and in it the number of the bit above which are carry and zero.
pub(crate) const PSTATE: i16 = 264;
pub(crate) const CARRY_BIT: u32 = 29;

/// Byte offset of a register; `None` for what `pt_regs` does not hold (vector registers).
pub(super) fn offset(register: RegisterId, arch: Arch) -> Option<i16> {
    /// rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 … r15.
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
    fn offsets_are_the_abis() {
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
